"""`embedsvc cache`: what there is, that it is forgotten, that texts are known before they are asked for."""

import asyncio
import csv
import io
import json
import time
from contextlib import ExitStack

import pytest
from embedding_server import serving
from support.programs import free_port
from support.redis import run_redis

from embedsvc.cache.second import open_level
from embedsvc.config import MetricsSettings
from embedsvc.config.cache import CacheSettings
from embedsvc.errors import RateLimitedError
from embedsvc.metrics import Metrics, serve_metrics
from embedsvc.operator.client import TEXTS
from embedsvc.operator.shown import moment
from embedsvc.v1 import embedding_pb2 as pb

NAMES = [
    "level",
    "place",
    "rows",
    "bytes",
    "most_bytes",
    "first_expires",
    "last_expires",
    "format",
    "evicted",
    "found",
    "found_percent",
]


class Configured:
    """A configuration with a cache of its own."""

    def __init__(self, shell, settings, **more):
        self.settings = settings
        self._file = shell.config
        self._file.write_text(
            f'store.path = "{shell.store}"\n[cache]\n'
            + "".join(f"{name} = {json.dumps(value)}\n" for name, value in more.items())
        )

    def add(self, text):
        self._file.write_text(self._file.read_text() + text)

    def ask(self, call):
        """Call the second level."""

        async def run():
            async with open_level(self.settings, lambda: "secret") as level:
                return await call(level)

        return asyncio.run(run())

    def fill(self, count=3):
        self.ask(lambda level: level.set_many({f"key-{at}": b"row" for at in range(count)}, 3600))


@pytest.fixture
def file(shell, tmp_path):
    path = tmp_path / "cache.db"
    return Configured(shell, CacheSettings(path=path), path=str(path))


@pytest.fixture
def redis(shell, tmp_path):
    with ExitStack() as stack:
        running = stack.enter_context(run_redis(tmp_path, requirepass="secret"))
        (tmp_path / "password").write_text("secret\n")
        yield Configured(
            shell,
            CacheSettings(second="redis", url=running.url),
            second="redis",
            url=running.url,
            password=f"file:{tmp_path / 'password'}",
        )


@pytest.fixture
def metrics(file):
    """The page of a running server."""
    port = free_port()
    file.add(f"[metrics]\nport = {port}\n")
    made = Metrics()
    with serve_metrics(made.registry, MetricsSettings(port=port)):
        yield made.cache


# stats


def test_what_the_file_has_is_shown(shell, file):
    file.fill()
    ran = shell("cache", "stats", "--format=json")
    memory, second = ran.json
    assert list(second) == NAMES
    assert second["rows"] == 3
    assert second["bytes"] == file.settings.path.stat().st_size
    assert second["most_bytes"] == file.settings.disk_bytes
    assert (
        second["first_expires"]
        == second["last_expires"]
        in (
            moment(time.time() + 3600),
            moment(time.time() + 3599),
        )
    )
    assert second["place"] == f"the file {file.settings.path}"
    assert (memory["level"], memory["most_bytes"]) == ("memory", file.settings.memory_bytes)
    assert {memory[name] for name in ("rows", "bytes", "evicted", "found")} == {None}
    assert "no server answers at metrics.port" in ran.err


def test_what_redis_has_is_shown(shell, redis):
    redis.fill()
    _, second = shell("cache", "stats", "--format=json").json
    assert second["rows"] == 3
    assert second["place"] == f"Redis at {redis.settings.url}"
    assert second["most_bytes"] is None


def test_what_a_running_server_counts_is_shown_beside(shell, file, metrics):
    file.fill()
    metrics.rows.labels("memory").set(7)
    metrics.held_bytes.labels("memory").set(7000)
    metrics.evicted.labels("memory").inc(2)
    for result, count in {"memory": 60, "second": 20, "joined": 5, "miss": 15, "off": 900}.items():
        metrics.lookups.labels(result).inc(count)
    ran = shell("cache", "stats", "--format=json")
    memory, second = ran.json
    assert ran.err == ""
    assert [memory[name] for name in ("rows", "bytes", "evicted", "found", "found_percent")] == [
        7,
        7000,
        2,
        60,
        60.0,
    ]
    assert [second[name] for name in ("rows", "evicted", "found", "found_percent")] == [3, 0, 20, 20.0]


def test_before_anything_was_asked_there_is_no_share(shell, file, metrics):
    file.fill()
    assert [row["found_percent"] for row in shell("cache", "stats", "--format=json").json] == [None, None]


def test_people_and_spreadsheets_can_read_it(shell, file):
    file.fill()
    assert list(csv.DictReader(io.StringIO(shell("cache", "stats", "--format=csv").out)))[1]["rows"] == "3"
    assert "most bytes" in shell("cache", "stats").out


# clear


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_all_is_forgotten_and_it_says_how_much_that_was(shell, request, kind):
    configured = request.getfixturevalue(kind)
    configured.fill(1234)
    ran = shell("cache", "clear")
    assert "1,234 vectors are gone from" in ran.err
    assert configured.ask(lambda level: level.get_many(["key-0"])) == {}
    assert configured.ask(lambda level: level.generation())


# What cannot be


@pytest.mark.parametrize("command", ["stats", "clear"])
@pytest.mark.parametrize("off", [{"enabled": False}, {"second": "none"}])
def test_without_a_second_level_there_is_nothing_to_do(shell, command, off):
    Configured(shell, None, **off)
    assert "there is no second level" in shell("cache", command, status=2).err


@pytest.mark.parametrize("command", ["stats", "clear"])
def test_a_file_that_is_not_there_is_taken_for_the_wrong_folder(shell, file, command):
    assert "there is no such file" in shell("cache", command, status=2).err
    assert not file.settings.path.exists()


@pytest.mark.parametrize("command", ["stats", "clear"])
def test_a_file_that_is_no_cache_is_left_alone(shell, file, command):
    file.settings.path.write_bytes(b"my thesis, the only copy\n" * 1000)
    assert "not a database" in shell("cache", command, status=2).err


@pytest.mark.parametrize("command", ["stats", "clear"])
def test_a_redis_that_is_away_is_told(shell, tmp_path, command):
    Configured(shell, None, second="redis", url="redis://127.0.0.1:1/0")
    assert "embedsvc: cache: Redis: Error 111 connecting" in shell("cache", command, status=2).err


def test_a_password_that_is_wrong_is_told(shell, redis, tmp_path):
    (tmp_path / "password").write_text("not-the-one")
    ran = shell("cache", "stats", status=2)
    assert "invalid username-password pair" in ran.err
    assert "not-the-one" not in ran.err


# warm


@pytest.fixture
async def served(state):
    async with serving(state) as running:
        yield running


@pytest.fixture
def warm(shell, served, state, tmp_path):
    """Runs the command beside the server that it calls."""
    key = tmp_path / "key"
    key.write_text(state.api_key)
    flags = [
        f"--server={served.address}",
        f"--ca={state.path('ca.crt')}",
        f"--certificate={state.path('client.crt')}",
        f"--key-file={state.path('client.key')}",
        f"--api-key-file={key}",
    ]

    async def run(*arguments, status=0):
        return await asyncio.to_thread(shell, "cache", "warm", *flags, *arguments, status=status)

    return run


@pytest.fixture
def texts(tmp_path):
    def write(lines, name="texts.txt"):
        path = tmp_path / name
        path.write_text("\n".join(lines))
        return path

    return write


async def test_every_text_of_a_file_is_sent_and_it_says_what_came_of_them(warm, served, texts):
    lines = [f"text {at}" for at in range(2 * TEXTS + 1)]
    served.known.update(lines[:10])
    served.bad = lines[11]
    ran = await warm(texts(lines), "--model=model-a", "--input-type=document")
    assert sorted(served.texts) == sorted(lines)
    assert {(one.model, one.input_type) for one in served.requests} == {("model-a", pb.INPUT_TYPE_DOCUMENT)}
    assert "refused: 1 of this one cannot be" in ran.err
    tokens = sum(map(len, lines)) - len(lines[11])
    assert f"65 texts, {tokens} tokens: 54 computed, 10 known before, 1 refused" in ran.err


async def test_lines_are_texts_as_they_are_but_for_empty_ones(warm, served, texts):
    await warm(texts([' "quoted" ', "", "Füße, 東京", "   ", "last"]))
    assert sorted(served.texts) == sorted([' "quoted" ', "Füße, 東京", "last"])


async def test_in_a_jsonl_file_a_text_may_have_lines(warm, served, texts):
    await warm(texts(['"two\\nlines"', '"F\\u00fc\\u00dfe"'], name="texts.jsonl"))
    assert sorted(served.texts) == ["Füße", "two\nlines"]


@pytest.mark.parametrize("line", ["text", "1", '{"text": "a"}', '["a"]', "null"])
async def test_what_is_no_json_string_is_told_by_its_line(warm, served, texts, line):
    ran = await warm(texts(['"a"', line], name="texts.jsonl"), status=2)
    assert "texts.jsonl, line 2: must be a JSON string" in ran.err
    assert served.texts == []


async def test_where_a_server_asks_to_wait_it_waits_and_sends_again(warm, served, texts):
    served.failures += [RateLimitedError("too many", retry_after=0.05)] * 3
    ran = await warm(texts(["a", "b"]))
    assert len(served.requests) == 4
    assert "2 computed, 0 known before, 0 refused" in ran.err


async def test_a_server_that_refuses_every_text_is_a_failure(warm, served, texts):
    served.bad = "a"
    ran = await warm(texts(["a"]), status=2)
    assert "the server refuses every text" in ran.err


async def test_a_file_that_is_not_there_is_told(warm, tmp_path):
    assert "No such file" in (await warm(tmp_path / "missing", status=2)).err


async def test_a_server_that_is_not_there_is_told(warm, texts):
    ran = await warm(texts(["a"]), "--server=127.0.0.1:1", status=2)
    assert "embedsvc: 127.0.0.1:1: UNAVAILABLE" in ran.err


async def test_an_empty_file_is_no_failure(warm, texts):
    assert "0 texts" in (await warm(texts([]))).err
