"""The service with an encoder that fails as long as it is told to.

`python -c "from faulty import serve; serve()"` is `embedsvc serve` with it.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from embedsvc import cli
from embedsvc.config import Settings
from embedsvc.engine import engine, source
from embedsvc.engine.encoder import Encoder, LanedEncoder
from embedsvc.types import TokenSequence, Vectors

FAULT = "BENCH_FAULT_FILE"
"""The variable that names a file; as long as that is there, it says how batches fail."""

EXHAUSTED, FAILING = "memory runs out", "every batch fails"

ROOM = 32
"""Tokens that there is memory for when it runs out."""


class FaultyEncoder:
    """An encoder with lanes, and the fault."""

    def __init__(self, encoder: LanedEncoder) -> None:
        self.device, self.dimensions, self.padded = encoder.device, encoder.dimensions, encoder.padded
        self.lanes, self.worth_all = encoder.lanes, encoder.worth_all
        self.gpu_memory = encoder.gpu_memory
        self._encoder = encoder
        self._fault = Path(os.environ[FAULT])

    def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `Encoder.encode`."""
        self._fail_if_told(batch)
        return self._encoder.encode(batch)

    def encode_in_lane(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `LanedEncoder.encode_in_lane`."""
        self._fail_if_told(batch)
        return self._encoder.encode_in_lane(batch)

    def _fail_if_told(self, batch: Sequence[TokenSequence]) -> None:
        fault = self._fault.read_text() if self._fault.exists() else None
        if fault == FAILING:
            raise RuntimeError("as it was told")
        if fault == EXHAUSTED and sum(map(len, batch)) > ROOM:
            raise MemoryError("as it was told")


@dataclass(frozen=True, slots=True)
class _Build:
    """Builds what the service would have built, and the fault around it."""

    build: Callable[[str], Encoder]

    def __call__(self, device: str) -> Encoder:
        return FaultyEncoder(cast("LanedEncoder", self.build(device)))


def serve() -> None:
    """Serve."""
    find = source.open_source

    def find_faulty(name: str, settings: Settings, devices: Sequence[str]) -> source.ModelSource:
        found = find(name, settings, devices)
        return replace(found, build=_Build(found.build))

    engine.open_source = find_faulty  # type: ignore[attr-defined]
    sys.exit(cli.run(["serve"]))
