"""Limits through Envoy, as OpenAI's own clients meet them: headers, 429, and trying again."""

import asyncio
import gc
import math

import httpx
import openai
import pytest
from support.limited import SOON, TIMEOUT, seconds
from support.trust import make_key

from embedsvc.store.records import Limits

MODEL = "all-MiniLM-L6-v2"
KINDS = ("requests", "tokens")
NAMES = [f"x-ratelimit-{what}-{kind}" for what in ("limit", "remaining", "reset") for kind in KINDS]
THREE_TOKENS = "good"


@pytest.fixture
async def client_of(edge, state):
    """Makes clients of new keys; each client keeps what it was answered in `answers`."""
    opened = []

    async def make(*, retries=0, **limits):
        key = await make_key(state, "limited", limits=Limits(**limits))
        answers = []
        transport = httpx.AsyncClient(event_hooks={"response": [keep_in(answers)]})
        client = openai.AsyncOpenAI(
            base_url=f"{edge.url}/v1", api_key=key, max_retries=retries, http_client=transport
        )
        opened.append(client)
        return client, answers

    yield make
    for client in opened:
        await client.close()
    await asyncio.sleep(0)  # so that the transports are closed, too
    gc.collect()  # here, where a test that has left one behind is named


def keep_in(answers):
    async def keep(response):
        answers.append(response)

    return keep


async def embed(client, text=THREE_TOKENS):
    """Ask; again where the key's very first look-up was too slow, as clients do. Return the raw answer."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                return await client.embeddings.with_raw_response.create(model=MODEL, input=text)
            except openai.InternalServerError as error:
                if error.code != "overloaded":
                    raise


async def spend(client, text=THREE_TOKENS):
    """Ask until the window is used up; return how many passed, and the refusal."""
    passed = 0
    async with asyncio.timeout(TIMEOUT):
        while True:
            try:
                await embed(client, text)
                passed += 1
            except openai.RateLimitError as error:
                if int(error.response.headers["retry-after"]) > SOON:
                    return passed, error


def told(response):
    return {name: value for name, value in response.headers.items() if name.startswith("x-ratelimit")}


async def test_a_good_answer_says_what_is_left(client_of):
    client, _ = await client_of(requests_per_minute=20, tokens_per_minute=1000)
    first, second = await embed(client), await embed(client)
    assert sorted(told(first)) == sorted(NAMES)
    for kind in KINDS:
        assert 0 < seconds(first.headers[f"x-ratelimit-reset-{kind}"]) <= 60
    for name, values in {
        "limit-requests": ("20", "20"),
        "remaining-requests": ("19", "18"),
        "limit-tokens": ("1000", "1000"),
        "remaining-tokens": ("997", "994"),
    }.items():
        assert (first.headers[f"x-ratelimit-{name}"], second.headers[f"x-ratelimit-{name}"]) == values
    assert len(first.parse().data[0].embedding) == 384


async def test_a_key_without_limits_is_told_nothing(client_of):
    client, _ = await client_of()
    assert told(await embed(client)) == {}


async def test_too_many_requests_are_openais_own_error(client_of):
    client, _ = await client_of(requests_per_minute=10, tokens_per_minute=1000)
    passed, error = await spend(client)
    assert 10 <= passed <= 11
    assert (error.status_code, error.type, error.code, error.param) == (
        429,
        "requests",
        "rate_limit_exceeded",
        None,
    )
    assert error.body["message"].startswith("over the limit, 10 requests in 60s; try again in ")
    headers = error.response.headers
    assert sorted(told(error.response)) == sorted(NAMES)
    assert headers["x-ratelimit-remaining-requests"] == "0"
    reset = seconds(headers["x-ratelimit-reset-requests"])
    assert int(headers["retry-after"]) == pytest.approx(math.ceil(reset), abs=1)
    assert 1 < int(headers["retry-after"]) <= 60
    assert headers["content-type"] == "application/json"


async def test_too_many_tokens_are_too(client_of):
    client, _ = await client_of(tokens_per_minute=1000)
    passed, error = await spend(client, "word " * 248)  # 250 tokens
    assert passed == 4
    assert (error.status_code, error.type, error.code) == (429, "tokens", "rate_limit_exceeded")
    assert "1000 tokens in 60s: this request has 250; try again in " in error.body["message"]
    assert sorted(told(error.response)) == sorted(name for name in NAMES if name.endswith("tokens"))
    assert error.response.headers["x-ratelimit-remaining-tokens"] == "0"


async def test_a_request_that_can_never_pass_is_not_told_to_come_back(client_of):
    client, answers = await client_of(retries=0, tokens_per_minute=100)
    with pytest.raises(openai.RateLimitError) as caught:
        await embed(client, "word " * 200)
    assert caught.value.body["message"].endswith("this request has 202; it can never pass")
    assert "retry-after" not in answers[-1].headers
    assert answers[-1].headers["x-ratelimit-remaining-tokens"] == "100"


async def test_who_lists_models_is_limited_too(client_of):
    client, _ = await client_of(quota_requests=10)
    await embed(client)
    told = await asyncio.gather(*(client.models.list() for _ in range(20)), return_exceptions=True)
    refused = [error for error in told if isinstance(error, openai.RateLimitError)]
    assert refused
    assert {error.response.headers["x-ratelimit-limit-requests"] for error in refused} == {"10"}
    assert {error.code for error in refused} == {"rate_limit_exceeded"}


async def test_the_sdk_waits_as_it_is_told_and_passes_in_the_next_window(client_of):
    client, answers = await client_of(retries=3, quota_requests=1, quota_seconds=2)
    async with asyncio.timeout(TIMEOUT):
        while all(answer.status_code == 200 for answer in answers):
            assert (await embed(client)).status_code == 200
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(answer.headers["retry-after"] in ("1", "2") for answer in refused)
    assert answers[-1].status_code == 200
