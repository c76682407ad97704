"""The cache of real servers: what a Redis that is hurt does to callers, and what outlives a restart."""

import asyncio
import random
from contextlib import asynccontextmanager
from itertools import count

import numpy as np
import pytest
from support.programs import run_server
from support.redis import run_redis
from support.trust import operate, until

from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import EmbeddingServiceStub

LOOKUPS = 'embeddings_cache_lookups_total{{result="{}"}}'
CALLERS = 8


@asynccontextmanager
async def calling(server, state):
    """A way to embed texts; returns the answer."""
    async with server.channel() as channel:
        stub = EmbeddingServiceStub(channel)

        async def embed(*texts, metadata=()):
            asked = pb.EmbedRequest(inputs=[pb.Input(text=text) for text in texts])
            return await stub.Embed(asked, metadata=(*state.authorization, *metadata), timeout=20)

        yield embed


def cached(answer):
    return [item.cached for item in answer.embeddings]


async def test_what_was_computed_outlives_the_server(state, tmp_path):
    values = {"CACHE__PATH": tmp_path / "kept.db"}
    with run_server(state, tmp_path, encoder="fake", **values) as server:
        async with calling(server, state) as embed:
            first = await embed("one", "two")
            assert cached(first) == [False, False]
            assert cached(await embed("two", "three", "one")) == [True, False, True]
    with run_server(state, tmp_path, encoder="fake", **values) as server:
        async with calling(server, state) as embed:
            again = await embed("one", "new", "two")
            assert cached(again) == [True, False, True]
            assert again.embeddings[2].values == first.embeddings[1].values
        assert server.sample(LOOKUPS.format("second")) == 2


async def test_a_request_can_ask_for_no_cache(state, tmp_path):
    with run_server(state, tmp_path, encoder="fake") as server:
        async with calling(server, state) as embed:
            no_store = (("cache-control", "max-age=0, no-store"),)
            for _ in range(2):
                assert cached(await embed("never kept", metadata=no_store)) == [False]
            assert cached(await embed("never kept")) == [False]
            assert server.sample(LOOKUPS.format("off")) == 2


async def test_cleared_means_cleared_in_memory_too(state, tmp_path):
    with run_server(state, tmp_path, encoder="fake") as server:
        async with calling(server, state) as embed:
            await embed("one")
            assert cached(await embed("one")) == [True]
            done = await operate(server, "cache", "clear")
            assert done.returncode == 0, done.stderr

            async def forgotten():
                return cached(await embed("one", metadata=())) == [False]

            await until(forgotten)


class Load:
    """Callers of texts old and new, each of whose vectors is compared with the first of its text."""

    def __init__(self, embed):
        self._embed = embed
        self._known = {}
        self._stopping = False
        self.answers = 0

    async def run(self):
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(self._call(random.Random(number)))

    async def _call(self, chance):
        new = (f"{chance.random()}" for _ in count())
        while not self._stopping:
            old = chance.sample(sorted(self._known), min(len(self._known), 3))
            texts = [*old, next(new)]
            answer = await self._embed(*texts)
            for text, item in zip(texts, answer.embeddings, strict=True):
                assert np.allclose(
                    item.values, self._known.setdefault(text, item.values), rtol=1e-4, atol=1e-6
                )
            self.answers += 1

    async def more(self, answers=60):
        """Go on for a while."""
        wanted = self.answers + answers
        await until(lambda: self.answers >= wanted)

    def stop(self):
        self._stopping = True


def spoil(redis):
    """Put garbage under every key that is there: of any kind, and others' rows."""
    with redis.client() as client:
        keys = [key for key in client.keys("embedsvc:1:*") if client.type(key) == b"string"]
        values = [client.get(key) for key in keys]
        garbage = [b"", b"\x00" * 2000, b"not a row", *values[-3:]]
        for number, (key, value) in enumerate(zip(keys, values, strict=True)):
            kind = number % (len(garbage) + 2)
            if kind < len(garbage):
                client.set(key, garbage[kind])
            elif kind == len(garbage):
                client.delete(key)
                client.rpush(key, "a list")
            else:
                client.set(key, value[:-9] + b"\xff" + value[-8:])


@pytest.fixture
def redis(tmp_path):
    with run_redis(tmp_path) as running:
        yield running


async def test_redis_killed_hung_and_full_of_garbage_under_load_fails_nobody(state, redis, tmp_path):
    # Memory holds next to nothing, so that Redis is asked for all.
    values = {"CACHE__SECOND": "redis", "CACHE__URL": redis.url, "CACHE__MEMORY_BYTES": 20_000}
    with run_server(state, tmp_path, encoder="fake", **values) as server:
        async with calling(server, state) as embed:
            load = Load(embed)
            running = asyncio.create_task(load.run())
            await load.more()
            await until(lambda: server.sample(LOOKUPS.format("second")) > 0)
            spoil(redis)
            await load.more()
            await until(lambda: server.sample("embeddings_cache_corrupt_rows_total") > 0)
            redis.hang()
            await load.more()
            redis.go_on()
            await load.more()
            redis.kill()
            await load.more()
            await until(lambda: server.sample("embeddings_cache_second_level_away") == 1)
            redis.start()
            before = server.sample(LOOKUPS.format("second"))
            await until(lambda: server.sample(LOOKUPS.format("second")) > before)
            await load.more()
            load.stop()
            await running
        assert server.sample('embeddings_requests_total{code="OK",rpc="Embed"}') == load.answers
        told = [event for event in server.events() if event.get("level") in ("warning", "error")]
        assert len(told) <= 6, told


async def test_a_server_starts_and_answers_without_its_redis_and_finds_it_later(state, redis, tmp_path):
    redis.kill()
    values = {"CACHE__SECOND": "redis", "CACHE__URL": redis.url, "CACHE__MEMORY_BYTES": 0}
    with run_server(state, tmp_path, encoder="fake", **values) as server:
        async with calling(server, state) as embed:
            await embed("one")
            redis.start()

            async def found():
                return cached(await embed("one")) == [True]

            await until(found)


async def test_two_servers_share_what_one_of_them_computed(state, redis, tmp_path):
    values = {"CACHE__SECOND": "redis", "CACHE__URL": redis.url}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        run_server(state, tmp_path / "one", encoder="fake", **values) as one,
        run_server(state, tmp_path / "two", encoder="fake", **values) as two,
    ):
        async with calling(one, state) as ask_one, calling(two, state) as ask_two:
            first = await ask_one("shared")

            async def found():
                answer = await ask_two("shared")
                return cached(answer) == [True] and answer.embeddings[0].values == first.embeddings[0].values

            await until(found)
