"""OpenAI's SDKs are told to come back, wait as long as Retry-After says, and are answered in the end."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise

import httpx
import openai
import pytest
from support.javascript import run_node
from support.programs import run_edge, run_server
from support.trust import make_key, until

from embedsvc.store.records import Limits

MODEL = "all-MiniLM-L6-v2"
ASKS = 20
RETRIES = 60
CLOCK = 0.05  # what two clocks may differ by


@dataclass(frozen=True)
class Try:
    """One request of an SDK.

    Attributes:
        wait: Retry-After, in seconds.
        at: When its answer came, in seconds.
    """

    status: int
    wait: float
    at: float


def noted(response):
    return Try(response.status_code, float(response.headers.get("retry-after", 0)), time.monotonic())


def python(url, key):
    """Ask until an answer took more than one try, or there is none; return the tries."""
    tries = []
    hooks = {"response": [lambda response: tries.append(noted(response))]}
    with (
        openai.DefaultHttpxClient(event_hooks=hooks) as http,
        openai.OpenAI(base_url=url, api_key=key, max_retries=RETRIES, http_client=http) as client,
        suppress(openai.RateLimitError),
    ):
        for asked in range(1, ASKS):
            client.embeddings.create(model=MODEL, input="good")
            if len(tries) > asked:
                break
    return tries


def python_async(url, key):
    return asyncio.run(ask_async(url, key))


async def ask_async(url, key):
    tries = []

    async def note(response):
        tries.append(noted(response))

    async with (
        openai.DefaultAsyncHttpxClient(event_hooks={"response": [note]}) as http,
        openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=RETRIES, http_client=http) as client,
    ):
        with suppress(openai.RateLimitError):
            for asked in range(1, ASKS):
                await client.embeddings.create(model=MODEL, input="good")
                if len(tries) > asked:
                    break
    return tries


def javascript(url, key):
    task = {"baseURL": url, "apiKey": key, "model": MODEL, "asks": ASKS, "maxRetries": RETRIES}
    return [Try(**each) for each in run_node("retry.mjs", task)]


SDKS = [python, python_async, javascript]


def waited_as_told(tries, status):
    refused = [each for each in tries if each.status != 200]
    assert {each.status for each in refused} == {status}
    assert tries[-1].status == 200
    for one, other in pairwise(tries):
        assert other.at - one.at >= one.wait - CLOCK
    assert all(each.wait >= 1 for each in refused)


@pytest.fixture
def known_key(edge, state):
    """Makes keys that the server has looked up: a busy machine may tell the first caller to come back."""

    async def make(**limits):
        key = await make_key(state, "limited", limits=Limits(**limits))
        headers = {"authorization": f"Bearer {key}"}
        await until(lambda: httpx.get(f"{edge.url}/v1/models", headers=headers).status_code != 503)
        return key

    return make


@pytest.mark.parametrize("ask", SDKS)
async def test_over_a_limit_they_wait_for_the_next_window(edge, known_key, ask):
    key = await known_key(quota_requests=1, quota_seconds=2)
    tries = await asyncio.to_thread(ask, f"{edge.url}/v1", key)
    waited_as_told(tries, 429)


@pytest.fixture
def away(state, tmp_path):
    """An Envoy whose server is away, and a function that brings it back."""
    with ExitStack() as stack:
        with run_server(state, tmp_path, encoder="fake") as server:
            ports = {"SERVER__PORT": server.port, "METRICS__PORT": server.metrics_port}
            edge = stack.enter_context(run_edge(server, state, tmp_path))
        yield edge, lambda: run_server(state, tmp_path, encoder="fake", **ports)


async def test_while_no_server_is_there_they_wait_for_one(away, state):
    edge, returning = away
    with ThreadPoolExecutor(len(SDKS)) as threads:
        asking = [threads.submit(ask, f"{edge.url}/v1", state.api_key) for ask in SDKS]
        await until(lambda: edge.stats("http.rest.downstream_rq_5xx").popitem()[1] >= len(SDKS))
        with returning():
            for tries in asking:
                waited_as_told(tries.result(timeout=60), 503)


@pytest.mark.parametrize("ask", SDKS)
async def test_what_can_never_pass_is_not_tried_again(edge, known_key, ask):
    key = await known_key(tokens_per_minute=2)
    tries = await asyncio.to_thread(ask, f"{edge.url}/v1", key)
    assert [each.status for each in tries] == [429]
