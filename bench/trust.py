"""What a store that hangs does to callers: rounds with Convex well, and rounds with Convex hung, in turns.

`make bench-trust` runs it. Convex is the stand-in of the tests, which yields to everybody else, as if it had
a machine of its own. The key is one that Convex has, with limits of every kind, and the ledger gets every
request. Calls come at a constant rate, from another process.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import lag
import psutil
from figures import Spread, spread
from hung import HUNG, LONGEST_GAP, WELL, Round, holds, ratio_of, values_of
from model import share_model
from over_grpc import open_channel, unary
from plan import SHORT, Plan, Served
from report import RESULTS, describe
from rich import box
from rich.console import Console
from rich.table import Table
from served import Door, Loop, measure
from service import Service, run_service
from support.convex import StandIn, run_standin
from texts import Supply, open_supply

from embedsvc.keys import token
from embedsvc.store.convex.store import open_convex
from embedsvc.store.records import KeyRecord, Limits

ENCODERS: Mapping[str, Sequence[int]] = {"auto": SHORT, "null": ()}
"""By encoder, the lengths of texts in tokens; none for numbers in digits."""

RATE, REQUESTS = 100, 1000
"""Calls a second, and of one round."""

SETTLE = 3.0
"""Seconds of calls before those that count: in them every lease and batch under way has met the fault."""

LEAST_URGENT = 19
RECOVERY_SECONDS = 120.0
LIMITS = Limits(20_000, 5_000_000, 1_000_000, 100_000_000)
"""A block of each is far more than a round."""

LEFT = ("encoder", "what")
PAGE = 120
"""Characters of a line where nobody watches."""

LAGGING = (sys.executable, "-c", "from lag import serve; serve()")


@dataclass(frozen=True, slots=True)
class Subject:
    """A service, with the store that it has, and what its callers send."""

    encoder: str
    service: Service
    standin: StandIn
    supply: Supply
    gaps: Path

    async def measure(self, convex: str, number: int, door: Door) -> Round:
        """Let calls come for one round."""
        served = Served("", (), ENCODERS[self.encoder], rate=RATE)
        loop = Loop(served, Plan(1, SETTLE, REQUESTS / RATE, 1), self.supply)
        begin = time.monotonic()
        figures = await measure(door, loop, number)
        seconds = [gap.seconds for gap in lag.read_gaps(self.gaps) if gap.ended > begin]
        many = sum(gap > LONGEST_GAP for gap in seconds)
        return Round(number, self.encoder, convex, figures, max(seconds, default=0.0), many)

    async def recover(self) -> None:
        """Make Convex well, and wait until it has a row of every request.

        Raises:
            TimeoutError: It takes too long.
        """
        await asyncio.to_thread(self.standin.clear)
        before = -1
        async with asyncio.timeout(RECOVERY_SECONDS):
            while (kept := await asyncio.to_thread(self._kept)) != before or not kept:
                before = kept
                await asyncio.sleep(2.5)

    def _kept(self) -> int:
        return int(sum(row["requests"] for row in self.standin.dump("embeddingUsage")))


def main() -> int:
    """Measure, show and keep; return 1 if it did not hold."""
    options = _parse()
    console = Console() if sys.stdout.isatty() else Console(width=PAGE)
    started = time.strftime("%Y-%m-%d")
    conditions = describe()
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory() as folder:
        for encoder in ENCODERS:
            own = Path(folder) / encoder
            own.mkdir()
            rounds += asyncio.run(_measure(encoder, options.rounds, own, console))
    path = RESULTS / f"trust-{started}.json"
    path.write_text(
        json.dumps({"conditions": conditions, "rounds": list(map(asdict, rounds))}, indent=1) + "\n"
    )
    console.print(_table(rounds))
    console.print(path, soft_wrap=True)
    return int(not all(holds([one for one in rounds if one.encoder == encoder]) for encoder in ENCODERS))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="of each kind (%(default)s)")
    return parser.parse_args()


async def _measure(encoder: str, rounds: int, folder: Path, console: Console) -> list[Round]:
    """Measure with one encoder, Convex well and hung in turns."""
    found = []
    async with _open_subject(encoder, folder) as subject, open_channel(subject.service) as channel:
        door = Door(unary(channel, subject.service), (subject.service.server,))
        await subject.measure(WELL, 0, door)  # to warm up
        for number in range(1, rounds + 1):
            for convex in (WELL, HUNG) if number % 2 else (HUNG, WELL):
                if convex == HUNG:
                    await asyncio.to_thread(subject.standin.fault, "hang")
                found.append(await subject.measure(convex, number, door))
                await subject.recover()
            console.print(f"{encoder}: round {number} of {rounds}")
    return found


@asynccontextmanager
async def _open_subject(encoder: str, folder: Path) -> AsyncIterator[Subject]:
    model = share_model("model")
    with run_standin(folder) as standin:
        psutil.Process(standin.process.pid).nice(LEAST_URGENT)
        (folder / "admin_key").write_text(standin.admin_key)
        gaps = folder / "gaps"
        os.environ |= _environment(standin, gaps)
        with run_service(folder / "service", encoder, model, LAGGING) as service:
            service.wait()
            known = replace(service, api_key=await _make_key(standin))
            yield Subject(encoder, known, standin, open_supply(model / "tokenizer.json"), gaps)


def _environment(standin: StandIn, gaps: Path) -> Mapping[str, str]:
    return {
        "EMBEDSVC_STORE__KIND": "convex",
        "EMBEDSVC_STORE__URL": standin.url,
        "EMBEDSVC_STORE__ADMIN_KEY": f"file:{standin.folder / 'admin_key'}",
        "EMBEDSVC_RATES__SHARED_REQUESTS_PER_MINUTE": "0",
        "PYTHONPATH": str(Path(__file__).parent),
        lag.GAPS: str(gaps),
    }


async def _make_key(standin: StandIn) -> str:
    key = token.generate()
    record = KeyRecord(token.digest(key), token.prefix(key), "bench", limits=LIMITS, created_at=time.time())
    async with open_convex(standin.url, lambda: standin.admin_key) as store:
        await store.create_key(record)
    return key


def _table(rounds: Sequence[Round]) -> Table:
    title = f"{REQUESTS:,} requests a round, {RATE} a second: the median, the least and the most of any round"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("encoder", "what", "Convex well", "Convex hung", "hung / well"):
        table.add_column(heading, justify="left" if heading in LEFT else "right", no_wrap=True)
    for encoder in ENCODERS:
        some = [one for one in rounds if one.encoder == encoder]
        for metric in ("p50", "p90", "p99"):
            cells = [_shown(spread(values_of(some, convex, metric)), ".2f") for convex in (WELL, HUNG)]
            table.add_row(encoder, f"{metric} ms", *cells, _shown(ratio_of(some, metric), ".3f"))
        for what, cells in _counted(some).items():
            table.add_row(encoder, what, *cells, "")
        table.add_section()
    return table


def _counted(rounds: Sequence[Round]) -> Mapping[str, Sequence[str]]:
    kinds = [[one for one in rounds if one.convex == convex] for convex in (WELL, HUNG)]
    return {
        "failures": [f"{sum(one.figures.metric('failures') for one in kind):.0f}" for kind in kinds],
        "longest gap of the loop, ms": [
            f"{max(one.longest_gap for one in kind) * 1000:.1f}" for kind in kinds
        ],
        f"gaps over {LONGEST_GAP * 1000:.0f} ms": [f"{sum(one.gaps for one in kind)}" for kind in kinds],
        "server's cores": [_median(kind, "program") for kind in kinds],
        "cores of all others, Convex's too": [_median(kind, "others") for kind in kinds],
    }


def _median(rounds: Sequence[Round], metric: str) -> str:
    return f"{spread([one.figures.metric(metric) for one in rounds]).median:.2f}"


def _shown(values: Spread, style: str) -> str:
    return f"{values.median:{style}} ({values.least:{style}} to {values.most:{style}})"


if __name__ == "__main__":
    sys.exit(main())
