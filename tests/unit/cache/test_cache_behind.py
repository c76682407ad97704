"""cache.behind: rows are written without anybody waiting, as many as there is room for."""

import asyncio
import time

import pytest
from cached import is_row_of, key_of, row_of, rows_of, until
from structlog.testing import capture_logs

from embedsvc.cache import behind as module
from embedsvc.cache.behind import AT_ONCE, open_behind
from embedsvc.cache.memory import size_of
from embedsvc.cache.wire import decode
from embedsvc.store.protocols import StoreAwayError, StoreRefusedError


class Written:
    """What is written to; it takes as long, and fails, as it is told.

    Attributes:
        batches: Rows that were written, by short key.
        tries: How often it was asked.
        failing: What it raises; None: nothing.
    """

    pause_left = 0.0

    def __init__(self):
        self.batches = []
        self.tries = 0
        self.failing = None
        self.going = asyncio.Event()
        self.going.set()

    async def set_many(self, rows):
        self.tries += 1
        await self.going.wait()
        if self.failing:
            raise self.failing
        self.batches.append(rows)

    @property
    def keys(self):
        return [key for batch in self.batches for key in batch]


@pytest.fixture
def second():
    return Written()


@pytest.fixture
async def behind(second, metrics):
    async with open_behind(second, metrics.dropped) as opened:
        yield opened


def shorts(texts):
    return [key_of(text).short for text in texts]


async def test_rows_are_written_as_they_were(behind, second):
    behind.put(rows_of("abc"))
    await until(lambda: second.batches)
    (batch,) = second.batches
    assert list(batch) == shorts("abc")
    assert all(
        is_row_of(decode(key_of(text), batch[key_of(text).short], time.time()), text) for text in "abc"
    )


async def test_what_comes_while_it_writes_is_written_together_the_first_first(behind, second):
    second.going.clear()
    behind.put(rows_of("a"))
    await until(lambda: second.tries)
    texts = [str(number) for number in range(2 * AT_ONCE + 5)]
    for text in texts:
        behind.put(rows_of([text]))
    second.going.set()
    await until(lambda: len(second.keys) == len(texts) + 1)
    assert second.keys == shorts(["a", *texts])
    assert [len(batch) for batch in second.batches] == [1, AT_ONCE, AT_ONCE, 5]


async def test_a_text_that_waits_twice_is_written_once(behind, second):
    second.going.clear()
    behind.put(rows_of("abab"))
    behind.put(rows_of("ab"))
    second.going.set()
    await until(lambda: second.keys)
    await until(behind._idle.is_set)
    assert second.keys == shorts("ab")


async def test_what_does_not_fit_in_is_dropped_and_counted(behind, second, counts, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 3 * size_of(row_of("a")))
    second.going.clear()
    behind.put(rows_of("abcde"))
    behind.put(rows_of("f"))
    assert counts("dropped_rows_total") == 3
    second.going.set()
    await until(lambda: len(second.keys) == 3)
    assert second.keys == shorts("abc")
    behind.put(rows_of("g"))
    await until(lambda: len(second.keys) == 4)
    assert counts("dropped_rows_total") == 3


@pytest.mark.parametrize("failing", [StoreAwayError("gone"), StoreRefusedError("full")])
async def test_what_cannot_be_written_waits_until_it_can(behind, second, counts, failing):
    second.failing = failing
    behind.put(rows_of("abc"))
    await until(lambda: second.tries > 2)
    behind.put(rows_of("d"))
    second.failing = None
    await until(lambda: len(second.keys) == 4)
    assert second.keys == shorts("abcd")
    assert counts("dropped_rows_total") == 0


async def test_it_tries_no_more_often_than_makes_sense(behind, second):
    second.failing, second.pause_left = StoreAwayError("gone"), 0.2
    behind.put(rows_of("a"))
    await until(lambda: second.tries)
    await asyncio.sleep(0.15)
    assert second.tries == 1


async def test_what_is_forgotten_is_not_written(behind, second):
    second.going.clear()
    behind.put(rows_of("a"))
    await until(lambda: second.tries)
    behind.put(rows_of("bcd"))
    behind.forget()
    behind.put(rows_of("e"))
    second.going.set()
    await until(lambda: len(second.keys) == 2)
    assert second.keys == shorts("ae")


async def test_what_comes_again_after_it_was_forgotten_is_written_again(behind, second):
    second.going.clear()
    behind.put(rows_of("a"))
    await until(lambda: second.tries)
    behind.forget()
    behind.put(rows_of("a"))
    second.going.set()
    await until(lambda: len(second.keys) == 2)
    assert second.keys == shorts("aa")
    await until(behind._idle.is_set)


async def test_at_the_end_what_is_left_is_written(second, metrics):
    async with open_behind(second, metrics.dropped) as behind:
        behind.put(rows_of(str(number) for number in range(3 * AT_ONCE)))
    assert len(second.keys) == 3 * AT_ONCE


async def test_the_end_waits_for_nothing_where_nothing_is_left(second, metrics):
    began = time.monotonic()
    async with open_behind(second, metrics.dropped) as behind:
        behind.put(rows_of("a"))
        await until(lambda: second.keys)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("hangs", [True, False])
async def test_the_end_does_not_wait_for_a_level_that_is_away(second, metrics, counts, monkeypatch, hangs):
    monkeypatch.setattr(module, "LEAVE_SECONDS", 0.2)
    if hangs:
        second.going.clear()
    second.failing = StoreAwayError("gone")
    began = time.monotonic()
    with capture_logs() as logs:
        async with open_behind(second, metrics.dropped) as behind:
            behind.put(rows_of("abc"))
    assert time.monotonic() - began < 2
    assert counts("dropped_rows_total") == 3
    assert [line["event"] for line in logs] == ["the cache's last rows are not written"]
