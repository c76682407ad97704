"""What each number format loses against float32: how far vectors move, which of the nearest texts change.

    .venv/bin/python bench/quantization.py

Texts are passages of the novel; none of them is among those that the shipped calibration is of.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from encoders import EncoderKind, load
from lengths import endless, log_normal
from model import MODEL
from report import RESULTS, describe
from rich.console import Console
from rich.table import Table
from texts import Supply, open_supply
from ways import Vectors

from embedsvc.calibration import Calibration
from embedsvc.config import ModelSettings
from embedsvc.engine import calibrations, files
from embedsvc.quantize import Packed, quantizer
from embedsvc.types import Embeddings, OutputType

NEAREST, WIDE = 10, 40
LONGEST_TEXT, LONGEST_QUERY = 256, 32
"""Tokens; the first is what the model reads."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a number format loses.

    Attributes:
        bytes: Of a vector.
        mean_cosine: Between vectors and what their bytes stand for, over all texts.
        least_cosine: The least of them.
        overlap: Which part of the nearest texts by float32 is found where all vectors are in this format.
        asymmetric: The same where those of queries stay float32.
        wide: Which part is among four times as many, where all are in this format.
    """

    bytes: int
    mean_cosine: float
    least_cosine: float
    overlap: float
    asymmetric: float
    wide: float


def read(packed: Packed, output_type: OutputType, calibration: Calibration) -> Vectors:
    """What bytes stand for; of bits, 1 and -1."""
    match output_type:
        case OutputType.UINT8:
            return calibration.starts + (packed.astype(np.float32) + np.float32(0.5)) * calibration.steps
        case OutputType.INT8:
            return calibration.starts + (packed.astype(np.float32) + np.float32(128.5)) * calibration.steps
        case OutputType.UBINARY:
            return np.unpackbits(packed.view(np.uint8), axis=1).astype(np.float32) * 2 - 1
        case OutputType.BINARY:
            return read(packed.view(np.uint8) ^ np.uint8(128), OutputType.UBINARY, calibration)
        case _:
            return packed.astype(np.float32)


def nearest(queries: Vectors, texts: Vectors, count: int = NEAREST) -> Sequence[set[int]]:
    """The texts of the highest cosine, of each query."""
    scores = _unit(queries) @ _unit(texts).T
    return [set(row[:count].tolist()) for row in np.argsort(-scores, axis=1, kind="stable")]


def overlap(found: Sequence[set[int]], exact: Sequence[set[int]]) -> float:
    """Which part of the exact ones is found, over all queries."""
    return sum(len(one & other) for one, other in zip(found, exact, strict=True)) / sum(map(len, exact))


def measure(queries: Vectors, texts: Vectors, calibration: Calibration) -> Mapping[str, Loss]:
    """Compare every number format with float32; and bytes that are compared as they are."""
    exact, losses = nearest(queries, texts), {}
    for output_type in OutputType:
        packed = [_pack(vectors, output_type, calibration) for vectors in (queries, texts)]
        restored = [read(rows, output_type, calibration) for rows in packed]
        losses[str(output_type)] = _loss(restored, queries, texts, exact, packed[1][0].nbytes)
        if output_type is OutputType.INT8:
            as_they_are = [rows.astype(np.float32) for rows in packed]
            losses["int8, as it is"] = _loss(as_they_are, queries, texts, exact, packed[1][0].nbytes)
    return losses


def _loss(
    given: Sequence[Vectors], queries: Vectors, texts: Vectors, exact: Sequence[set[int]], size: int
) -> Loss:
    cosines = (_unit(given[1]) * _unit(texts)).sum(axis=1)
    found = nearest(*given), nearest(queries, given[1]), nearest(*given, WIDE)
    return Loss(size, float(cosines.mean()), float(cosines.min()), *(overlap(some, exact) for some in found))


def _pack(vectors: Vectors, output_type: OutputType, calibration: Calibration) -> Packed:
    rows = len(vectors)
    answer = Embeddings(MODEL, vectors, [0] * rows, [False] * rows, calibration=calibration)
    return quantizer(answer, output_type)(vectors)


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _cut(supply: Supply, longest: int, count: int) -> list[str]:
    lengths = [length for length in log_normal() if length <= longest]
    return [supply.passages.cut(length).text for length in islice(endless(lengths, count), count)]


def main() -> None:
    """Measure, show and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=4000, help="to search in (%(default)s)")
    parser.add_argument("--queries", type=int, default=500, help="to search for (%(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the figures (%(default)s)")
    options = parser.parse_args()
    started = time.strftime("%Y-%m-%d")
    found = files.find(MODEL, ModelSettings())
    calibration = calibrations.find(MODEL, found.revision, ModelSettings(calibrations=Path("none")))
    if calibration is None:
        raise SystemExit(f"no calibration of {MODEL} at {found.revision}")
    supply, embed = open_supply(found.folder / "tokenizer.json"), load(EncoderKind("packed"), found.folder)
    texts = embed(_cut(supply, LONGEST_TEXT, options.texts))
    queries = embed(_cut(supply, LONGEST_QUERY, options.queries))
    losses = measure(queries, texts, calibration)
    outside = float(((texts < calibration.ranges[0]) | (texts > calibration.ranges[1])).mean())
    kept = {"conditions": describe(), "texts": len(texts), "queries": len(queries), "nearest": NEAREST}
    kept |= {"outside": outside, "losses": {name: asdict(loss) for name, loss in losses.items()}}
    _show(losses, outside)
    (options.out / f"quantization-{started}.json").write_text(json.dumps(kept, indent=1) + "\n")


def _show(losses: Mapping[str, Loss], outside: float) -> None:
    overlaps = (f"nearest {NEAREST}", "float32 queries", f"among {WIDE}")
    table = Table("", "bytes", "mean cosine", "least cosine", *overlaps)
    for name, loss in losses.items():
        cosines = (f"{loss.mean_cosine:.5f}", f"{loss.least_cosine:.5f}")
        parts = (f"{part:.1%}" for part in (loss.overlap, loss.asymmetric, loss.wide))
        table.add_row(name, str(loss.bytes), *cosines, *parts)
    Console().print(table, f"{outside:.3%} of all numbers are outside their range")


if __name__ == "__main__":
    main()
