"""`embedsvc doctor`, run as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass

from support.programs import BIN, ROOT


@dataclass(frozen=True)
class Told:
    """What the doctor said."""

    status: int
    out: str

    def of(self, *levels: str) -> list[dict[str, str]]:
        return [finding for finding in json.loads(self.out) if finding["level"] in levels]

    def only(self, level: str) -> dict[str, str]:
        (found,) = self.of(level)
        return found


def ask(environment: dict[str, str], *options: str, **values: object) -> Told:
    changed = {f"EMBEDSVC_{name}": str(value) for name, value in values.items()}
    done = subprocess.run(
        [BIN / "embedsvc", "doctor", *options],
        cwd=ROOT,
        env=os.environ | environment | changed,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    return Told(done.returncode, done.stdout)
