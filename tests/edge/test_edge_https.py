"""HTTPS, what every answer has for browsers, bots, the pages for Prometheus, and the access log."""

import json
import socket
import ssl

import httpx
import pytest
from support.trust import until

GOOD = {"model": "all-MiniLM-L6-v2", "input": "a"}
SECURE = {"x-content-type-options": "nosniff", "x-frame-options": "DENY"}
STRICT = "max-age=31536000; includeSubDomains"
REQUESTS = {
    "a good one": ("POST", "/v1/embeddings", {}, 200),
    "no key": ("POST", "/v1/embeddings", {"authorization": ""}, 401),
    "no such page": ("GET", "/nothing", {}, 404),
    "a wrong method": ("DELETE", "/v1/embeddings", {}, 405),
    "a bot": ("GET", "/v1/models", {"user-agent": "GPTBot/1.1"}, 403),
    "health": ("GET", "/health", {}, 200),
}
FIELDS = {
    "time",
    "request_id",
    "client",
    "identity",
    "key",
    "protocol",
    "tls",
    "method",
    "path",
    "status",
    "grpc_status",
    "flags",
    "details",
    "upstream",
    "attempts",
    "milliseconds",
    "milliseconds_to_read",
    "milliseconds_to_answer",
    "bytes_in",
    "bytes_out",
}


@pytest.fixture(scope="module")
def trust(state):
    return ssl.create_default_context(cafile=str(state.path("ca.crt")))


@pytest.fixture
def https(edge, state, trust):
    """A client of HTTPS, by HTTP/2."""
    headers = {"authorization": f"Bearer {state.api_key}"}
    with httpx.Client(base_url=edge.https, verify=trust, headers=headers, http2=True, timeout=60) as client:
        yield client


def send(client, method, path, headers):
    body = GOOD if (method, path) == ("POST", "/v1/embeddings") else None
    return client.request(method, path, headers=headers, json=body)


@pytest.mark.parametrize(("method", "path", "headers", "status"), REQUESTS.values(), ids=REQUESTS)
def test_every_answer_over_https_has_an_id_and_tells_browsers_what_to_do(
    https, method, path, headers, status
):
    answer = send(https, method, path, headers)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in SECURE} == SECURE
    assert answer.headers["x-request-id"]
    assert answer.headers["strict-transport-security"] == STRICT


@pytest.mark.parametrize(("method", "path", "headers", "status"), REQUESTS.values(), ids=REQUESTS)
def test_and_over_http_says_nothing_of_https(http, method, path, headers, status):
    answer = send(http, method, path, headers)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in SECURE} == SECURE
    assert "strict-transport-security" not in answer.headers


def spoken(edge, ca, version):
    """The version of TLS that is agreed on, by a client that has but one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    address = ("127.0.0.1", edge.ports["TLS_PORT"])
    raw = socket.create_connection(address)
    with context.wrap_socket(raw, server_hostname="localhost") as secured:
        return secured.version()


def test_tls_is_1_2_or_1_3(edge, state):
    ca = str(state.path("ca.crt"))
    assert spoken(edge, ca, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert spoken(edge, ca, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_older_tls_is_refused(edge, state):
    with pytest.raises(ssl.SSLError):
        spoken(edge, str(state.path("ca.crt")), ssl.TLSVersion.TLSv1_1)


def test_http_1_1_is_spoken_over_tls_too(edge, state, trust):
    headers = {"authorization": f"Bearer {state.api_key}"}
    answer = httpx.post(f"{edge.https}/v1/embeddings", json=GOOD, headers=headers, verify=trust)
    assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")


def test_headers_that_are_too_large_are_told_or_cost_their_stream_alone(http, https):
    large = {"x-large": "a" * 20_000}
    answer = http.get("/v1/models", headers=large)
    assert (answer.status_code, answer.json()["error"]["type"]) == (431, "invalid_request_error")
    assert {name: answer.headers.get(name) for name in SECURE} == SECURE
    assert answer.headers["x-request-id"]
    with pytest.raises(httpx.RemoteProtocolError):
        https.get("/v1/models", headers=large)
    assert https.get("/v1/models").status_code == 200


BOTS = (
    "Googlebot/2.1 (+http://www.google.com/bot.html)",
    "SomeCrawler",
    "a spider",
    "Scraper/1.0",
    "GPTBot",
    "Claude-Web/1.0",
    "ChatGPT-User/1.0",
    "CCBot/2.0",
    "anthropic-ai",
    "PerplexityBot",
)
CLIENTS = (
    "OpenAI/Python 2.8.1",
    "AsyncOpenAI/Python 2.8.1",
    "OpenAI/JS 6.9.1",
    "python-httpx/0.28",
    "curl/8.5.0",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "langchainjs-openai/1.0.0",
    "",
)


@pytest.mark.parametrize("agent", BOTS)
def test_bots_and_crawlers_are_turned_away(http, error_of, agent):
    answer = http.post("/v1/embeddings", json=GOOD, headers={"user-agent": agent})
    error = error_of(answer)
    assert answer.status_code == 403
    assert (error["type"], error["message"]) == (
        "permission_error",
        "this service is not for bots and crawlers",
    )


@pytest.mark.parametrize("agent", CLIENTS)
def test_programs_and_browsers_are_not(http, agent):
    assert http.post("/v1/embeddings", json=GOOD, headers={"user-agent": agent}).status_code == 200


def test_health_is_for_everybody(stranger):
    assert stranger.get("/health", headers={"user-agent": BOTS[0]}).status_code == 200


def test_prometheus_reads_envoys_own_numbers_and_nothing_else(edge):
    with httpx.Client(base_url=f"http://127.0.0.1:{edge.ports['STATS_PORT']}") as stats:
        assert stats.get("/ready").text == "LIVE\n"
        page = stats.get("/stats/prometheus")
        assert 'envoy_cluster_membership_healthy{envoy_cluster_name="embedsvc"} 1' in page.text
        for method, path in (
            ("POST", "/quitquitquit"),
            ("POST", "/stats/prometheus"),
            ("GET", "/config_dump"),
            ("GET", "/certs"),
            ("GET", "/stats/../config_dump"),
            ("GET", "/"),
        ):
            assert stats.request(method, path).status_code == 404


async def test_the_access_log_has_a_line_for_each_request_and_its_timings(edge, http, state):
    ids = {"log-good": "/v1/embeddings", "log-nothing": "/nothing?api_key=1"}
    for name, path in ids.items():
        http.post(path, json=GOOD, headers={"x-request-id": name})
    await until(lambda: all(name in edge.log.read_text() for name in ids))
    lines = [json.loads(line) for line in edge.log.read_text().splitlines() if "log-" in line]
    good, nothing = (next(line for line in lines if line["request_id"] == name) for name in ids)
    assert set(good) == FIELDS
    assert (good["status"], good["flags"], good["path"]) == (200, "-", "/v1/embeddings")
    assert good["upstream"] == edge.server.address
    assert good["key"] == state.api_key[:12]
    assert good["client"] == "127.0.0.1"
    assert good["grpc_status"] is None  # the caller's status says it
    assert 0 <= good["milliseconds_to_read"] <= good["milliseconds_to_answer"] <= good["milliseconds"]
    assert (nothing["status"], nothing["path"], nothing["flags"]) == (404, "/nothing", "NR")
    assert nothing["upstream"] is None
