"""Clients of the edge, and what every answer and every refusal has in common."""

import shutil
import uuid
from pathlib import Path

import httpx
import numpy as np
import pytest

import embedsvc

MODEL = "all-MiniLM-L6-v2"


def connect(edge, **headers):
    """A client that sends an id of its own with every request."""

    def add_id(request):
        request.headers.setdefault("x-request-id", str(uuid.uuid4()))

    return httpx.Client(base_url=edge.url, headers=headers, timeout=120, event_hooks={"request": [add_id]})


@pytest.fixture(scope="session")
def http(edge, state):
    """A client with a good key."""
    with connect(edge, authorization=f"Bearer {state.api_key}") as client:
        yield client


@pytest.fixture(scope="session")
def stranger(edge):
    """A client without a key."""
    with connect(edge) as client:
        yield client


@pytest.fixture(scope="session")
def embed(http):
    """Asks for vectors; returns the JSON of a good answer."""

    def post(texts, **fields):
        response = http.post("/v1/embeddings", json={"model": MODEL, "input": texts, **fields})
        assert response.status_code == 200, response.text
        return response.json()

    return post


@pytest.fixture(scope="session")
def vectors_of(embed):
    """Asks for vectors; returns them as an array of float32."""

    def post(texts, **fields):
        return np.array([item["embedding"] for item in embed(texts, **fields)["data"]], dtype=np.float32)

    return post


@pytest.fixture(scope="session")
def error_of():
    """Reads a refusal, and checks what all of them share: OpenAI's shape, the type, the caller's own id."""

    def read(response):
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-request-id"] == response.request.headers["x-request-id"]
        assert set(response.json()) == {"error"}
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        return error

    return read


@pytest.fixture
def undisturbed(embed, server):
    """Checks after a test that the next caller is answered, and that nothing worse than a line was logged."""
    before = len(server.events())
    yield
    assert embed("good")["usage"]["total_tokens"] == 3
    assert [event for event in server.events()[before:] if event["level"] != "info"] == []


@pytest.fixture(scope="session")
def same(reference):
    """Compares vectors with those of sentence-transformers."""

    def compare(vectors, texts):
        vectors = np.asarray(vectors, dtype=np.float32)
        assert vectors.shape == (len(texts), 384)
        lengths = np.linalg.norm(vectors, axis=1)
        cosines = (vectors * reference.encode(texts)).sum(axis=1) / lengths
        assert lengths == pytest.approx(1, abs=1e-5)
        assert cosines.min() >= 0.9999

    return compare


@pytest.fixture
def cl100k_offline(tmp_path, monkeypatch):
    """Lets tiktoken find its vocabulary where it would otherwise download it."""
    name = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"  # SHA-1 of the address that tiktoken downloads from
    shutil.copy(Path(embedsvc.__file__).parent / "data" / "cl100k_base.tiktoken", tmp_path / name)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
