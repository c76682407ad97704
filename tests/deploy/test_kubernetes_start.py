"""A real server with the settings of the pods, but for paths, ports and the model."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.kustomize import FOLDER, overlay
from support.programs import free_port, run_server

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

TEXT = pb.EmbedRequest(inputs=[pb.Input(text="x")])


@pytest.fixture
def health_port():
    return free_port()


@pytest.fixture
def server(state, health_port, tmp_path, monkeypatch):
    """While Convex is away: nothing listens on port 1."""
    (tmp_path / "admin_key").write_text("key")
    monkeypatch.setenv("EMBEDSVC_CONFIG", str(FOLDER / "base/embedsvc.toml"))
    values = {
        "SERVER__HOST": "127.0.0.1",
        "SERVER__HEALTH_PORT": health_port,
        "METRICS__HOST": "127.0.0.1",
        "STORE__URL": "http://127.0.0.1:1",
        "STORE__ADMIN_KEY": f"file:{tmp_path / 'admin_key'}",
        "MODELS__PRIMARY": "all-MiniLM-L6-v2",
        "MODELS__FALLBACK": "",
    }
    with run_server(state, tmp_path, encoder="fake", **values) as running:
        yield running


async def test_it_serves_keys_of_the_file_while_convex_is_away_and_ends_within_its_grace(
    server, state, health_port
):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{health_port}") as kubelet:
        answer = await health_pb2_grpc.HealthStub(kubelet).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    async with server.channel() as channel:
        answer = await EmbeddingServiceStub(channel).Embed(TEXT, metadata=state.authorization, timeout=30)
        assert answer.embeddings
    spec = overlay("gpu").servers.spec
    server.process.terminate()
    before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert server.process.wait(spec["terminationGracePeriodSeconds"] - before) == 0
