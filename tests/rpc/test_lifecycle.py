"""Starting, draining, stopping, and new certificates under way. Every test has a server of its own."""

import asyncio
import signal
import socket
import ssl
import subprocess
import time

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support import pki as files
from support.programs import BIN, ROOT, free_port, run_server, settings_for

from embedsvc.dev import pki
from embedsvc.secret.keeper import LOOK_SECONDS
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

ITEM = pb.EmbedStreamRequest(id="1", request=pb.EmbedRequest(inputs=[pb.Input(text="x")]))
TEXT = pb.EmbedRequest(inputs=[pb.Input(text="x")])


@pytest.fixture
def own_state(tmp_path):
    return files.make(tmp_path)


@pytest.fixture
def own_server(own_state, tmp_path):
    with run_server(own_state, tmp_path, encoder="fake") as running:
        yield running


@pytest.fixture
async def open_stream(own_server, own_state):
    """A stream that has had one answer and waits for more."""
    async with own_server.channel() as channel:
        call = EmbeddingServiceStub(channel).EmbedStream(metadata=own_state.authorization)
        await call.write(ITEM)
        assert (await call.read()).id == "1"
        yield call


async def test_sigterm_finishes_what_is_under_way_and_refuses_the_rest(own_server, own_state, open_stream):
    async with own_server.channel() as watching:
        watch = health_pb2_grpc.HealthStub(watching).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        own_server.process.terminate()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
    async with own_server.channel() as late:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await EmbeddingServiceStub(late).Embed(TEXT, metadata=own_state.authorization)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    await open_stream.write(ITEM)
    assert (await open_stream.read()).response.embeddings
    await open_stream.done_writing()
    assert await open_stream.read() is grpc.aio.EOF
    assert own_server.process.wait(timeout=10) == 0
    assert own_server.events()[-1]["event"] == "stopped"


async def test_a_second_signal_leaves_at_once(own_server, open_stream):
    own_server.process.terminate()
    while not any(event["event"] == "draining" for event in own_server.events()):
        assert own_server.process.poll() is None
    own_server.process.terminate()
    assert own_server.process.wait(timeout=5) == -signal.SIGTERM


async def test_the_drain_has_an_end(own_state, tmp_path):
    with run_server(own_state, tmp_path, encoder="fake", SERVER__DRAIN_SECONDS=0.5) as server:
        async with server.channel() as channel:
            call = EmbeddingServiceStub(channel).EmbedStream(metadata=own_state.authorization)
            await call.write(ITEM)
            await call.read()
            started = time.monotonic()
            server.process.terminate()
            assert server.process.wait(timeout=10) == 0
            assert 0.4 < time.monotonic() - started < 5


def serial_served(server, state):
    """The serial number of the certificate that a fresh handshake shows."""
    context = ssl.create_default_context(cafile=state.path("ca.crt"))
    context.load_cert_chain(state.path("client.crt"), state.path("client.key"))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", server.port)) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True)).serial_number


async def test_a_new_certificate_is_served_without_a_restart(own_server, own_state, open_stream):
    fresh = pki.make_server(own_state.ca)
    assert serial_served(own_server, own_state) != fresh.certificate.serial_number
    files.write(own_state.folder, "server", fresh)
    assert serial_served(own_server, own_state) == fresh.certificate.serial_number
    await open_stream.write(ITEM)
    assert (await open_stream.read()).response.embeddings, "connections of before go on"


async def test_a_certificate_that_cannot_be_used_is_not_served(own_server, own_state):
    served = serial_served(own_server, own_state)
    own_state.path("server.crt").write_text("not a certificate")
    assert serial_served(own_server, own_state) == served
    own_state.path("server.crt").write_bytes(pki.make_server(own_state.ca).certificate_pem)
    assert serial_served(own_server, own_state) == served, "its key is another one's"
    warnings = [event for event in own_server.events() if event["level"] == "warning"]
    assert "those of before hold" in warnings[0]["event"]


async def test_a_new_ca_is_trusted_without_a_restart(own_server, own_state):
    other = pki.make_ca("the next CA")
    both = own_state.read("ca.crt") + other.certificate_pem
    own_state.path("ca.crt").write_bytes(both)
    files.write(own_state.folder, "client", pki.make_client(other))
    async with own_server.channel() as channel:
        answer = await EmbeddingServiceStub(channel).Embed(TEXT, metadata=own_state.authorization)
        assert answer.embeddings


async def test_keys_are_added_and_taken_away_without_a_restart(own_server, own_state):
    async with own_server.channel() as channel:
        stub = EmbeddingServiceStub(channel)
        await stub.Embed(TEXT, metadata=own_state.authorization)
        own_state.path("api_keys").write_text("# none any more\n")

        async def call_on():
            while True:
                await stub.Embed(TEXT, metadata=own_state.authorization)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(call_on(), 10 * LOOK_SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def refused(state, **values):
    """The exit status and the last line of a server that does not start."""
    environment = settings_for(state, ENGINE__ENCODER="fake", **values)
    ended = subprocess.run(
        [BIN / "embedsvc", "serve"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["server", "metrics"])
def test_a_taken_port_stops_the_start_with_the_name_of_the_setting(state, name):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        status, line = refused(state, **{f"{name.upper()}__PORT": taken.getsockname()[1]})
    assert status == 2
    assert line.startswith(f"embedsvc: {name}.port: cannot listen on 127.0.0.1:")


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"SERVER__PORT": 70000}, "server.port"),
        ({"SERVER__PROT": 1}, "server.prot: no such setting"),
        ({"API_KEY": "x"}, "EMBEDSVC_API_KEY: no such setting"),
        ({"ENGINE__BATCH_TEXTS": 31}, "engine.batch_texts"),
        ({"AUTH__KEYS": "file:/nowhere"}, "auth.keys"),
        ({"TLS__KEY": "/nowhere"}, "tls"),
    ],
)
def test_an_impossible_setting_stops_the_start_with_its_name(state, values, setting):
    status, line = refused(state, **values)
    assert status == 2
    assert setting in line
