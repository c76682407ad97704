"""BERT and MPNet on a GPU without padding: few shapes, CUDA graphs, and two batches under way.

docs/performance.md says how it is built, and that no GPU has run it yet.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import torch

from embedsvc.engine.lanes import HostLane, Lane, StreamLane
from embedsvc.engine.placing import Options, place
from embedsvc.engine.shapes import Shape, find_shape, make_shapes
from embedsvc.engine.transformer import Transformer
from embedsvc.engine.weights import Architecture
from embedsvc.types import TokenSequence, Vectors

DEPTH = 2
"""Batches under way: one computes while the other is copied, and laid out or read on the host."""

COMPILATIONS = 64
"""Of one function, at most. Few are needed: torch makes lengths symbolic from the second shape on."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What was made ready.

    Attributes:
        seconds: How long it took.
        shapes: How many shapes have a CUDA graph in each lane, or have been computed once on a CPU.
        uncompiled: Why kernels are not compiled; None where they are, or where nothing could be.
    """

    seconds: float
    shapes: int
    uncompiled: str | None


@dataclass(frozen=True, slots=True)
class Parts:
    """What an encoder is made of.

    Attributes:
        device: Where it is.
        dimensions: The length of its vectors.
        shapes: Those that its lanes were warmed up for, the smallest first.
        lanes: As many as batches may be under way.
        warm_up: What was made ready.
    """

    device: str
    dimensions: int
    shapes: Sequence[Shape]
    lanes: Sequence[Lane]
    warm_up: WarmUp


class CudaEncoder:
    """A model of the BERT family, or an MPNet, on a GPU: a `PipelinedEncoder`. Made by `load`."""

    padded = False

    def __init__(self, parts: Parts) -> None:
        self.device = parts.device
        self.dimensions = parts.dimensions
        self.depth = len(parts.lanes)
        self.warm_up = parts.warm_up
        self._shapes = parts.shapes
        self._free: SimpleQueue[Lane] = SimpleQueue()
        for lane in parts.lanes:
            self._free.put(lane)

    def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `Encoder.encode`."""
        return self.launch(batch)()

    @torch.inference_mode()
    def launch(self, batch: Sequence[TokenSequence]) -> Callable[[], Vectors]:
        """See `PipelinedEncoder.launch`."""
        order = sorted(range(len(batch)), key=lambda at: len(batch[at]))
        shape = find_shape(self._shapes, [len(text) for text in batch])
        lane = self._free.get()
        try:
            wait = lane.launch([batch[at] for at in order], shape)
        except BaseException:
            self._free.put(lane)
            raise
        return partial(self._collect, lane, order, wait)

    def gpu_memory(self) -> int | None:
        """See `Encoder.gpu_memory`."""
        return None if self.device == "cpu" else torch.cuda.memory_reserved(self.device)

    def _collect(self, lane: Lane, order: Sequence[int], wait: Callable[[], Vectors]) -> Vectors:
        try:
            ascending = wait()
            vectors = np.empty_like(ascending)
            vectors[order] = ascending
        finally:
            self._free.put(lane)
        return vectors


@torch.inference_mode()
def load(folder: Path, architecture: Architecture, options: Options) -> CudaEncoder:
    """Read a model, put it on a device and make every shape ready; takes seconds, where it compiles a minute.

    Args:
        folder: The model's files.
        architecture: What they say (`weights.find_architecture`).
        options: Where to, and how.
    """
    began = time.perf_counter()
    placed = place(folder, architecture, options)
    transformer = placed.transformer
    longest = len(transformer.weights.positions)
    shapes = make_shapes(Shape(options.batch_tokens, options.batch_texts, longest))
    lanes = [_open_lane(transformer, options.device, shapes[-1]) for _ in range(DEPTH)]
    if not transformer.attention.static and options.device != "cpu":
        shapes = []  # a graph cannot hold attention that must know lengths; without, exact shapes waste least
    _warm_up(lanes, shapes)
    warm_up = WarmUp(time.perf_counter() - began, len(shapes), placed.uncompiled)
    return CudaEncoder(Parts(options.device, architecture.dimensions, shapes, lanes, warm_up))


def _open_lane(transformer: Transformer, device: str, largest: Shape) -> Lane:
    return HostLane(transformer) if device == "cpu" else StreamLane(transformer, device, largest)


def _warm_up(lanes: Sequence[Lane], shapes: Sequence[Shape]) -> None:
    """The largest shape first: what it needs of memory, all the others share."""
    with torch._dynamo.config.patch(recompile_limit=COMPILATIONS):  # noqa: SLF001 - no other name for it
        for lane in lanes:
            for shape in reversed(shapes):
                lane.warm_up(shape)
