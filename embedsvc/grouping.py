"""Puts neighbours of a sequence together, as long as they are small."""

from collections.abc import Iterator, Sequence, Sized


def by_size(items: Sequence[Sized], most: int) -> Iterator[slice]:
    """Cut a sequence into runs that are no larger than so much together, or of one item.

    Yields:
        Where each run is. Of no items there is one, which is empty.
    """
    start = size = 0
    for at, item in enumerate(items):
        if at > start and size + len(item) > most:
            yield slice(start, at)
            start, size = at, 0
        size += len(item)
    yield slice(start, len(items))
