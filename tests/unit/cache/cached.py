"""Rows to keep, and what was counted of them."""

import asyncio
import time

import numpy as np

from embedsvc.cache.key import Space
from embedsvc.cache.row import Key, Row

SPACE = Space("model@revision/fp32", "", "end", normalized=True)
DAY = 86_400


def key_of(text, space=SPACE) -> Key:
    return space.key(text)


def row_of(text, dimensions=8, expires_in=30 * DAY) -> Row:
    """What a model would have made of a text: its numbers tell of which."""
    first = int.from_bytes(key_of(text)[:3]) / 2
    vector = np.arange(first, first + dimensions, dtype=np.float32)
    vector.flags.writeable = False
    return Row(vector, tokens=len(text), truncated=len(text) % 2 == 0, expires_at=time.time() + expires_in)


def rows_of(texts, **how) -> list[tuple[Key, Row]]:
    return [(key_of(text), row_of(text, **how)) for text in texts]


def is_row_of(row, text, dimensions=8) -> bool:
    """Whether a row is just what was kept of a text."""
    made = row_of(text, dimensions)
    same = row.vector.tobytes() == made.vector.tobytes()
    return same and (row.tokens, row.truncated) == (made.tokens, made.truncated)


async def find(cache, texts):
    """The texts that are found; what is found must be theirs."""
    rows = await cache.fetch([key_of(text) for text in texts])
    pairs = [(row, text) for row, text in zip(rows, texts, strict=True) if row]
    assert all(is_row_of(row, text) for row, text in pairs)
    return [text for _, text in pairs]


async def has(cache, texts):
    return await find(cache, texts) == list(texts)


class Counts:
    """What the series say."""

    def __init__(self, registry):
        self._registry = registry

    def __call__(self, name, **labels):
        return self._registry.get_sample_value(f"embeddings_cache_{name}", labels) or 0


async def until(holds, seconds=10.0):
    """Wait until something holds, which may be a coroutine function's word."""
    async with asyncio.timeout(seconds):
        while not (await found if asyncio.iscoroutine(found := holds()) else found):  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.01)
