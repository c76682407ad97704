"""docs/migration.md: its settings load, its commands say what it shows, its code mixes no two spaces."""

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing

import numpy as np
import pytest
from support import pki
from support.openai_server import run_openai
from support.programs import ROOT, run_edge, run_server
from support.trust import operate, until

from embedsvc import cli
from embedsvc.config import load
from embedsvc.store.sqlite.store import open_sqlite

OLD, NEW = "openai/text-embedding-3-small", "all-mpnet-base-v2"
ALIAS = "text-embedding-3-small"
REINDEX = ROOT / "examples/python/reindex.py"
DIMENSIONS = {OLD: 1536, NEW: 384}
"""The fake encoder has 384 for every model."""


def blocks(language):
    page = (ROOT / "docs/migration.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


class Index:
    """What a team's index does, for vectors of one length."""

    def __init__(self, dimensions):
        self.dimensions = dimensions
        self.vectors = {}
        self.asked = 0

    def put(self, name, vector):
        assert len(vector) == self.dimensions
        self.vectors[name] = np.array(vector)

    def delete(self, name):
        del self.vectors[name]

    def nearest(self, vector, count):
        assert len(vector) == self.dimensions
        self.asked += 1
        cosines = {name: np.array(vector) @ known for name, known in self.vectors.items()}
        return sorted(cosines, key=cosines.__getitem__, reverse=True)[:count]


@pytest.fixture(scope="module")
def own_state(tmp_path_factory):
    return pki.make(tmp_path_factory.mktemp("migration"))


@pytest.fixture(scope="module")
def openai():
    with run_openai(DIMENSIONS[OLD]) as running:
        yield running


@pytest.fixture(scope="module")
def configuration(openai, own_state):
    """The settings of the page, for the stand-in; what fails there is not tried again."""
    (shown,) = blocks("toml")
    key = own_state.folder / "openai_key"
    key.write_text("sk-of-a-stand-in")
    key.chmod(0o600)
    text = shown.replace("file:/run/secrets/openai_key", f"file:{key}")
    path = own_state.folder / "embedsvc.toml"
    path.write_text(
        text.replace("[providers.openai]", f'[providers.openai]\nurl = "{openai.url}"\nretries = 0')
    )
    return path


@pytest.fixture(scope="module")
def service(own_state, configuration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with run_server(own_state, folder, encoder="fake", CONFIG=configuration) as running:
        yield running


@pytest.fixture(scope="module")
def edge(service, own_state, tmp_path_factory):
    with run_edge(service, own_state, tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture
def code(edge, own_state):
    """The page's Python, run in its order."""
    names = {
        "BASE_URL": f"{edge.url}/v1",
        "API_KEY": own_state.api_key,
        "old_index": Index(DIMENSIONS[OLD]),
        "new_index": Index(DIMENSIONS[NEW]),
    }
    for block in blocks("python"):
        exec(block, names)
    yield names
    names["client"].close()


async def set_route(service, *said):
    ended = await operate(service, "migrate", "set", ALIAS, *said)
    assert ended.returncode == 0, ended.stderr


def answers(edge, own_state):
    """Which model answers under the alias."""
    request = urllib.request.Request(
        f"{edge.url}/v1/embeddings",
        json.dumps({"model": ALIAS, "input": "who are you?"}).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {own_state.api_key}"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)["model"]


async def test_code_of_the_page_is_right_before_during_and_after_a_flip(
    code, service, edge, own_state, openai
):
    write, search, delete = code["write"], code["search"], code["delete"]
    old, new = code["old_index"], code["new_index"]
    for name in ("one", "two", "three"):
        await asyncio.to_thread(write, name, f"the document {name}")
    assert old.vectors.keys() == new.vectors.keys() == {"one", "two", "three"}
    assert await asyncio.to_thread(search, "the document two", 1) == ["two"]
    assert (old.asked, new.asked) == (1, 0)  # as the configuration of the page has it

    await set_route(service, "--share", "100")

    async def flipped():
        return await asyncio.to_thread(answers, edge, own_state) == NEW

    await until(flipped)
    assert await asyncio.to_thread(search, "the document two", 1) == ["two"]
    assert (old.asked, new.asked) == (1, 1)

    await set_route(service, "--share", "0", "--fallback")

    async def back():
        return await asyncio.to_thread(answers, edge, own_state) == OLD

    await until(back)
    openai.behave("status", status=500)
    try:
        assert await asyncio.to_thread(search, "the document three, please", 3)
        assert (old.asked, new.asked) == (
            1,
            2,
        )  # a fallback is answered by the index of the model that answered
    finally:
        openai.clear()
    delete("two")
    assert old.vectors.keys() == new.vectors.keys() == {"one", "three"}


def test_commands_say_what_the_page_shows(configuration, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EMBEDSVC_STORE__PATH", str(tmp_path / "embedsvc.db"))
    monkeypatch.setattr(cli.logs, "configure", lambda _settings: None)

    async def make_store():
        async with open_sqlite(tmp_path / "embedsvc.db"):
            pass

    asyncio.run(make_store())
    shown = [line for block in blocks("console") for line in block.splitlines()]
    said = []
    for line in shown:
        if not line.startswith("$ embedsvc "):
            continue
        assert cli.run(["--config", str(configuration), *line.split()[2:]]) == 0
        told = capsys.readouterr()
        when = [text for text in told.err.splitlines() if "take it up within 2 seconds" not in text]
        said += [line, *told.out.splitlines(), *when]
    assert said == shown
    assert len(shown) > 15


def test_the_settings_of_the_page_load(configuration):
    settings = load(configuration)
    assert settings.known_models[0] == NEW
    assert settings.routes[ALIAS].other == OLD in settings.known_models


def test_lines_of_the_page_s_file_are_what_compare_reads():
    (shown,) = blocks("json")
    assert [sorted(json.loads(line)) for line in shown.splitlines()] == [
        ["query", "relevant"],
        ["query"],
        ["document", "id"],
    ]


def test_every_series_that_it_watches_is_there(service):
    there = service.metrics()
    page = (ROOT / "docs/migration.md").read_text()
    named = set(re.findall(r"\b(embeddings_[a-z_]+?)(?:_bucket)?\b(?=[{(\[`,])", page))
    assert named
    assert [name for name in named if f"# TYPE {name}" not in there] == []


@pytest.fixture
def reindex(service, own_state, tmp_path):
    """Runs the example as the page does."""
    key = tmp_path / "key"
    key.write_text(own_state.api_key)

    def run(documents, index, model=NEW):
        given = ("--model", model, "--target", service.address, "--certificates", own_state.folder)
        return subprocess.run(
            [sys.executable, REINDEX, documents, index, *given, "--key", key],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def documents(tmp_path):
    path = tmp_path / "documents.jsonl"
    rows = [{"query": "what is this?"}, *({"id": at, "document": f"text number {at}"} for at in range(100))]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def vectors(path):
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT id, vector FROM vectors").fetchall()
    return {name: np.frombuffer(vector, np.float32) for name, vector in found}


def test_every_document_gets_a_vector_of_its_own_and_nothing_is_done_twice(
    reindex, documents, service, tmp_path
):
    index = tmp_path / "index.db"
    ended = reindex(documents, index)
    assert (ended.returncode, ended.stderr) == (0, "")
    found = vectors(index)
    assert found.keys() == {str(at) for at in range(100)}
    assert len({vector.tobytes() for vector in found.values()}) == 100
    assert {len(vector) for vector in found.values()} == {DIMENSIONS[NEW]}

    def batches():
        return service.sample('embeddings_requests_total{code="OK",rpc="EmbedStream"}')

    before = batches()
    assert before > 0
    with documents.open("a") as file:
        file.write("\n" + json.dumps({"id": "late", "document": "one that came later"}))
    assert reindex(documents, index).returncode == 0
    assert batches() - before == 1
    assert vectors(index).keys() == {*found, "late"}


def test_a_document_that_is_refused_is_named_and_the_others_are_embedded(reindex, documents, tmp_path):
    with documents.open("a") as file:
        file.write("\n" + json.dumps({"id": "long", "document": "x" * 8193}))
    ended = reindex(documents, tmp_path / "index.db")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("long: ")
    assert "8192 characters at most" in line
    assert len(vectors(tmp_path / "index.db")) == 100


def test_an_index_of_one_model_takes_no_vectors_of_another(reindex, documents, tmp_path):
    assert reindex(documents, tmp_path / "index.db").returncode == 0
    ended = reindex(documents, tmp_path / "index.db", model="all-MiniLM-L6-v2")
    assert ended.returncode != 0
    assert f"the index has vectors of {NEW}" in ended.stderr


def test_a_model_that_is_not_there_is_told(reindex, documents, tmp_path):
    ended = reindex(documents, tmp_path / "index.db", model="no-such-model")
    assert ended.returncode == 1
    assert "no-such-model" in ended.stderr
