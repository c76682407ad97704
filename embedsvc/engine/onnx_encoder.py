"""BERT and MPNet on bare ONNX Runtime, on a CPU, from a graph of our own (`onnx_graph.py`)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from embedsvc.engine.weights import Architecture
from embedsvc.types import TokenSequence, Vectors

RUN_TOKENS, RUN_SPREAD = 256, 1.25
"""A batch is run in parts, so that attention pads little. A part ends where it has this many tokens, and the
next text is longer than the part's shortest by more than this factor."""


class OnnxEncoder:
    """A model of the BERT family, or an MPNet, on the CPU.

    Args:
        graph: Its graph (`onnx_graph.export`).
        architecture: What its files say.
        threads: That share the work of each operator.
    """

    device = "cpu"
    padded = False

    def __init__(self, graph: Path, architecture: Architecture, threads: int) -> None:
        self.dimensions = architecture.dimensions
        self._pooling = architecture.pooling
        self._session = _open_session(graph, threads)

    def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `Encoder.encode`."""
        order = sorted(range(len(batch)), key=lambda at: len(batch[at]))
        vectors = np.empty((len(batch), self.dimensions), dtype=np.float32)
        for run in _runs([len(batch[at]) for at in order]):
            texts = order[run]
            vectors[texts] = self._encode([batch[at] for at in texts])
        return vectors

    def gpu_memory(self) -> int | None:
        """None: it runs on the CPU."""
        return None

    def _encode(self, texts: Sequence[TokenSequence]) -> Vectors:
        lengths = np.array([len(text) for text in texts])
        (hidden,) = self._session.run(["hidden"], _inputs(texts, lengths))
        starts = lengths.cumsum() - lengths
        if self._pooling == "cls":
            first: Vectors = hidden[starts]
            return first
        mean: Vectors = np.add.reduceat(hidden, starts)
        mean /= lengths[:, None]
        return mean


def _open_session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # it keeps a plan for every shape that it has seen
    options.log_severity_level = 3  # errors; they are raised as well
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _runs(lengths: Sequence[int]) -> Iterator[slice]:
    """Cut ascending lengths into the parts that are run one after the other."""
    first = tokens = 0
    for at, length in enumerate(lengths):
        if tokens >= RUN_TOKENS and length > RUN_SPREAD * lengths[first]:
            yield slice(first, at)
            first, tokens = at, 0
        tokens += length
    yield slice(first, len(lengths))


def _inputs(texts: Sequence[TokenSequence], lengths: NDArray[np.int64]) -> Mapping[str, NDArray[np.generic]]:
    """Lay out texts for `PackedGraph.forward`."""
    place = np.arange(lengths.max())
    real = place < lengths[:, None]
    scatter = np.flatnonzero(real)
    gather = np.zeros(real.shape, dtype=np.int64)
    gather[real] = np.arange(len(scatter))
    return {
        "ids": np.concatenate([np.asarray(text, dtype=np.int64) for text in texts]),
        "positions": scatter % len(place),
        "gather": gather,
        "scatter": scatter,
        "lengths": lengths.astype(np.int32),
    }
