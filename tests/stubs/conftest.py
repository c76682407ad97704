"""The examples, each with stubs that buf has just made."""

import pytest
from support import stubs


@pytest.fixture(scope="session")
def callers(tmp_path_factory):
    """The examples by language, each ready to run."""
    return {name: getattr(stubs, name)(tmp_path_factory.mktemp(name)) for name in ("python", "typescript")}


@pytest.fixture(params=["python", "typescript"])
def caller(request, callers):
    """Each example in turn."""
    return callers[request.param]
