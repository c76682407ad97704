"""What computes vectors: the protocol, and how one is chosen."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from embedsvc.types import TokenSequence, Vectors

TINY = np.finfo(np.float32).tiny
"""The smallest length that a vector is divided by."""


class Encoder(Protocol):
    """One model on one device, in a process of its own."""

    device: str
    """Where it runs, such as "cpu" or "cuda:0"."""
    dimensions: int
    """The length of its vectors."""
    padded: bool
    """Whether a batch costs its longest text times its texts."""

    def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """Compute the pooled vectors of a batch, before normalization.

        Args:
            batch: Token ids of each text, ready for the model: specials in, not too long.

        Returns:
            Float32 of shape [texts, dimensions].
        """

    def gpu_memory(self) -> int | None:
        """Bytes of its device's memory that this process holds; None without a GPU."""


@runtime_checkable
class PipelinedEncoder(Encoder, Protocol):
    """An encoder that can have several batches under way: one computes while the host works on another."""

    depth: int
    """How many."""

    def launch(self, batch: Sequence[TokenSequence]) -> Callable[[], Vectors]:
        """Begin a batch. `encode` is this, called at once.

        Batches are launched in one thread, and collected in the order of their launch, each once; another
        thread may do that. Where `depth` are under way, this waits until one of them is collected, so
        who does both in one thread has to collect in time. A batch that fails on the device raises when it is
        collected.

        Args:
            batch: See `Encoder.encode`.

        Returns:
            What waits for the vectors of `Encoder.encode`, and returns them.
        """


@runtime_checkable
class LanedEncoder(Encoder, Protocol):
    """An encoder that computes several batches side by side, each on its share of the cores.

    That wastes less than all cores on one batch, which wait for each other a hundred times on the way through
    a model; one that is alone is sooner done by `encode`, if it is worth that.
    """

    lanes: int
    """How many batches."""
    worth_all: int
    """Tokens from which on a batch without company is better off with all cores."""

    def encode_in_lane(self, batch: Sequence[TokenSequence]) -> Vectors:
        """Compute what `encode` does on one lane's cores. At most `lanes` threads call it at once."""


EncoderFactory = Callable[[str], Encoder]
"""Builds the encoder for a device, weights loaded."""


def normalized(vectors: Vectors) -> Vectors:
    """Scale rows to length 1; zero rows stay zero.

    Args:
        vectors: Float32 of shape [texts, dimensions].
    """
    norms = np.sqrt(np.vecdot(vectors, vectors))  # less than half the time of np.linalg.norm
    unit: Vectors = vectors / np.maximum(norms, TINY)[:, None]
    return unit
