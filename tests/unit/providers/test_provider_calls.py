"""providers: what a call sends, what it believes, and what its caller is told when it fails."""

import asyncio
import time
from importlib.metadata import version

import numpy as np
import pytest
from remote import MODELS, caller, embed, tokens_of
from structlog.testing import capture_logs
from support.trust import until

from embedsvc.errors import (
    DeadlineExceededError,
    EmbedsvcError,
    InvalidRequestError,
    OverloadedError,
    ProviderDownError,
)
from embedsvc.keys import token
from embedsvc.providers import model as model_module
from embedsvc.types import Caller, Unlimited

TEXTS = ["hello", "a longer text of some words", "🦊 and お誕生日"]


OF_THE_CONNECTION = ("host", "content-length")


async def failure_of(model, *texts, by=None) -> EmbedsvcError:
    with pytest.raises(EmbedsvcError) as caught:
        await embed(model, *(texts or ("hello",)), by=by)
    return caught.value


# What goes out


async def test_vectors_are_those_that_the_provider_gives(providers, openai):
    model = await providers.open()
    vectors = await embed(model, *TEXTS)
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 8))
    assert all(np.array_equal(vectors[at], openai.vector_of(text)) for at, text in enumerate(TEXTS))
    assert providers.counted("ok") == 1


async def test_a_call_sends_texts_the_model_and_our_key_and_nothing_else(providers, openai):
    model = await providers.open()
    await embed(model, *TEXTS)
    (request,) = openai.requests
    assert request.body == {"model": "text-embedding-3-small", "input": TEXTS, "encoding_format": "base64"}
    headers = {name: value for name, value in request.headers.items() if name not in OF_THE_CONNECTION}
    assert headers == {
        "accept": "application/json",
        "accept-encoding": "identity",
        "authorization": "Bearer sk-of-this-service",
        "connection": "keep-alive",
        "content-type": "application/json",
        "user-agent": f"embedsvc/{version('embedsvc')}",
        "x-stainless-raw-response": "true",
        "x-stainless-read-timeout": "5.0",
        "x-stainless-retry-count": "0",
    }


async def test_nothing_of_a_caller_leaves(providers, openai):
    model, key = await providers.open(), token.generate()

    class Account(Unlimited):
        identity = token.digest(key)

    by = Caller(key, time.monotonic() + 30, account=Account(), index="an-index-of-theirs")
    await embed(model, *TEXTS, by=by)
    (request,) = openai.requests
    sent = repr(request)
    assert not any(part in sent for part in ("emb_", Account.identity, "an-index-of-theirs"))


async def test_nothing_is_taken_from_the_environment(providers, openai, monkeypatch):
    variables = {
        "OPENAI_API_KEY": "sk-environment",
        "OPENAI_ADMIN_KEY": "sk-environment",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/environment",
        "OPENAI_ORG_ID": "environment",
        "OPENAI_PROJECT_ID": "environment",
        "OPENAI_CUSTOM_HEADERS": "X-Custom: environment\nAuthorization: Bearer environment",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    await embed(await providers.open(), "hello")
    (request,) = openai.requests
    assert request.key == "sk-of-this-service"
    assert "environment" not in repr(request)


async def test_a_server_without_keys_gets_none_of_ours(providers, openai):
    model = await providers.open(key=None)
    await embed(model, "hello")
    assert openai.requests[0].key == "none"


async def test_a_key_that_is_replaced_counts_from_the_next_call_on(providers, openai):
    openai.keys = ["sk-new"]
    model = await providers.open(failures=1000)
    assert isinstance(await failure_of(model), ProviderDownError)
    new = providers.key_file.with_name("new")
    new.write_text("sk-new\n")
    new.replace(providers.key_file)

    async def answered() -> bool:
        try:
            await embed(model, "hello")
        except ProviderDownError:
            return False
        return True

    await until(answered)
    assert openai.requests[-1].key == "sk-new"


@pytest.mark.parametrize(
    "text", ["<|endoftext|>", " \n\ttwo  spaces \r\n", "a\u0301", "\ufeffbom", "\u202eright", "x" * 5000]
)
async def test_a_text_that_is_not_too_long_goes_out_byte_by_byte_as_it_came(providers, openai, text):
    await embed(await providers.open(), text)
    assert openai.requests[0].texts == [text]


async def test_a_text_that_is_too_long_is_cut_before_it_is_sent(providers, openai):
    model = await providers.open({"m": {"dimensions": 8, "max_tokens": 5}})
    await embed(model, "one two three four five six seven")
    assert openai.requests[0].texts == ["one two three four five"]


async def test_no_texts_are_no_call(providers, openai):
    assert (await embed(await providers.open())).shape == (0, 8)
    assert openai.requests == []


async def test_many_texts_are_some_calls_and_keep_their_order(providers, openai, monkeypatch):
    monkeypatch.setattr(model_module, "MOST_TEXTS", 4)
    monkeypatch.setattr(model_module, "MOST_TOKENS", 12)
    texts = [f"word {'and ' * (number % 5)}" for number in range(23)]
    model = await providers.open()
    vectors = await embed(model, *texts)
    assert all(np.array_equal(vectors[at], openai.vector_of(text)) for at, text in enumerate(texts))
    assert [text for request in openai.requests for text in request.texts] == texts
    tokens = [[len(one.ids) for one in tokens_of(model, request.texts)] for request in openai.requests]
    assert all(len(one) <= 4 and sum(one) <= 12 for one in tokens)
    assert len(openai.requests) < len(texts) / 2


async def test_what_is_sent_and_how_long_it_took_is_counted(providers, openai):
    openai.behave("delay", seconds=0.1)
    model = await providers.open()
    ids = [one.ids for one in tokens_of(model, TEXTS)]
    async with model.entered(caller()) as worker:
        computed = await worker.submit(ids, caller())
    assert computed.inferred >= 0.1 > computed.queued
    value, labels = providers.registry.get_sample_value, {"provider": "openai"}
    assert value("embeddings_provider_tokens_total", labels) == sum(map(len, ids))
    assert value("embeddings_provider_seconds_count", labels) == 1
    assert value("embeddings_provider_seconds_sum", labels) >= 0.1


# What is not believed


@pytest.mark.parametrize(
    "kind", ["garbage", "nothing", "endless", "short", "long", "duplicate", "cut", "nan"]
)
async def test_an_answer_that_cannot_be_is_a_failure_of_the_provider(providers, openai, kind):
    openai.behave(kind)
    error = await failure_of(await providers.open(), *TEXTS)
    assert isinstance(error, ProviderDownError)
    assert error.message == "the provider openai is down; try again later"
    assert providers.counted("malformed") == 1


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("hang_up", {}),
        ("garbage", {}),
        ("status", {"status": 500}),
    ],
)
async def test_tokens_are_counted_where_vectors_were_answered(providers, openai, kind, values):
    openai.behave(kind, **values, times=1)
    model = await providers.open()
    await failure_of(model)
    value, labels = providers.registry.get_sample_value, {"provider": "openai"}
    series = "embeddings_provider_tokens_total"
    assert not value(series, labels)
    await embed(model, "hello")
    assert value(series, labels) == len(tokens_of(model, ["hello"])[0].ids)


async def test_no_more_is_read_than_an_answer_to_these_texts_can_have(providers, openai):
    model = await providers.open({"small": {"dimensions": 8}, "large": {"dimensions": 3072}})
    most = []
    for texts in (["hello"], ["hello"] * 100):
        openai.behave("endless", times=1)
        with capture_logs() as logs:
            await failure_of(model, *texts)
        most.append(int(logs[0]["detail"].removeprefix("the answer has more than ").split()[0]))
    assert most[0] < 2**17
    assert most[0] < most[1] < 2**18


@pytest.mark.parametrize("kind", ["reversed", "floats"])
async def test_an_answer_in_another_form_is_one(providers, openai, kind):
    openai.behave(kind)
    vectors = await embed(await providers.open(), *TEXTS)
    assert all(np.array_equal(vectors[at], openai.vector_of(text)) for at, text in enumerate(TEXTS))


async def test_a_model_with_other_dimensions_than_was_said_is_never_used(providers):
    model = await providers.open({"text-embedding-3-small": {"dimensions": 16}})
    assert isinstance(await failure_of(model), ProviderDownError)


async def test_texts_go_nowhere_else(providers, openai):
    openai.behave("status", status=307, headers={"location": f"{openai.url}/elsewhere"})
    assert isinstance(await failure_of(await providers.open()), ProviderDownError)
    assert [request.path for request in openai.requests] == ["/v1/embeddings"]


# What fails


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (429, "limited"),
        (500, "failed"),
        (503, "failed"),
        (409, "failed"),
        (401, "refused"),
        (403, "refused"),
        (404, "refused"),
    ],
)
async def test_a_status_is_told_apart_by_what_it_means(providers, openai, status, outcome):
    openai.behave("status", status=status, message="a secret of the provider's")
    error = await failure_of(await providers.open())
    assert isinstance(error, ProviderDownError)
    assert (error.code, error.message) == ("UNAVAILABLE", "the provider openai is down; try again later")
    assert providers.counted(outcome) == 1


@pytest.mark.parametrize("kind", ["hang_up", "hang_up_midway"])
async def test_a_connection_that_breaks_is_a_failure(providers, openai, kind):
    openai.behave(kind)
    assert isinstance(await failure_of(await providers.open()), ProviderDownError)
    assert providers.counted("unreachable") == 1


RAW = [
    b"",
    b"\x00\xff\xfe",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx-odd: \xff\xfe\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=odd\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 302 Found\r\nlocation: http://[::1\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 429 Slow\r\nretry-after: nan\r\ncontent-length: 0\r\n\r\n",
    b'HTTP/1.1 503 Away\r\nretry-after: inf\r\ncontent-length: 13\r\n\r\n{"error": [1]}',
    b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
]


@pytest.mark.parametrize("raw", RAW)
async def test_whatever_comes_back_callers_are_told_no_more_than_that_it_is_down(providers, raw):
    async def say(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        error = await failure_of(await providers.open(url=url))
    assert (type(error), error.retry_after) == (ProviderDownError, 1.0)


async def test_a_provider_that_does_not_run_is_a_failure(providers):
    model = await providers.open(url="http://127.0.0.1:1/v1")
    assert isinstance(await failure_of(model), ProviderDownError)
    assert providers.counted("unreachable") == 1


@pytest.mark.parametrize(("kind", "values"), [("stall", {}), ("trickle", {"seconds": 0.05})])
async def test_one_try_takes_no_longer_than_it_may_however_it_is_spent(providers, openai, kind, values):
    openai.behave(kind, **values)
    began = time.monotonic()
    error = await failure_of(await providers.open(timeout_seconds=0.3))
    assert isinstance(error, ProviderDownError)
    assert time.monotonic() - began < 5
    assert providers.counted("timeout") == 1


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_texts_that_the_provider_does_not_take_are_the_callers_and_its_words_are_nobodys(
    providers, openai, status
):
    openai.behave("status", status=status, message="'my diary' is too sad", code="'my diary'")
    with capture_logs() as logs:
        error = await failure_of(await providers.open(), "my diary")
    assert type(error) is InvalidRequestError
    assert error.message == "the provider openai does not accept these inputs"
    assert "diary" not in repr(logs)
    assert [line["detail"] for line in logs] == [f"status {status} invalid_request_error"]
    assert providers.counted("rejected") == 1


async def test_a_key_that_is_refused_is_told_once_and_never_shown(providers, openai):
    openai.keys = ["sk-another"]
    with capture_logs() as logs:
        model = await providers.open(failures=1000)
        for _ in range(5):
            assert "sk-" not in (await failure_of(model)).message
        told = [line for line in logs if line["log_level"] == "error"]
        assert [line["setting"] for line in told] == ["providers.openai"]
        assert told[0]["detail"] == "status 401 invalid_request_error invalid_api_key"
        openai.keys = []
        await embed(model, "hello")
        openai.keys = ["sk-another"]
        await failure_of(model)
    assert len([line for line in logs if line["log_level"] == "error"]) == 2
    assert "sk-" not in repr(logs)


# Tries


@pytest.mark.parametrize("header", [{"retry-after": "0.5"}, {"retry-after-ms": "500"}])
async def test_a_limit_is_tried_again_when_the_provider_says(providers, openai, header):
    openai.behave("status", times=1, status=429, headers=header)
    await embed(await providers.open(retries=1), "hello")
    first, second = openai.embedded
    assert second.at - first.at >= 0.5
    assert second.headers["x-stainless-retry-count"] == "1"
    assert providers.counted("ok") == 1


@pytest.mark.parametrize(
    ("kind", "values"), [("status", {"status": 500}), ("hang_up", {}), ("hang_up_midway", {})]
)
async def test_what_may_go_better_is_tried_as_often_as_is_set(providers, openai, kind, values):
    openai.behave(kind, **values, times=2)
    model = await providers.open(retries=1)
    assert isinstance(await failure_of(model), ProviderDownError)
    assert len(openai.embedded) == 2
    await embed(model, "hello")


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_what_goes_no_better_is_not(providers, openai, status):
    openai.behave("status", status=status)
    await failure_of(await providers.open(retries=3))
    assert len(openai.embedded) == 1


async def test_how_long_a_limit_lasts_is_told_to_callers(providers, openai):
    openai.behave("status", status=429, headers={"retry-after": "7"})
    assert (await failure_of(await providers.open())).retry_after == 7.0


# Callers that leave


async def test_a_deadline_bounds_all_of_it(providers, openai):
    openai.behave("status", status=429, headers={"retry-after": "60"})
    model, began = await providers.open(retries=5), time.monotonic()
    assert isinstance(await failure_of(model, by=caller(0.3)), DeadlineExceededError)
    assert 0.3 <= time.monotonic() - began < 5
    assert providers.counted("left") == 1


async def test_a_deadline_that_has_passed_is_no_call(providers, openai):
    assert isinstance(await failure_of(await providers.open(), by=caller(-1.0)), DeadlineExceededError)
    assert openai.requests == []


async def test_a_caller_that_leaves_hangs_up_and_makes_room(providers, openai):
    openai.behave("stall", times=1)
    model = await providers.open(concurrency=1, failures=1)
    call = asyncio.create_task(embed(model, "hello"))
    await until(lambda: openai.at_once == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: openai.left == 1)
    await embed(model, "hello")
    assert (providers.counted("left"), providers.counted("ok")) == (1, 1)


async def test_a_caller_that_leaves_while_it_waits_was_never_there(providers, openai):
    openai.behave("stall", times=1)
    model = await providers.open(concurrency=1, queue=1)
    first = asyncio.create_task(embed(model, "first"))
    await until(lambda: openai.at_once == 1)
    for _ in range(3):  # one at a time may wait, and does
        assert isinstance(await failure_of(model, by=caller(0.05)), DeadlineExceededError)
    openai.clear()
    await first
    await embed(model, "second")
    assert [request.texts for request in openai.requests] == [["first"], ["second"]]


# Many at once


async def test_no_more_calls_are_under_way_than_may_be(providers, openai):
    openai.behave("delay", seconds=0.02)
    model = await providers.open(concurrency=3)
    vectors = await asyncio.gather(*(embed(model, f"text {number}") for number in range(30)))
    assert openai.most_at_once == 3
    assert all(np.array_equal(one[0], openai.vector_of(f"text {at}")) for at, one in enumerate(vectors))


async def test_no_more_wait_than_may_but_streams_do(providers, openai):
    openai.behave("stall", times=1)
    model = await providers.open(concurrency=1, queue=2)
    first = asyncio.create_task(embed(model, "hello"))
    await until(lambda: openai.at_once == 1)
    waiting = [asyncio.create_task(embed(model, "hello")) for _ in range(2)]
    await asyncio.sleep(0)
    error = await failure_of(model)
    assert type(error) is OverloadedError
    assert error.message == "too many requests wait for the provider openai; try again later"
    patient = asyncio.create_task(embed(model, "hello", by=caller(patient=True)))
    await asyncio.sleep(0)
    assert not patient.done()
    openai.clear()
    await asyncio.gather(first, *waiting, patient)
    assert openai.most_at_once == 1


async def test_two_providers_share_nothing(providers, openai):
    one = await providers.open(MODELS, "one", failures=1)
    other = await providers.open(MODELS, "other")
    openai.behave("status", times=1, status=500)
    assert isinstance(await failure_of(one), ProviderDownError)
    await embed(other, "hello")
    assert (one.provider.state, other.provider.state) == ("open", "closed")
