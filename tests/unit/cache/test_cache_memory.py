"""cache.memory: what was used last is there, and never more than was allowed."""

import time
import timeit
import tracemalloc

import pytest
from cached import key_of, row_of, rows_of
from hypothesis import given
from hypothesis import strategies as some
from prometheus_client import CollectorRegistry

from embedsvc.cache.memory import Memory, size_of
from embedsvc.cache.wire import decode, encode
from embedsvc.metrics.cache import cache_metrics

NOW = time.time()
ONE = size_of(row_of("text"))


@pytest.fixture
def memory(metrics):
    """Holds three rows."""
    return Memory(3 * ONE, metrics)


def texts_in(memory, texts, now=NOW):
    found = memory.get_many([key_of(text) for text in texts], now)
    return [text for text, row in zip(texts, found, strict=True) if row]


def test_what_is_kept_is_found_in_the_order_of_the_keys(memory):
    rows = dict(rows_of("abc"))
    memory.put_many(rows.items())
    keys = [*reversed(rows), key_of("d"), *rows]
    assert memory.get_many(keys, NOW) == [*reversed(rows.values()), None, *rows.values()]


def test_what_was_not_used_for_longest_makes_room(memory, counts):
    memory.put_many(rows_of("abc"))
    texts_in(memory, "a")
    memory.put_many(rows_of("d"))
    assert texts_in(memory, "abcd") == ["a", "c", "d"]
    assert counts("evictions_total", level="memory") == 1


def test_what_has_expired_is_not_found(memory):
    memory.put_many(rows_of("a", expires_in=60))
    assert texts_in(memory, "a", time.time() + 59) == ["a"]
    assert texts_in(memory, "a", time.time() + 61) == []


def test_a_row_takes_the_place_of_the_one_before(memory, counts):
    memory.put_many(rows_of("a", expires_in=60))
    memory.put_many(rows_of("a", expires_in=600))
    assert texts_in(memory, "a", time.time() + 61) == ["a"]
    assert counts("rows", level="memory") == 1


def test_a_row_that_is_larger_than_all_the_room_is_not_kept_and_others_stay(memory):
    memory.put_many(rows_of("a"))
    memory.put_many(rows_of("b", dimensions=4096))
    assert texts_in(memory, "ab") == ["a"]


def test_without_room_nothing_is_kept(metrics):
    memory = Memory(0, metrics)
    memory.put_many(rows_of("abc"))
    assert texts_in(memory, "abc") == []


def test_cleared_it_has_nothing_and_nothing_had_to_make_room(memory, counts):
    memory.put_many(rows_of("abc"))
    memory.clear()
    assert texts_in(memory, "abc") == []
    assert (counts("rows", level="memory"), counts("bytes", level="memory")) == (0, 0)
    assert counts("evictions_total", level="memory") == 0
    memory.put_many(rows_of("abc"))
    assert texts_in(memory, "abc") == ["a", "b", "c"]


def test_it_is_cleared_at_once_however_much_there_is(metrics):
    memory = Memory(2**30, metrics)
    row = row_of("text")
    memory.put_many((key_of(str(number)), row) for number in range(20_000))
    began = time.perf_counter()
    memory.clear()
    assert time.perf_counter() - began < 0.1


def test_the_series_say_what_there_is(memory, counts):
    memory.put_many(rows_of("ab"))
    assert (counts("rows", level="memory"), counts("bytes", level="memory")) == (2, 2 * ONE)


@given(
    some.lists(some.lists(some.tuples(some.integers(0, 30), some.integers(1, 200)), max_size=6), max_size=20)
)
def test_it_never_holds_more_than_it_may(batches):
    registry = CollectorRegistry()
    memory = Memory(5000, cache_metrics(registry))
    for batch in batches:
        memory.put_many((key_of(str(number)), row_of("text", dimensions)) for number, dimensions in batch)
        assert registry.get_sample_value("embeddings_cache_bytes", {"level": "memory"}) <= 5000


@pytest.mark.parametrize("dimensions", [384, 1024])
@pytest.mark.parametrize("came", ["computed", "from the second level"])
def test_what_it_counts_is_what_it_takes(metrics, counts, dimensions, came):
    memory = Memory(2**30, metrics)

    def fill():
        for number in range(5_000):
            key, row = key_of(f"text {number}"), row_of("text", dimensions)
            if came == "from the second level":
                row = decode(key, encode(key, row), NOW)
            yield key, row

    tracemalloc.start()
    try:
        memory.put_many(fill())
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 < taken / counts("bytes", level="memory") < 1.05


def test_32_texts_are_found_in_less_than_a_tenth_of_a_millisecond(metrics):
    memory = Memory(2**26, metrics)
    memory.put_many((key_of(str(number)), row_of("text", 384)) for number in range(1000))
    keys = [key_of(str(number)) for number in range(32)]
    assert all(memory.get_many(keys, NOW))
    best = min(timeit.repeat(lambda: memory.get_many(keys, NOW), number=100, repeat=50)) / 100
    assert best < 100e-6
