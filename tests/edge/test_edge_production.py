"""The production profile: redirects, limits by address, key and path, and pages of other origins."""

import asyncio
import ssl
import time

import httpx
import pytest
from support.programs import run_edge
from support.trust import WRONG, bearer, make_key

GOOD = {"model": "all-MiniLM-L6-v2", "input": "a"}
PROXY = {"EDGE__TRUSTED_HOPS": 1}
"""Whoever is behind one trusted proxy has the address that it says: so a test has many."""


def running(fake_server, state, factory, **values):
    return run_edge(fake_server, state, factory.mktemp("production"), EDGE__PROFILE="production", **values)


@pytest.fixture(scope="module")
def edge(fake_server, state, tmp_path_factory):
    """Envoy as it is on the internet, behind a proxy that says whence callers come."""
    with running(fake_server, state, tmp_path_factory, **PROXY) as opened:
        yield opened


@pytest.fixture(scope="module")
def direct(fake_server, state, tmp_path_factory):
    """Envoy as it is on the internet, with nothing in front of it."""
    with running(fake_server, state, tmp_path_factory, EDGE__PUBLIC_PORT=443) as opened:
        yield opened


@pytest.fixture
async def http(edge, state):
    """A client of HTTPS."""
    trust = ssl.create_default_context(cafile=str(state.path("ca.crt")))
    async with httpx.AsyncClient(base_url=edge.https, verify=trust, timeout=120) as client:
        yield client


class Addresses:
    """Addresses that nobody has called from."""

    def __init__(self):
        self._last = 0

    def new(self):
        self._last += 1
        return f"198.18.{self._last // 256}.{self._last % 256}"


ADDRESSES = Addresses()


async def statuses(http, count, headers_of, path="/v1/models"):
    """Send so many requests at once; return what became of them and how long that took."""
    since = time.monotonic()
    answers = await asyncio.gather(*(http.get(path, headers=headers_of()) for _ in range(count)))
    return [answer.status_code for answer in answers], time.monotonic() - since, answers


def from_one(address=None, key=WRONG):
    address = address or ADDRESSES.new()
    return lambda: {"x-forwarded-for": address, "x-forwarded-proto": "https", **dict(bearer(key))}


def from_many(key):
    return lambda: {"x-forwarded-for": ADDRESSES.new(), "x-forwarded-proto": "https", **dict(bearer(key))}


def passed(found):
    return sum(status != 429 for status in found)


def holds(count, burst, rate, seconds):
    """Whether so many are what a bucket lets through; threads may count a request or two twice."""
    return burst <= count <= burst + rate * seconds + 2


async def test_an_address_has_10_a_second_and_20_at_once(http):
    found, seconds, _ = await statuses(http, 60, from_one())
    assert holds(passed(found), 20, 10, seconds)
    assert passed((await statuses(http, 5, from_one()))[0]) == 5  # another one is not touched


async def test_an_ipv6_network_is_one_address(http):
    hosts = iter(range(1, 100))

    def headers():
        return {**from_one(f"2001:db8:1:2::{next(hosts):x}")()}

    found, seconds, _ = await statuses(http, 60, headers)
    assert holds(passed(found), 20, 10, seconds)


async def test_a_key_has_100_a_second_and_50_at_once(http, state):
    key = await make_key(state, "busy")
    paths = (f"/v1/models/{number}" for number in range(400))  # a limit of its own has each
    since = time.monotonic()
    sent = (http.get(path, headers=from_many(key)()) for path in paths)
    found = [answer.status_code for answer in await asyncio.gather(*sent)]
    assert holds(passed(found), 50, 100, time.monotonic() - since)


async def test_a_key_has_one_bucket_however_it_is_written(fake_server, state, tmp_path_factory):
    key, since = await make_key(state, "written"), time.monotonic()
    few = {"EDGE__RATES__KEY": 1, "EDGE__RATES__KEY_BURST": 5}
    with running(fake_server, state, tmp_path_factory, **PROXY, **few) as edge:
        async with httpx.AsyncClient(base_url=edge.url) as http:
            found = []
            for form in ("Bearer {}", "bearer {}", "BEARER {}", "Bearer  {}") * 5:
                headers = {**from_many(key)(), "authorization": form.format(key)}
                found.append((await http.get("/v1/models", headers=headers)).status_code)
    assert holds(passed(found), 5, 1, time.monotonic() - since)


async def test_a_path_has_50_a_second_of_all_callers(http, state):
    keys = [await make_key(state, f"caller-{number}") for number in range(4)]
    turns = iter(range(1000))

    def headers():
        return from_many(keys[next(turns) % 4])()

    found, seconds, _ = await statuses(http, 100, headers, "/v1/models/of-all")
    more, longer, _ = await statuses(http, 100, headers, "/v1/models/of-all?a=b")
    assert holds(passed(found + more), 50, 50, seconds + longer)


@pytest.mark.parametrize(
    ("limit", "where"),
    [("address", "from this address"), ("key", "with this API key"), ("uri", "to this URL")],
)
async def test_a_refusal_is_openais_and_says_which_limit_and_when_to_come_back(
    fake_server, state, tmp_path_factory, limit, where
):
    few = {f"EDGE__RATES__{limit.upper()}": 1, f"EDGE__RATES__{limit.upper()}_BURST": 1}
    with running(fake_server, state, tmp_path_factory, **PROXY, **few) as edge:
        async with httpx.AsyncClient(base_url=edge.url) as http:
            _, _, answers = await statuses(http, 20, from_one(key=state.api_key))
    refusal = next(answer for answer in answers if answer.status_code == 429)
    assert refusal.json() == {
        "error": {
            "message": f"too many requests {where}; try again in a second",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert refusal.headers["retry-after"] == "1"
    assert refusal.headers["x-request-id"]
    assert "x-embedsvc-limit" not in refusal.headers


async def test_health_is_exempt(http):
    found, _, _ = await statuses(http, 100, from_one(), "/health")
    assert set(found) == {200}


async def test_nobody_has_many_addresses_by_saying_so(direct, state):
    trust = ssl.create_default_context(cafile=str(state.path("ca.crt")))
    async with httpx.AsyncClient(base_url=direct.https, verify=trust) as http:
        found, seconds, _ = await statuses(http, 60, from_many(WRONG))
    assert holds(passed(found), 20, 10, seconds)


async def test_http_is_sent_to_https_and_a_post_stays_one(direct):
    async with httpx.AsyncClient(base_url=direct.url) as http:
        answer = await http.post("/v1/embeddings", params={"a": "b"}, json=GOOD)
        assert answer.status_code == 308
        assert answer.headers["location"] == "https://127.0.0.1:443/v1/embeddings?a=b"
        assert answer.headers["x-request-id"]
        assert "strict-transport-security" not in answer.headers
        forged = await http.get("/v1/models", headers={"x-forwarded-proto": "https"})
        assert forged.status_code == 308
        assert (await http.get("/health")).status_code == 200


async def test_behind_a_proxy_that_ends_tls_http_serves(edge, state):
    async with httpx.AsyncClient(base_url=edge.url) as http:
        headers = {**from_one(key=state.api_key)(), "x-forwarded-proto": "https"}
        answer = await http.post("/v1/embeddings", json=GOOD, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
        for proto in ("http", "HTTP", "https,http", "ftp"):
            headers["x-forwarded-proto"] = proto
            assert (await http.post("/v1/embeddings", json=GOOD, headers=headers)).status_code == 308


async def test_pages_of_other_origins_are_told_nothing(http):
    asked = {"origin": "https://a.example", "access-control-request-method": "POST", **from_one()()}
    preflight = await http.options("/v1/embeddings", headers=asked)
    assert preflight.status_code == 404
    answer = await http.get("/v1/models", headers={"origin": "https://a.example", **from_one()()})
    for each in (preflight, answer):
        assert not [name for name in each.headers if name.startswith("access-control")]


async def test_pages_of_an_origin_that_is_named_may_call(fake_server, state, tmp_path_factory):
    origins = {"EDGE__ORIGINS": '["https://a.example"]'}
    with running(fake_server, state, tmp_path_factory, **PROXY, **origins) as edge:
        async with httpx.AsyncClient(base_url=edge.url) as http:
            for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
                asked = {"origin": origin, "access-control-request-method": "POST", **from_one()()}
                preflight = await http.options("/v1/embeddings", headers=asked)
                assert preflight.headers.get("access-control-allow-origin") == allowed
