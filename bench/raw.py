"""A process for each encoder, idle while another is measured."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

from encoders import Embed, EncoderKind, load
from figures import Call, Figures, summarize
from processes import machine_cpu_seconds
from texts import Text
from ways import Vectors

from embedsvc.config import EncoderName, Precision
from embedsvc.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder that is loaded, and the process that it lives in."""

    kind: EncoderKind
    folder: Path
    process: ProcessPoolExecutor

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Compute normalized vectors."""
        return self.process.submit(_embed, self.kind, self.folder, texts).result()

    def measure(self, calls: Sequence[Sequence[Text]]) -> Figures:
        """Time calls, one after the other; sending texts to the process and vectors back is not counted."""
        return self.process.submit(_measure, self.kind, self.folder, calls).result()


@contextmanager
def run_encoders(
    kinds: Mapping[str, EncoderKind], folder: Path
) -> Iterator[tuple[Mapping[str, Encoder], Mapping[str, str]]]:
    """Load encoders until the context ends; also say why those that are not there could not be loaded."""
    encoders: dict[str, Encoder] = {}
    not_run: dict[str, str] = {}
    with ExitStack() as stack:
        for name, kind in kinds.items():
            process = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            fault = _find_fault(kind) or _load(process, kind, folder)
            if fault is None:
                encoders[name] = Encoder(kind, folder, process)
            else:
                not_run[name] = fault
        yield encoders, not_run


def _find_fault(kind: EncoderKind) -> str | None:
    """What this version of the service has no word for."""
    known = (*get_args(EncoderName), "sorted", "arrival")
    if kind.encoder not in known or kind.precision not in get_args(Precision):
        return f"this version of the service has no {kind.encoder} in {kind.precision}"
    return None


def _load(process: ProcessPoolExecutor, kind: EncoderKind, folder: Path) -> str | None:
    """Load an encoder; say why that fails."""
    try:
        process.submit(_embed, kind, folder, ["warm up"]).result()
    except ConfigurationError as error:
        return str(error)
    return None


def _embed(kind: EncoderKind, folder: Path, texts: Sequence[str]) -> Vectors:
    return load(kind, folder)(texts)


def _measure(kind: EncoderKind, folder: Path, calls: Sequence[Sequence[Text]]) -> Figures:
    """In the encoder's process."""
    embed = load(kind, folder)
    begin, spent, busy = time.perf_counter(), time.process_time(), machine_cpu_seconds()
    done = [_time(embed, texts) for texts in calls]
    used = {"program": time.process_time() - spent, "machine": machine_cpu_seconds() - busy}
    return summarize(done, time.perf_counter() - begin, used)


def _time(embed: Embed, texts: Sequence[Text]) -> Call:
    begin = time.perf_counter()
    embed([text.text for text in texts])
    end = time.perf_counter()
    return Call(len(texts), sum(text.tokens for text in texts), end, end - begin)
