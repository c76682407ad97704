"""cache.wire: a row comes back as it was, or not at all."""

import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from cached import key_of, row_of
from hypothesis import given
from hypothesis import strategies as some

from embedsvc.cache.row import Key, Row
from embedsvc.cache.wire import CHECKSUM, HEAD, CorruptRowError, decode, encode

NOW = 1_800_000_000.0
KEY = key_of("text")
ROW = replace(row_of("text", dimensions=16), expires_at=NOW + 1)
DATA = encode(KEY, ROW)

VECTORS = some.lists(some.floats(width=32, allow_nan=False), max_size=50).map(
    lambda numbers: np.array(numbers, np.float32)
)
ROWS = some.builds(
    Row, VECTORS, some.integers(0, 2**32 - 1), some.booleans(), some.floats(NOW + 1, NOW + 10**9)
)


def same(row, other):
    return row.vector.tobytes() == other.vector.tobytes() and (row.tokens, row.truncated, row.expires_at) == (
        other.tokens,
        other.truncated,
        other.expires_at,
    )


def signed(body):
    """Bytes with the checksum that they should have."""
    return body + CHECKSUM.pack(zlib.crc32(body))


@given(ROWS)
def test_a_row_comes_back_as_it_was(row):
    found = decode(KEY, encode(KEY, row), NOW)
    assert same(found, row)
    assert found.vector.dtype == np.float32


def test_nobody_can_change_what_came_back():
    assert not decode(KEY, DATA, NOW).vector.flags.writeable


def test_the_numbers_lie_where_a_processor_wants_them():
    assert HEAD.size % 4 == 0
    assert decode(KEY, DATA, NOW).vector.flags.aligned


def test_a_view_of_a_large_array_is_written_down_too():
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    row = replace(ROW, vector=whole[:, 2])
    assert decode(KEY, encode(KEY, row), NOW).vector.tolist() == [2, 8, 14, 20]


def test_a_row_counts_until_it_expires():
    assert decode(KEY, DATA, NOW + 0.999) is not None
    assert decode(KEY, DATA, NOW + 1) is None
    assert decode(KEY, DATA, NOW + 10**9) is None


def test_another_text_with_the_same_short_key_is_a_miss_and_no_corruption():
    other = Key(KEY[:12] + key_of("another")[12:])
    assert decode(other, DATA, NOW) is None


def test_a_row_of_another_release_is_a_miss():
    assert decode(KEY, signed(b"\x02" + DATA[1 : -CHECKSUM.size]), NOW) is None


@given(some.integers(0, len(DATA) * 8 - 1))
def test_a_bit_that_is_not_what_it_was_is_noticed(bit):
    changed = bytearray(DATA)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptRowError):
        decode(KEY, bytes(changed), NOW)


@given(some.integers(0, len(DATA) - 1), some.binary(max_size=8))
def test_a_row_that_was_cut_or_has_more_to_it_is_noticed(length, more):
    with pytest.raises(CorruptRowError):
        decode(KEY, DATA[:length] + more if DATA[:length] + more != DATA else b"", NOW)


@given(some.binary(max_size=200))
def test_whatever_else_comes_is_noticed(data):
    with pytest.raises(CorruptRowError):
        decode(KEY, data, NOW)


@given(some.binary(min_size=HEAD.size, max_size=200))
def test_what_has_the_right_checksum_and_says_nothing_is_no_row(body):
    assert decode(KEY, signed(body), NOW) is None


@given(some.integers(0, 40).filter(lambda length: length != 16))
def test_numbers_that_are_more_or_fewer_than_is_said_are_noticed(length):
    body = DATA[: HEAD.size] + bytes(4 * length)
    with pytest.raises(CorruptRowError):
        decode(KEY, signed(body), NOW)


@given(
    some.lists(some.tuples(some.integers(0, len(DATA) - 1), some.integers(0, 255)), min_size=1, max_size=6),
    some.integers(0, 4),
)
def test_whatever_is_done_to_a_row_no_other_vector_comes_of_it(changes, cut):
    changed = bytearray(DATA)
    for place, value in changes:
        changed[place] = value
    data = bytes(changed[: len(changed) - cut])
    try:
        found = decode(KEY, data, NOW)
    except CorruptRowError:
        return
    assert found is None or same(found, ROW)


def test_a_clock_is_not_needed_but_for_the_expiry():
    row = replace(ROW, expires_at=time.time() + 60)
    assert same(decode(KEY, encode(KEY, row), time.time()), row)
