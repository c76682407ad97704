"""Every store there is, for one suite."""

import pytest
from support.convex import run_standin

from embedsvc.store.convex.store import open_convex
from embedsvc.store.sqlite.store import open_sqlite


@pytest.fixture(scope="session")
def backend(tmp_path_factory):
    """The stand-in for Convex; not empty."""
    with run_standin(tmp_path_factory.mktemp("convex")) as running:
        yield running


@pytest.fixture
def convex(backend):
    """The stand-in for Convex, empty and well."""
    backend.clear()
    backend.reset()
    return backend


@pytest.fixture(params=["sqlite", "convex"])
async def store(request, tmp_path):
    """An empty store."""
    if request.param == "sqlite":
        opening = open_sqlite(tmp_path / "state" / "embedsvc.db")
    else:
        standin = request.getfixturevalue("convex")
        opening = open_convex(standin.url, lambda: standin.admin_key)
    async with opening as opened:
        yield opened
