"""Requests that mean harm: each gets a status that is right, memory stays flat, and the others are served."""

import gzip
import json
import re
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from h2.events import ResponseReceived, StreamReset
from support.hostile import CONTINUATION, END_HEADERS, HEADERS, Http2, answer_to, frame
from support.programs import ROOT, run_edge, run_server
from support.trust import WRONG

GOOD = {"model": "all-MiniLM-L6-v2", "input": "a"}
MEGABYTE = 1_048_576
ROOM = 64 * MEGABYTE
"""What Envoy or the server may have more of after all that was tried on them."""


def post(*lines, body=b"", path=b"/v1/embeddings"):
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"host: a", *lines, b"", body])


def get(*lines, path=b"/v1/models"):
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"host: a", *lines, b"", b""])


SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
BYTES = {
    "a length and chunks": (post(b"content-length: 4", b"transfer-encoding: chunked", body=SMUGGLED), 400),
    "two lengths": (post(b"content-length: 5", b"content-length: 6", body=b"hello!"), 400),
    "a list of lengths": (post(b"content-length: 5, 6", body=b"hello!"), 400),
    "a negative length": (post(b"content-length: -1", body=b"a"), 400),
    "a length with a sign": (post(b"content-length: +5", body=b"hello"), 400),
    "a length beyond 64 bits": (post(b"content-length: 99999999999999999999", body=b"a"), 400),
    "an unknown transfer coding": (post(b"transfer-encoding: xchunked", body=SMUGGLED), 501),
    "chunked and then something": (post(b"transfer-encoding: chunked, identity", body=SMUGGLED), 501),
    "two transfer codings": (
        post(b"transfer-encoding: chunked", b"transfer-encoding: identity", body=SMUGGLED),
        501,
    ),
    "a chunk whose size is no number": (post(b"transfer-encoding: chunked", body=b"zz\r\nhello\r\n"), 400),
    "a chunk beyond 64 bits": (post(b"transfer-encoding: chunked", body=b"f" * 17 + b"\r\nhello\r\n"), 400),
    "a space before the colon": (post(b"content-length : 5", body=b"hello"), 400),
    "a header without a name": (get(b": a"), 400),
    "a zero byte in a header": (get(b"x: a\0b"), 400),
    "a line that is none": (b"GARBAGE\r\n\r\n", 400),
    "no host": (b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
    "two hosts": (get(b"host: b"), 400),
    "TLS to a port without": (b"\x16\x03\x01\x02\x00\x01\x00" + bytes(64), 400),
    "a header of a megabyte": (get(b"x: " + b"a" * MEGABYTE), 431),
    "a thousand headers": (get(*(b"x-%d: a" % number for number in range(1000))), 431),
    "an address of 100 KB": (get(path=b"/v1/models/" + b"a" * 100_000), 431),
    "a name that looks like another": (get(b"x_forwarded_client_cert: a"), 400),
    "a tunnel": (b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    "a web socket": (get(b"connection: upgrade", b"upgrade: websocket"), 403),
    # One request each, and like any other without a key.
    "HTTP/2 in the clear by an upgrade": (get(b"connection: upgrade, http2-settings", b"upgrade: h2c"), 401),
    "a bare carriage return": (get(b"x: a\rcontent-length: 5"), 401),
    "a header over two lines": (get(b"x: a", b" content-length: 5"), 401),
    "HTTP/0.9": (b"GET /v1/models\r\n\r\n", 401),
    "HTTP/3.0": (b"GET /v1/models HTTP/3.0\r\nhost: a\r\n\r\n", 401),
    "TRACE": (b"TRACE /v1/models HTTP/1.1\r\nhost: a\r\n\r\n", 405),
    "a way up": (get(path=b"/v1/../../stats"), 404),
    "a hidden way up": (get(path=b"/v1/%2e%2e/%2e%2e/stats"), 404),
    "a hidden slash": (get(path=b"/v1%2fmodels"), 404),
    "another address in the line": (get(path=b"http://other/stats"), 404),
}
BODIES = {
    "a number of 100,000 digits": b'{"model": "all-MiniLM-L6-v2", "input": [' + b"9" * 100_000 + b"]}",
    "an exponent beyond all": b'{"model": "all-MiniLM-L6-v2", "input": [1e999999999]}',
    "dimensions beyond all": b'{"model": "all-MiniLM-L6-v2", "input": "a", "dimensions": 1e300}',
    "100,000 lists deep": b'{"input": ' + b"[" * 100_000,
    "100,000 objects deep": b'{"input": ' + b'{"a":' * 100_000,
    "50,000 fields": b'{"input": "a"' + b"".join(b',"f%d":1' % number for number in range(50_000)) + b"}",
    "text that is no UTF-8": b'{"model": "all-MiniLM-L6-v2", "input": "\xc3\x28\xff"}',
    "an overlong zero": b'{"model": "all-MiniLM-L6-v2", "input": "\xc0\x80"}',
    "half a surrogate": rb'{"model": "all-MiniLM-L6-v2", "input": "\ud800"}',
}


@pytest.fixture(scope="module")
def edge(state, tmp_path_factory):
    """A server and an Envoy for this alone."""
    folder = tmp_path_factory.mktemp("hostile")
    with run_server(state, folder, encoder="fake") as server, run_edge(server, state, folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def memory(edge):
    """Looks at resident memory: Envoy's and the server's, in bytes."""

    def measure():
        return [_resident(process.pid) for process in (edge.process, edge.server.process)]

    return measure


def _resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def wait_for(what):
    """What another process comes to, as soon as it is there."""
    deadline = time.monotonic() + 20
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture(autouse=True)
def others(edge, state, memory):
    """Somebody else, who is served all the while; afterwards memory is where it was."""
    before, over, answers = memory(), threading.Event(), []

    def ask():
        headers = {"authorization": f"Bearer {state.api_key}"}
        with httpx.Client(base_url=edge.url, headers=headers, timeout=10) as http:
            while not over.is_set() or len(answers) < 3:
                answers.append(http.post("/v1/embeddings", json=GOOD).status_code)
                over.wait(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    yield answers
    over.set()
    thread.join()
    assert set(answers) == {200}
    for after, earlier in zip(memory(), before, strict=True):
        assert after < earlier + ROOM


@pytest.mark.parametrize(("sent", "status"), BYTES.values(), ids=BYTES)
def test_bytes_that_are_no_honest_request(edge, sent, status):
    found, received = answer_to(edge.port, sent)
    assert found == status, received
    assert received.count(b"HTTP/1") == 1  # nothing was taken for a second request
    head, _, body = received.partition(b"\r\n\r\n")
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert b"\r\nx-request-id: " in head


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies_that_are_meant_to_break_a_parser(edge, state, body):
    headers = {"authorization": f"Bearer {state.api_key}"}
    response = httpx.post(f"{edge.url}/v1/embeddings", content=body, headers=headers, timeout=30)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_body_that_unpacks_to_a_thousand_times_its_size_is_not_unpacked(edge, state):
    headers = {"authorization": f"Bearer {state.api_key}", "content-encoding": "gzip"}
    bomb = gzip.compress(b" " * 100 * MEGABYTE)
    response = httpx.post(f"{edge.url}/v1/embeddings", content=bomb, headers=headers)
    assert response.status_code == 400


@pytest.mark.parametrize("by", ["edge", "server"])
def test_nor_is_a_message_of_grpc(edge, state, by):
    port = edge.grpc_port if by == "edge" else edge.server.port
    credentials = state.credentials()
    options = [("grpc.ssl_target_name_override", "embedsvc"), ("grpc.max_send_message_length", -1)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options, grpc.Compression.Gzip) as channel:
        call = channel.unary_unary("/embedsvc.v1.EmbeddingService/Embed")
        with pytest.raises(grpc.RpcError) as caught:
            call(bytes(200 * MEGABYTE), metadata=state.authorization, timeout=30)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


FORGED = {
    "x-forwarded-for": "203.0.113.9",
    "x-envoy-internal": "true",
    "x-envoy-external-address": "203.0.113.9",
    "x-real-ip": "203.0.113.9",
    "forwarded": "for=203.0.113.9",
}


def test_nobody_has_another_address_by_saying_so(edge, state):
    headers = {**FORGED, "authorization": f"Bearer {WRONG}", "x-request-id": "forged-1"}
    assert httpx.post(f"{edge.url}/v1/embeddings", json=GOOD, headers=headers).status_code == 401
    (line,) = wait_for(lambda: [line for line in edge.log.read_text().splitlines() if "forged-1" in line])
    assert json.loads(line)["client"] == "127.0.0.1"


def opening(path="/v1/embeddings", method="POST", *more):
    return [(":method", method), (":path", path), (":scheme", "http"), (":authority", "a"), *more]


@pytest.fixture
def counted(edge):
    """Says by how much one of Envoy's counters has grown."""

    def start(name):
        before = edge.stats(f"http.rest.{name}").popitem()[1]
        return lambda: edge.stats(f"http.rest.{name}").popitem()[1] - before

    return start


def test_ten_thousand_streams_of_one_connection(edge, counted):
    opened = counted("downstream_rq_total")
    with Http2(edge.port) as connection:
        block = connection.frames.encoder.encode(opening())
        for number in range(10_000):
            connection.send(frame(HEADERS, END_HEADERS, 2 * number + 1, block))
        connection.read()
        assert edge.stats("http.rest.downstream_rq_active").popitem()[1] <= 110  # the others' included
    assert opened() < 5_000


def test_streams_that_are_reset_as_soon_as_they_are_opened(edge, counted):
    opened, ended = counted("downstream_rq_total"), counted("downstream_rq_too_many_premature_resets")
    with Http2(edge.port) as connection:
        for number in range(10_000):
            connection.frames.send_headers(2 * number + 1, opening("/v1/models", "GET"), end_stream=True)
            connection.frames.reset_stream(2 * number + 1)
            if number % 100 == 99 and not connection.flush():
                break
        connection.read()
    assert ended() == 1
    assert opened() < 5_000


def test_headers_that_never_end(edge):
    with Http2(edge.port) as connection:
        connection.send(frame(HEADERS, 0, 1, connection.frames.encoder.encode(opening())))
        assert not all(connection.send(frame(CONTINUATION, 0, 1, bytes(0x4000))) for _ in range(10_000))


@pytest.mark.parametrize(
    "more", [("connection", "keep-alive"), ("transfer-encoding", "chunked"), ("Upper", "case"), ("a b", "c")]
)
def test_headers_that_http2_does_not_have(edge, more):
    with Http2(edge.port) as connection:
        connection.frames.send_headers(1, opening("/v1/models", "GET", more), end_stream=True)
        connection.flush()
        answer = connection.until(StreamReset) or connection.until(ResponseReceived)
    assert answer is None or isinstance(answer, StreamReset) or dict(answer.headers)[b":status"] == b"400"


def test_a_body_that_is_longer_or_shorter_than_it_says(edge):
    for length in ("1", "100"):
        with Http2(edge.port) as connection:
            connection.frames.send_headers(1, opening("/v1/embeddings", "POST", ("content-length", length)))
            connection.frames.send_data(1, b"{}{}", end_stream=True)
            connection.flush()
            assert connection.until(StreamReset)


def idle(port, sent=b"", count=16):
    """Connections that send something, and then nothing."""
    opened = [socket.create_connection(("127.0.0.1", port), timeout=15) for _ in range(count)]
    for connection in opened:
        connection.sendall(sent)
    return opened


def test_whoever_is_slow_is_not_waited_for(edge):
    headers = idle(edge.port, b"GET /v1/models HTTP/1.1\r\nhost: a\r\n")
    handshakes = idle(edge.ports["TLS_PORT"])
    for connection in headers:
        with closing(connection):
            assert connection.recv(65536).startswith(b"HTTP/1.1 408")
    for connection in handshakes:
        with closing(connection):
            assert connection.recv(65536) == b""


def test_whoever_does_not_read_holds_nobody_up(edge, state, others):
    key = b"authorization: Bearer " + state.api_key.encode()
    body = json.dumps({**GOOD, "input": ["a"] * 512}).encode()
    unread = idle(edge.port, post(key, b"content-length: %d" % len(body), body=body) * 4, count=8)
    answered = len(others)
    wait_for(lambda: edge.stats("http.rest.downstream_cx_tx_bytes_buffered").popitem()[1])
    wait_for(lambda: len(others) > answered + 50)
    for connection in unread:
        connection.close()


def test_an_envoy_that_is_full_says_that_it_is_alive_and_takes_internal_services(edge, state, tmp_path):
    few = tmp_path / "few.yaml"
    text = (ROOT / "envoy.yaml").read_text()
    few.write_text(re.sub("(max_active_downstream_connections:) [0-9]+", r"\1 4", text))
    with run_edge(edge.server, state, tmp_path, EDGE__TEMPLATE=few) as full:
        opened = idle(full.port, count=4)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{full.url}/health")
        assert httpx.get(f"http://127.0.0.1:{full.ports['STATS_PORT']}/ready").text == "LIVE\n"
        options = [("grpc.ssl_target_name_override", "embedsvc")]
        with grpc.secure_channel(f"127.0.0.1:{full.grpc_port}", state.credentials(), options) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status
        for connection in opened:
            connection.close()
