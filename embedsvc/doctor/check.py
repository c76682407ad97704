"""Runs checks: side by side, each bounded in time, and none that fails takes another with it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from embedsvc.config import Settings
from embedsvc.doctor.finding import Finding, Subject

Look: TypeAlias = Callable[[Settings], AsyncGenerator[Finding, None]]
"""Looks at something and tells what it finds, one after another: what came before a failure is kept."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        subject: What its findings are about.
        look: Looks at it; it changes nothing.
        seconds: How long that may take.
    """

    subject: Subject
    look: Look
    seconds: float = 15.0


def in_thread(look: Callable[[Settings], Iterator[Finding]]) -> Look:
    """Have what blocks not hold up the others."""

    async def looking(settings: Settings) -> AsyncGenerator[Finding, None]:
        findings = look(settings)
        while (finding := await asyncio.to_thread(next, findings, None)) is not None:
            yield finding

    return looking


async def examine(checks: Sequence[Check], settings: Settings) -> list[Finding]:
    """Run all checks at once; what they found, in their order."""
    found = await asyncio.gather(*(_look(check, settings) for check in checks))
    return [finding for findings in found for finding in findings]


async def _look(check: Check, settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(check.seconds), aclosing(check.look(settings)) as findings:
            async for finding in findings:
                found.append(finding)  # noqa: PERF401 - what was found before a failure counts
    except TimeoutError:
        found.append(
            check.subject.error(
                f"this could not be looked at within {check.seconds:g} seconds",
                "Something that it waits for hangs: a disk, a network or a process of this machine",
            )
        )
    except Exception as error:  # noqa: BLE001 - what nobody has foreseen is a finding, too
        found.append(
            check.subject.error(
                f"this could not be looked at: {type(error).__name__}: {error}",
                "Please report it, with this line: the doctor should have known what to say",
            )
        )
    return found
