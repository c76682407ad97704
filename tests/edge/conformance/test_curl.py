"""curl, in every way in which people send a body with it."""

import json
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

CURL = ("curl", "-sS", "--max-time", "30")
MODEL = "all-MiniLM-L6-v2"
SMALL = json.dumps({"model": MODEL, "input": "a"}).encode()
LARGE = json.dumps({"model": MODEL, "input": ["a"], "user": "x" * 900_000}).encode()
TOO_LARGE = json.dumps({"model": MODEL, "input": ["a"], "user": "x" * 1_100_000}).encode()


@pytest.fixture(scope="module")
def curl(pair, state):
    """Sends a body; returns the status, the version of HTTP and the answer."""

    def send(*options, body=SMALL, url=pair.url):
        key = ("-H", f"authorization: Bearer {state.api_key}")
        done = subprocess.run(
            [*CURL, "-w", r"\n%{http_code} %{http_version}", *key, *options, f"{url}/v1/embeddings"],
            input=body,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        answer, _, last = done.stdout.decode().rpartition("\n")
        status, version = last.split()
        return int(status), version, json.loads(answer)

    return send


JSON = ("-H", "content-type: application/json")
BODY = ("--data-binary", "@-")
WAYS = {
    "with no content type of its own": BODY,
    "as JSON": (*JSON, *BODY),
    "willing to have it compressed": ("--compressed", *JSON, *BODY),
    "in chunks": (*JSON, "-H", "transfer-encoding: chunked", *BODY),
    "as a stream of unknown length": (*JSON, "-X", "POST", "-T", "-"),
    "over HTTP/1.0": ("--http1.0", *JSON, *BODY),
    "over HTTP/1.1": ("--http1.1", *JSON, *BODY),
    "over HTTP/2": ("--http2-prior-knowledge", *JSON, *BODY),
    "asking for an upgrade to HTTP/2": ("--http2", *JSON, *BODY),
    "on a connection that it closes": (*JSON, "-H", "connection: close", *BODY),
    "asking first": (*JSON, "-H", "expect: 100-continue", *BODY),
}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_a_text_is_embedded(curl, options):
    status, _, answer = curl(*options)
    assert (status, len(answer["data"][0]["embedding"])) == (200, 384)


@pytest.mark.parametrize(
    ("option", "version"), [("--http1.0", "1"), ("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")]
)
def test_the_version_that_was_asked_for_is_spoken(curl, option, version):
    assert curl(option, *JSON, *BODY)[1] == version


@pytest.mark.parametrize("way", ["asking first", "in chunks", "as a stream of unknown length"])
def test_a_large_body_is_read_and_a_larger_one_refused(curl, way):
    assert curl("--http1.1", *WAYS[way], body=LARGE)[0] == 200
    status, _, answer = curl("--http1.1", *WAYS[way], body=TOO_LARGE)
    assert (status, answer["error"]["code"]) == (413, "request_too_large")


# A larger one of unknown length is refused while it is sent: for old versions of curl, a broken stream.
@pytest.mark.parametrize("way", ["asking first", "as a stream of unknown length"])
def test_a_large_body_is_read_over_http_2(curl, way):
    assert curl("--http2-prior-knowledge", *WAYS[way], body=LARGE)[:2] == (200, "2")


@pytest.mark.parametrize(
    ("offered", "version"), [("--http2", "2"), ("--http1.1", "1.1"), ("--tls-max=1.2", "2")]
)
def test_over_tls_the_version_is_negotiated(curl, pair, state, offered, version):
    url = f"https://localhost:{pair.ports['TLS_PORT']}"
    options = ("--cacert", str(state.path("ca.crt")), *offered.split("="), *JSON, *BODY)
    assert curl(*options, url=url)[:2] == (200, version)


@pytest.mark.parametrize("old", ["1.0", "1.1"])
def test_versions_of_tls_that_are_broken_are_not_spoken(pair, state, old):
    url = f"https://localhost:{pair.ports['TLS_PORT']}/health"
    ciphers = ("--ciphers", "DEFAULT@SECLEVEL=0", f"--tlsv{old}", "--tls-max", old)
    call = [*CURL, "--cacert", state.path("ca.crt"), *ciphers, url]
    assert subprocess.run(call, capture_output=True, timeout=60, check=False).returncode == 35
