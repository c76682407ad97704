"""What the cache saves, and what it costs: one service with it and one without, called in turns.

`make bench-cache` runs it. A request is 32 texts that nobody has sent before; it goes to one service and,
with other texts, to the other, in an order that changes from pair to pair. The one with the cache then gets
the same texts again.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

import numpy as np
from figures import Spread, spread
from model import share_model
from over_grpc import open_channel, unary
from report import RESULTS, describe
from rich.console import Console
from rich.progress import track
from rich.table import Table
from service import Service, run_service
from texts import Supply, open_supply
from ways import Vectors, Way

TEXTS = 32
TOKENS = 48
"""Of each text."""

OFF = {"EMBEDSVC_CACHE__ENABLED": "false"}
SETTLE = 5
"""Requests to each before any counts."""

PART = 20
"""Pairs whose medians are one round: one request says little on a machine that does other things, too."""

SAVES, ADDS = 20.0, 0.02
"""What is asked for: so many times sooner, and so much more at most."""


@dataclass(slots=True)
class Seconds:
    """What requests took: without a cache, with one that knew nothing, and with one that knew all."""

    without: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)

    @property
    def saved(self) -> Spread:
        """How many times sooner a known request is answered, round by round."""
        return spread(
            [cold / warm for cold, warm in zip(_rounds(self.cold), _rounds(self.warm), strict=True)]
        )

    @property
    def added(self) -> Spread:
        """How much longer an unknown request takes than without a cache, as a part of that."""
        pairs = zip(_rounds(self.cold), _rounds(self.without), strict=True)
        return spread([cold / without - 1 for cold, without in pairs])


def _rounds(seconds: Sequence[float]) -> Iterator[float]:
    return (float(np.median(seconds[start : start + PART])) for start in range(0, len(seconds), PART))


async def measure(cached: Way, plain: Way, supply: Supply, pairs: int) -> Seconds:
    """Call both in turns; the first requests do not count."""
    texts, found = supply.texts((TOKENS,), 0), Seconds()
    for number in track(range(-SETTLE, pairs), "pairs of requests", console=Console(stderr=True)):
        ways = [(cached, found.cold), (plain, found.without)]
        counts = number >= 0
        for way, seconds in ways if number % 2 else reversed(ways):
            request = [next(texts).text for _ in range(TEXTS)]
            took, vectors = await _timed(way, request)
            seconds.extend([took] * counts)
            if way is cached:
                took, again = await _timed(way, request)
                found.warm.extend([took] * counts)
                if not np.array_equal(vectors, again):
                    raise AssertionError("a vector from the cache is not the one that was computed")
    return found


async def _timed(way: Way, texts: Sequence[str]) -> tuple[float, Vectors]:
    started = time.perf_counter()
    vectors = await way(0, texts)
    return time.perf_counter() - started, vectors


async def run(services: Sequence[Service], supply: Supply, pairs: int) -> Seconds:
    """Connect to both, and measure."""
    async with AsyncExitStack() as stack:
        ways = [
            unary(await stack.enter_async_context(open_channel(service)), service) for service in services
        ]
        return await measure(*ways, supply, pairs)


def main() -> int:
    """Measure, show and keep; return 1 if it is not what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="of requests (%(default)s)")
    pairs = parser.parse_args().pairs
    started = time.strftime("%Y-%m-%d")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = share_model("cached")
        with (
            run_service(folder / "cached", "auto", model) as cached,
            run_service(folder / "plain", "auto", model, more=OFF) as plain,
        ):
            cached.wait()
            plain.wait()
            found = asyncio.run(run((cached, plain), open_supply(model / "tokenizer.json"), pairs))
    _show(found)
    path = RESULTS / f"cache-{started}.json"
    kept = {"conditions": describe(), "texts": TEXTS, "tokens": TOKENS, "seconds": asdict(found)}
    path.write_text(json.dumps(kept | {"saved": asdict(found.saved), "added": asdict(found.added)}) + "\n")
    return 0 if found.saved.median >= SAVES and found.added.median <= ADDS else 1


def _show(found: Seconds) -> None:
    table = Table("32 texts", "median ms", "beside", "median of rounds", "least", "most")
    for name, seconds, beside, ratios in (
        ("without a cache", found.without, "", ()),
        ("with one, new texts", found.cold, "added to that, %", [100 * x for x in astuple(found.added)]),
        ("with one, known texts", found.warm, "times sooner", astuple(found.saved)),
    ):
        table.add_row(name, f"{np.median(seconds) * 1000:.2f}", beside, *(f"{each:.2f}" for each in ratios))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
