"""An attacker's list over gRPC: none of it gets in, and what is written down of calls holds no secret.

Certificates are in test_identities.py, signatures in test_signed_calls.py, guesses in test_keys_live.py, and
Envoy in tests/edge.
"""

import ast
import json
import ssl
import time
import unicodedata
from collections import Counter

import grpc
import httpx
import pytest
from support.programs import ROOT
from support.trust import (
    AUTHORIZATIONS,
    ENVOYS,
    KINDS,
    OF_ITS_OWN,
    WRONG,
    bearer,
    call,
    make_key,
    operate,
    outcome,
    parts_of,
    rows,
    until,
)

from embedsvc.keys import token
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub
from embedsvc.v1.model_pb2 import ListModelsRequest
from embedsvc.v1.model_pb2_grpc import ModelServiceStub

REFUSED = ["INVALID_API_KEY"] * len(KINDS)


@pytest.mark.parametrize("form", AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
async def test_what_is_not_one_key_behind_bearer_is_none(fake_channel, state, form):
    metadata = (("authorization", form.format(**parts_of(state.api_key))),)
    assert [await outcome(fake_channel, kind, metadata) for kind in KINDS] == REFUSED


@pytest.mark.parametrize("form", ["bearer {}", "BEARER {}", "Bearer    {}", "Bearer {} "])
async def test_the_scheme_has_no_case_and_spaces_do_not_count(fake_channel, state, form):
    metadata = (("authorization", form.format(state.api_key)),)
    assert await outcome(fake_channel, "embed", metadata) == "OK"


@pytest.mark.parametrize("order", [("good", "wrong"), ("wrong", "good"), ("good", "good"), ("none", "good")])
async def test_several_values_of_authorization_are_no_key(fake_channel, state, order):
    values = {"good": f"Bearer {state.api_key}", "wrong": f"Bearer {WRONG}", "none": ""}
    metadata = tuple(("authorization", values[name]) for name in order)
    assert [await outcome(fake_channel, kind, metadata) for kind in KINDS] == REFUSED


@pytest.mark.parametrize(
    "name",
    ["x-api-key", "api-key", "apikey", "cookie", "proxy-authorization", "x-authorization", "x-embedsvc-key"],
)
async def test_a_key_anywhere_else_is_none_and_is_not_logged(fake_server, fake_channel, state, name):
    for value in (state.api_key, f"Bearer {state.api_key}", f"authorization={state.api_key}"):
        assert await outcome(fake_channel, "embed", ((name, value),)) == "INVALID_API_KEY"
    assert state.api_key not in fake_server.log.read_text()


async def test_headers_that_only_a_proxy_would_send_say_nothing_of_who_calls(fake_channel):
    for headers in (*({name: value} for name, value in ENVOYS.items()), ENVOYS):
        assert [await outcome(fake_channel, kind, tuple(headers.items())) for kind in KINDS] == REFUSED


@pytest.mark.parametrize("name", ["x-embedsvc-signer", "x-embedsvc-time", "x-embedsvc-signature"])
async def test_a_part_of_a_signature_makes_a_good_key_no_better(fake_channel, state, name):
    metadata = (*state.authorization, (name, "envoy"))
    assert await outcome(fake_channel, "embed", metadata) == "INVALID_SIGNATURE"


async def test_every_wrong_key_is_answered_alike_however_near_it_is(fake_channel, state):
    key = state.api_key
    near = [key[:at] + ("A" if key[at] != "A" else "B") + key[at + 1 :] for at in range(4, len(key))]
    answers = Counter()
    for guess in (*near, WRONG):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ModelServiceStub(fake_channel).ListModels(ListModelsRequest(), metadata=bearer(guess))
        trailers = dict(caught.value.trailing_metadata())
        answers[caught.value.code(), caught.value.details(), trailers["grpc-status-details-bin"]] += 1
    assert len(answers) == 1


SECRETS = {"digest", "signature", "secret", "secrets", "authorization", "api_key", "bearer"}


def compared_in(path):
    """The names on both sides of every == and != of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            for side in (node.left, *node.comparators):
                yield from (getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(side))


def test_no_secret_and_no_digest_is_compared_but_in_constant_time():
    folders = ("access", "interceptors", "keys", "signing")
    modules = [path for folder in folders for path in (ROOT / "embedsvc" / folder).glob("*.py")]
    assert {path.name: found for path in modules if (found := SECRETS.intersection(compared_in(path)))} == {}
    for module in ("keys/ring.py", "signing/verifier.py"):
        assert "hmac.compare_digest(" in (ROOT / "embedsvc" / module).read_text()


@pytest.mark.parametrize("size", [70_000, 1_000_000])
async def test_huge_metadata_are_refused_and_disturb_nobody(fake_server, fake_channel, state, size):
    many = tuple((f"x-{number}", "a" * 100) for number in range(size // 130))
    async with fake_server.channel(**dict([OF_ITS_OWN])) as own:
        for metadata in ((("x-large", "a" * size),), many, bearer("emb_" + "A" * size)):
            assert await outcome(own, "embed", (*state.authorization, *metadata)) == "RESOURCE_EXHAUSTED"
        assert await outcome(own, "embed", state.authorization) == "OK"
    assert await outcome(fake_channel, "embed", state.authorization) == "OK"


@pytest.fixture(scope="module")
def raw(fake_server, state):
    """Sends a call with any bytes at all in its headers, which gRPC's own clients would not send."""
    context = ssl.create_default_context(cafile=state.path("ca.crt"))
    context.load_cert_chain(state.path("client.crt"), state.path("client.key"))
    url = f"https://localhost:{fake_server.port}"
    with httpx.Client(http1=False, http2=True, verify=context, base_url=url) as client:

        def post(**headers):
            sent = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
            fixed = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
            path = "/embedsvc.v1.ModelService/ListModels"
            return client.post(path, content=bytes(5), headers=[*fixed, *sent])

        yield post


@pytest.mark.parametrize("tail", [b"\0", b"\xc2\xa0", b"\xe2\x80\x8b", b"\0x", b"\n\nx", b"\x7f"])
def test_bytes_that_are_no_text_make_no_key(raw, state, tail):
    response = raw(authorization=b"Bearer " + state.api_key.encode() + tail)
    assert (response.headers["grpc-status"], response.content) == ("16", b"")


@pytest.mark.parametrize("digit", ["٣", "３", "𝟑", "Ａ"])  # noqa: RUF001 - letters and digits that are not ASCII
def test_digits_and_letters_of_other_scripts_make_no_key(raw, digit):
    assert raw(authorization=f"Bearer emb_{digit * 43}".encode()).headers["grpc-status"] == "16"


FORGED = {
    "a line": b"id\n" + json.dumps({"event": "forged"}).encode(),
    "the end of a string": b'id","event":"forged',
    "an escape sequence": b"\x1b[2J\x1b[31mforged",
    "an escape sequence of one character": "\x9b31mforged".encode(),
    "text that runs backwards": "\u202edegrof".encode(),
    "a line of Unicode's": "id\u2028forged".encode(),
    "a tab and a carriage return": b"id\tforged\rid",
    "much": b"forged" * 100,
    "nothing": b"",
    "a key": WRONG.encode(),
    "a key in an id": f"forged:{WRONG}/1".encode(),
}


@pytest.mark.parametrize("value", FORGED.values(), ids=FORGED)
async def test_what_callers_send_does_not_shape_the_log(raw, fake_server, state, value):
    before = len(fake_server.log.read_bytes())
    for key in (state.api_key.encode(), value):
        raw(authorization=b"Bearer " + key, x_request_id=value, user_agent=value, x_forwarded_for=value)
    await until(lambda: fake_server.log.read_bytes()[before:].count(b"\n") >= 2)
    logged = fake_server.log.read_bytes()[before:].decode()
    events = [json.loads(line) for line in logged.splitlines()]
    assert {event["event"] for event in events} == {"call"}
    assert {len(event["request_id"]) for event in events} == {36}
    for trace in ("forged", "degrof", WRONG):
        assert trace not in logged
    assert not [letter for letter in logged if unicodedata.category(letter)[0] == "C" and letter != "\n"]


SECRET = "Xylophone-4711"
MODEL = "all-MiniLM-L6-v2"
WRITTEN = ("good", "empty", "unknown", "models", "stream")


def texts(*values, **fields):
    return pb.EmbedRequest(inputs=[pb.Input(text=value) for value in values], **fields)


@pytest.fixture(scope="module")
async def written(fake_server, state):
    """The rows of the calls that a key made; and the key."""
    key = await make_key(state, "written", models=(MODEL,))
    metadata = {name: (*bearer(key), ("x-request-id", f"written-{name}")) for name in WRITTEN}
    batches = [
        pb.EmbedStreamRequest(id=SECRET, request=batch)
        for batch in (texts(SECRET), texts(SECRET, SECRET), texts(""))
    ]
    async with fake_server.channel() as channel:
        stub = EmbeddingServiceStub(channel)
        assert await outcome(channel, "stream", bearer(key)) == "OK"
        await stub.Embed(texts(SECRET, "two"), metadata=metadata["good"])
        for name, request in (("empty", texts(SECRET, "")), ("unknown", texts(SECRET, model=SECRET))):
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Embed(request, metadata=metadata[name])
        await call(channel, "models", metadata["models"])
        answers = stub.EmbedStream(iter(batches), metadata=metadata["stream"])
        assert len([answer async for answer in answers]) == len(batches)
    await until(lambda: len(rows_of(state, key)) == 6)
    return rows_of(state, key), key


def rows_of(state, key):
    return [row for row in rows(state, "requests") if row["key"] == token.digest(key)]


async def test_the_ledger_has_what_each_call_was_and_came_to(written):
    ledger, _ = written
    shown = ("request_id", "rpc", "model", "requests", "inputs", "tokens", "outcome")
    good = len(SECRET) + 2 + 3 + 2  # the fake encoder's tokens are characters
    assert sorted(tuple(row[name] for name in shown) for row in ledger) == [
        ("written-empty", "Embed", MODEL, 1, 2, 0, "INVALID_ARGUMENT"),
        ("written-good", "Embed", MODEL, 1, 2, good, "OK"),
        ("written-models", "ListModels", "", 1, 0, 0, "OK"),
        ("written-stream", "EmbedStream", MODEL, 1, 1, 0, "INVALID_ARGUMENT"),
        ("written-stream", "EmbedStream", MODEL, 2, 3, 3 * (len(SECRET) + 2), "OK"),
        ("written-unknown", "Embed", "", 1, 0, 0, "NOT_FOUND"),
    ]
    assert all(row["identity"] == "any" and row["latency_ms"] > 0 for row in ledger)
    assert all(abs(row["at"] - time.time()) < 60 for row in ledger)


async def test_nothing_that_is_kept_or_logged_has_a_text_or_a_key(written, fake_server, state):
    _, key = written
    kept = [path for path in state.folder.iterdir() if path.name.startswith("embedsvc.db")]
    assert {path.suffix for path in kept} == {".db", ".db-wal", ".db-shm"}
    for path in (*kept, fake_server.log):
        content = path.read_bytes()
        for secret in (SECRET, key, key[len(token.prefix(key)) :], state.api_key):
            assert secret.encode() not in content, path


async def test_usage_is_shown_by_key_as_json(written, fake_server):
    _, key = written
    ended = await operate(fake_server, "usage", "--by", "key", "--format", "json")
    assert ended.returncode == 0, ended.stderr
    [usage] = [row for row in json.loads(ended.stdout) if row["key"] == f"written ({token.prefix(key)})"]
    assert (usage["requests"], usage["errors"], usage["texts"]) == (7, 3, 8)
    assert usage["tokens"] == 4 * (len(SECRET) + 2) + 5
    assert key not in ended.stdout


@pytest.mark.parametrize("name", ["authorization", "x_request_id", "x_forwarded_for"])
async def test_metadata_that_are_no_utf_8_are_not_logged(raw, fake_server, state, name):
    before = len(fake_server.log.read_bytes())
    raw(**{name: b"Bearer " + state.api_key.encode() + b"\xff"})
    await until(lambda: b"\n" in fake_server.log.read_bytes()[before:])
    logged = fake_server.log.read_bytes()[before:].decode()
    assert [json.loads(line)["event"] for line in logged.splitlines()] == ["call"]
    assert state.api_key not in logged
