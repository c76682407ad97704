"""Pages of other origins: what a browser asks before it lets them call, and what it lets them read."""

import json
import shutil
import subprocess
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
from support.programs import ROOT

MODEL = "all-MiniLM-L6-v2"
ORIGIN = "https://app.example"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
JS = ROOT / "tests" / "js"


def listed(header):
    return {name.strip().lower() for name in header.split(",")}


@pytest.mark.parametrize(
    ("path", "method"), [("/v1/embeddings", "POST"), ("/embeddings", "POST"), ("/v1/models", "GET")]
)
def test_a_browser_that_asks_first_is_told_that_it_may(stranger, path, method):
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }
    response = stranger.options(path, headers=asked)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["access-control-allow-origin"] in (ORIGIN, "*")
    assert method.lower() in listed(response.headers["access-control-allow-methods"])
    # A star stands for every header but this one: https://fetch.spec.whatwg.org/#http-access-control-allow-headers
    assert listed(response.headers["access-control-allow-headers"]) >= {"*", "authorization"}
    assert int(response.headers["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in response.headers


BAD = {"json": {"model": MODEL, "input": ""}}
ANSWERS = {
    "an answer": ({"json": {"model": MODEL, "input": "a"}}, 200),
    "a bad field": (BAD, 400),
    "no JSON": ({"content": b"{"}, 400),
    "no key": ({**BAD, "headers": {"authorization": ""}}, 401),
    "a body that is too large": ({"content": bytes(2**20 + 1)}, 413),
}


@pytest.mark.parametrize(("fields", "status"), ANSWERS.values(), ids=ANSWERS)
def test_a_page_may_read_every_answer_and_its_headers(http, fields, status):
    headers = {"origin": ORIGIN, **fields.get("headers", {})}
    response = http.post("/v1/embeddings", **{**fields, "headers": headers})
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] in (ORIGIN, "*")
    assert listed(response.headers["access-control-expose-headers"]) & {"*", "x-request-id"}


class Pages(SimpleHTTPRequestHandler):
    """tests/js/page.html, OpenAI's SDK, the page's task, and a place for what it has found out."""

    def __init__(self, *args, task, done, **kwargs):
        self._task, self._done = task, done
        super().__init__(*args, directory=JS, **kwargs)

    def translate_path(self, path):
        return super().translate_path(path.replace("/openai/", "/node_modules/openai/", 1))

    def do_GET(self):
        if self.path == "/task":
            self._answer(json.dumps(self._task).encode())
        else:
            super().do_GET()

    def do_POST(self):
        self._done.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self._answer(b"")

    def _answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(task, done):
    handler = partial(Pages, task=task, done=done)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/page.html"
        server.shutdown()
        thread.join()


@contextmanager
def browsing(page, folder):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    process = subprocess.Popen(
        [CHROMIUM, *flags, f"--user-data-dir={folder}", page],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_page_in_chromium_calls_with_fetch_and_with_openais_sdk(pair, state, tmp_path):
    done = Queue()
    task = {"baseURL": f"{pair.url}/v1", "apiKey": state.api_key, "model": MODEL}
    with serving(task, done) as page, browsing(page, tmp_path):
        found = done.get(timeout=60)
    assert "error" not in found, found
    assert (found["good"]["status"], found["good"]["id"]) == (200, "page-1")
    assert len(found["good"]["answer"]["data"][0]["embedding"]) == 384
    assert (found["refused"]["status"], found["refused"]["id"]) == (401, "page-1")
    assert found["refused"]["answer"]["error"]["code"] == "invalid_api_key"
    assert (found["sdk"]["model"], found["sdk"]["dimensions"]) == (MODEL, 384)
    assert found["sdk"]["id"]
    assert MODEL in found["models"]
