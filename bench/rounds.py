"""Rounds: each visits every configuration, in turns, so that a machine that slows down slows all alike."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import plan
from figures import Figures
from plan import Plan
from raw import Encoder
from report import Measurement
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from served import Door, Loop, measure
from texts import Supply, Text


@dataclass(frozen=True, slots=True)
class Subjects:
    """What is measured, by name, and with what."""

    encoders: Mapping[str, Encoder]
    doors: Mapping[str, Door]
    supply: Supply


@dataclass(frozen=True, slots=True)
class Measured:
    """What comes of it; see `report.Run`."""

    agreement: dict[str, float] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """One configuration: what is asked, what answers, and how to measure it in a round of a number."""

    scenario: str
    subject: str
    measure: Callable[[int], Awaitable[Figures]]


async def measure_rounds(duration: Plan, subjects: Subjects, measured: Measured, console: Console) -> None:
    """Visit every configuration in every round; one that fails is noted, and the run goes on."""
    steps = [*_raw_steps(duration, subjects), *_served_steps(duration, subjects)]
    with _progress(console) as progress:
        task = progress.add_task("", total=duration.rounds * len(steps))
        for number in range(1, duration.rounds + 1):
            for step in steps:
                progress.update(task, description=f"round {number}: {step.scenario}, {step.subject}")
                await _take(step, number, measured)
                progress.advance(task)


async def _take(step: Step, number: int, measured: Measured) -> None:
    try:
        figures = await step.measure(number)
    except RuntimeError as error:
        measured.not_run[f"{step.subject}, {step.scenario}, round {number}"] = str(error)
    else:
        measured.measurements.append(Measurement(number, step.scenario, step.subject, figures))


def _raw_steps(duration: Plan, subjects: Subjects) -> Iterator[Step]:
    """The same texts for every encoder and in every round."""
    for raw in plan.RAW:
        texts = list(islice(subjects.supply.texts(raw.lengths, seed=0), raw.texts // duration.fewer))
        for name, encoder in subjects.encoders.items():
            some = texts[: raw.in_order // duration.fewer] if name == plan.ARRIVAL else texts
            calls = [[text] for text in some] if raw.single else [some]
            yield Step(raw.name, name, partial(_measure_raw, encoder, calls))


def _served_steps(duration: Plan, subjects: Subjects) -> Iterator[Step]:
    """New texts for every way, of the same lengths for all ways of a round."""
    for served in plan.SERVED:
        for way in served.ways:
            if door := subjects.doors.get(way):
                yield Step(served.name, way, partial(measure, door, Loop(served, duration, subjects.supply)))


async def _measure_raw(encoder: Encoder, calls: Sequence[Sequence[Text]], _round: int) -> Figures:
    return await asyncio.to_thread(encoder.measure, calls)


def _progress(console: Console) -> Progress:
    """Drawn once a second: drawing takes from what is measured."""
    columns = (TextColumn("{task.description:<60}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, refresh_per_second=1)
