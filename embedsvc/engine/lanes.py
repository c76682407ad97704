"""What carries one batch at a time through a device: buffers, and on a GPU a stream and its CUDA graphs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from embedsvc.engine.shapes import Shape, lay_out
from embedsvc.engine.transformer import Transformer
from embedsvc.types import TokenSequence, Vectors


class Lane(Protocol):
    """A way for batches, one behind the other."""

    def warm_up(self, shape: Shape) -> None:
        """Do what the first batch of a shape would have to wait for."""

    def launch(self, batch: Sequence[TokenSequence], shape: Shape) -> Callable[[], Vectors]:
        """Begin a batch, and return what waits for its vectors; the one before must have been waited for.

        Args:
            batch: Token ids of each text, the shortest text first.
            shape: One that holds it.

        Returns:
            What returns vectors of shape [texts, dimensions], in memory that the next launch writes over.
        """


class HostLane:
    """Computes at once, on the CPU: for tests, and for benchmarks without a GPU."""

    def __init__(self, transformer: Transformer) -> None:
        self._transformer = transformer

    def warm_up(self, shape: Shape) -> None:
        """Compute a batch of one token."""
        self._compute([[0]], shape)

    def launch(self, batch: Sequence[TokenSequence], shape: Shape) -> Callable[[], Vectors]:
        """See `Lane.launch`."""
        vectors = self._compute(batch, shape)
        return lambda: vectors

    def _compute(self, batch: Sequence[TokenSequence], shape: Shape) -> Vectors:
        numbers = np.empty(shape.numbers, np.int32)
        lay_out(batch, shape, numbers)
        vectors = self._transformer(torch.from_numpy(numbers), shape, [len(text) for text in batch])
        computed: Vectors = vectors[: len(batch)].numpy()
        return computed


@dataclass(frozen=True, slots=True)
class Buffers:
    """Where a batch waits on both sides; the host's are pinned, so that copies do not hold up the host.

    Attributes:
        written: int32 on the host, what `shapes.lay_out` writes.
        numbers: The same on the device.
        vectors: Float32 of shape [texts, dimensions] on the host.
    """

    written: Tensor
    numbers: Tensor
    vectors: Tensor

    def hold(self, shape: Shape) -> bool:
        """Whether a batch of a shape fits."""
        return shape.numbers <= len(self.written) and shape.texts <= len(self.vectors)


@dataclass(frozen=True, slots=True)
class Captured:
    """A CUDA graph, and the tensor that it leaves its vectors in."""

    graph: torch.cuda.CUDAGraph
    vectors: Tensor


class StreamLane:
    """A CUDA stream with buffers of its own, and a captured graph for each shape that was warmed up.

    Graphs are captured here, and not by torch.compile(mode="reduce-overhead"): its trees of graphs belong to
    one thread, and all their outputs to the latest run, so that two batches could not be under way. The
    graphs of a lane share one pool of memory, since they never run at the same time.

    Args:
        transformer: The model, on the device.
        device: Such as "cuda:0".
        largest: The largest shape that has room in its buffers; a batch of more gets buffers for itself.
    """

    def __init__(self, transformer: Transformer, device: str, largest: Shape) -> None:
        self._transformer = transformer
        self._device = device
        self._buffers = self._make_buffers(largest)
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # Blocking: the thread that waits sleeps, instead of spinning.
        self._done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[Shape, Captured] = {}

    def warm_up(self, shape: Shape) -> None:
        """Run a batch of nothing, which compiles what is not compiled yet, and capture the same."""
        numbers = self._buffers.numbers[: shape.numbers].zero_()
        torch.cuda.synchronize(self._device)
        with torch.cuda.stream(self._stream):
            self._transformer(numbers, shape, [])
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"),
        ):
            vectors = self._transformer(numbers, shape, [])
        self._graphs[shape] = Captured(graph, vectors)

    def launch(self, batch: Sequence[TokenSequence], shape: Shape) -> Callable[[], Vectors]:
        """See `Lane.launch`."""
        self._stream.synchronize()  # idle already, unless the launch before failed half-way
        # Buffers that are made here are the stream's, so that nothing takes their memory before it is done.
        with torch.cuda.stream(self._stream):
            buffers = self._buffers if self._buffers.hold(shape) else self._make_buffers(shape)
            lay_out(batch, shape, buffers.written.numpy())
            buffers.numbers[: shape.numbers].copy_(buffers.written[: shape.numbers], non_blocking=True)
            computed = self._compute(buffers.numbers[: shape.numbers], shape, [len(text) for text in batch])
            vectors = buffers.vectors[: len(batch)]
            vectors.copy_(computed[: len(batch)], non_blocking=True)
            self._done.record()
        return partial(self._wait, vectors)

    def _compute(self, numbers: Tensor, shape: Shape, lengths: Sequence[int]) -> Tensor:
        captured = self._graphs.get(shape)
        if captured is None:
            return self._transformer(numbers, shape, lengths)
        captured.graph.replay()
        return captured.vectors

    def _wait(self, vectors: Tensor) -> Vectors:
        self._done.synchronize()
        computed: Vectors = vectors.numpy()
        return computed

    def _make_buffers(self, shape: Shape) -> Buffers:
        dimensions = self._transformer.architecture.dimensions
        return Buffers(
            written=torch.empty(shape.numbers, dtype=torch.int32, pin_memory=True),
            numbers=torch.empty(shape.numbers, dtype=torch.int32, device=self._device),
            vectors=torch.empty(shape.texts, dimensions, pin_memory=True),
        )
