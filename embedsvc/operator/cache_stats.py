"""The table of `embedsvc cache stats`: a row for each level."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

from embedsvc.cache import wire
from embedsvc.cache.level import Measure
from embedsvc.operator.series import Series, value_of
from embedsvc.operator.shown import Cell, Column, moment

COLUMNS = (
    Column("level", "level"),
    Column("place", "place"),
    Column("vectors", "rows", number=True),
    Column("bytes", "bytes", number=True),
    Column("most bytes", "most_bytes", number=True),
    Column("first expires", "first_expires"),
    Column("last expires", "last_expires"),
    Column("format", "format", number=True),
    Column("made room", "evicted", number=True),
    Column("found", "found", number=True),
    Column("of all texts, %", "found_percent", number=True),
)

LOOKUPS = "embeddings_cache_lookups_total"
ASKED = ("memory", "second", "joined", "miss")
"""What may come of a text that is looked up."""


@dataclass(frozen=True, slots=True)
class Row:
    """A level, with what is known of it; the fields are those of `COLUMNS`."""

    level: str
    place: str
    rows: int | None = None
    bytes: int | None = None
    most_bytes: int | None = None
    first_expires: str | None = None
    last_expires: str | None = None
    format: int | None = None
    evicted: int | None = None
    found: int | None = None
    found_percent: float | None = None


def memory_row(most_bytes: int) -> Row:
    """What is known of memory without a server."""
    return Row("memory", "the server of this machine", most_bytes=most_bytes)


def second_row(place: str, measure: Measure) -> Row:
    """What the second level says of itself."""
    return Row(
        level="second",
        place=place,
        rows=measure.rows,
        bytes=measure.bytes,
        most_bytes=measure.bound,
        first_expires=moment(measure.oldest),
        last_expires=moment(measure.newest),
        format=wire.VERSION,
    )


def counted(rows: Sequence[Row], series: Series | None) -> Sequence[Sequence[Cell]]:
    """Rows with what a server has counted since its start; None: there is no server."""
    return [astuple(row if series is None else _counted(row, series)) for row in rows]


def _counted(row: Row, series: Series) -> Row:
    asked = sum(value_of(series, LOOKUPS, result=result) for result in ASKED)
    found = value_of(series, LOOKUPS, result=row.level)
    row = replace(
        row,
        evicted=int(value_of(series, "embeddings_cache_evictions_total", level=row.level)),
        found=int(found),
        found_percent=100 * found / asked if asked else None,
    )
    if row.rows is not None:
        return row
    return replace(
        row,
        rows=int(value_of(series, "embeddings_cache_rows", level=row.level)),
        bytes=int(value_of(series, "embeddings_cache_bytes", level=row.level)),
    )
