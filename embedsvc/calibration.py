"""How a model's numbers become bytes: the range of each dimension, found once from vectors of many texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from embedsvc.errors import ConfigurationError

STEPS = 255
"""Of a range: what lies between its 256 bytes."""

JOINED = (2, 4, 8, 16, 32, 64)
"""How many of the shipped texts, one after another, are also taken as one, up to what any model reads."""

DATA = files("embedsvc") / "data"


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What is known of the vectors of one model.

    Attributes:
        model: Its canonical name.
        revision: Of its weights.
        ranges: The lowest and the highest value of each dimension, float32 of shape [2, dimensions]; what
            `ranges` of sentence-transformers' quantize_embeddings is.
        steps: What lies between two bytes, float32 of shape [dimensions].
    """

    model: str
    revision: str
    ranges: NDArray[np.float32]
    steps: NDArray[np.float32]

    @property
    def starts(self) -> NDArray[np.float32]:
        """The value of the lowest byte, float32 of shape [dimensions]."""
        lowest: NDArray[np.float32] = self.ranges[0]
        return lowest

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        return len(self.steps)


def calibration_of(model: str, revision: str, ranges: NDArray[np.float32]) -> Calibration:
    """Build one of ranges of shape [2, dimensions], with the steps that sentence-transformers takes."""
    steps = (ranges[1] - ranges[0]) / np.float32(STEPS)
    return Calibration(model, revision, ranges, np.where(steps == 0, np.float32(1), steps))


def read(path: Path | Traversable) -> Calibration:
    """Read a file that `write` has written.

    Raises:
        ConfigurationError: It is not there, or is something else.
    """
    try:
        found = orjson.loads(path.read_bytes())
        with np.errstate(over="ignore"):  # what is too large is refused below
            ranges = np.array([found["lowest"], found["highest"]], dtype=np.float32)
        model, revision = str(found["model"]), str(found["revision"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"calibration {path}: {type(error).__name__}: {error}") from None
    if not _are_ranges(ranges):
        raise ConfigurationError(f"calibration {path}: lowest and highest must be lists of numbers, in order")
    return calibration_of(model, revision, ranges)


def _are_ranges(numbers: NDArray[np.float32]) -> bool:
    """Whether they are two rows, and in each column the first is the lower one."""
    flat = numbers.ndim == 2 and numbers.size > 0  # noqa: PLR2004 - rows and columns
    return flat and bool(np.isfinite(numbers).all() and (numbers[0] <= numbers[1]).all())


def write(path: Path, calibration: Calibration, texts: int) -> None:
    """Write a file, which is whole from the first moment.

    Args:
        path: Where; folders that are missing are made.
        calibration: What.
        texts: How many texts it is of; for people who look at the file.
    """
    fields = {
        "model": calibration.model,
        "revision": calibration.revision,
        "texts": texts,
        "lowest": calibration.ranges[0],
        "highest": calibration.ranges[1],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))
    fresh.replace(path)


def shipped_texts() -> Sequence[str]:
    """The texts that calibrations are made of where there are no others: from a word to a long passage."""
    lines = (DATA / "calibration.txt").read_text(encoding="utf-8").splitlines()
    starts = ((at, count) for count in JOINED for at in range(0, len(lines) - count + 1, count))
    return [*lines, *(" ".join(lines[at : at + count]) for at, count in starts)]
