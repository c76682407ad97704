"""A run: start everything, check that all agree, measure."""

from pathlib import Path

import plan
from agreement import LEAST_COSINE, least_cosine, refusal, sample
from model import share_model
from plan import Plan
from programs import run_programs
from raw import run_encoders
from rich.console import Console
from rounds import Measured, Subjects, measure_rounds
from served import open_doors
from texts import open_supply


async def measure_all(duration: Plan, folder: Path, console: Console) -> Measured:
    """Run everything there is to run.

    Raises:
        RuntimeError: The service itself does not start.
    """
    measured = Measured()
    model = share_model("model")
    supply = open_supply(model / "tokenizer.json")
    console.print("loading encoders")
    with run_encoders(plan.ENCODERS, model) as (encoders, missing):
        measured.not_run.update(missing)
        console.print("starting the service and its peers")
        with run_programs(folder) as programs:
            measured.not_run.update(programs.not_run)
            async with open_doors(programs, max(served.callers for served in plan.SERVED)) as doors:
                subjects = await _check(Subjects(encoders, doors, supply), measured)
                await measure_rounds(duration, subjects, measured, console)
    return measured


async def _check(subjects: Subjects, measured: Measured) -> Subjects:
    """Leave out what does not give the reference's vectors."""
    texts = sample(subjects.supply.passages)
    reference = subjects.encoders[plan.SORTED].embed(texts)
    least = dict.fromkeys(subjects.doors, LEAST_COSINE)
    least |= {name: encoder.kind.least_cosine for name, encoder in subjects.encoders.items()}
    vectors = {name: encoder.embed(texts) for name, encoder in subjects.encoders.items()}
    for name, door in subjects.doors.items():
        if name != plan.NULL:
            vectors[name] = await door.way(0, texts)
    for name, found in vectors.items():
        measured.agreement[name] = least_cosine(found, reference)
        if refused := refusal(measured.agreement[name], least[name]):
            measured.not_run[name] = refused
    return Subjects(
        {name: encoder for name, encoder in subjects.encoders.items() if name not in measured.not_run},
        {name: door for name, door in subjects.doors.items() if name not in measured.not_run},
        subjects.supply,
    )
