"""The encoders that are compared: each computes all texts of a work, and says how long it took."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gpu_work import Batch, cut
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from embedsvc.engine.encoder import PipelinedEncoder

ROWS = 32
"""Texts of a batch of sentence-transformers: what `encode` takes where nobody says."""

Vectors = NDArray[np.float32]
Way = Callable[[Batch], Sequence[Vectors]]
"""Computes texts, batch by batch."""


def pipelined(encoder: PipelinedEncoder, tokens: int, texts: int) -> Way:
    """Our encoder, as the service calls it: batches in order of arrival, as many under way as it takes."""

    def compute(batch: Batch) -> list[Vectors]:
        return list(_collected(encoder, cut(batch, tokens, texts)))

    return compute


def _collected(encoder: PipelinedEncoder, batches: Iterator[Batch]) -> Iterator[Vectors]:
    under_way: list[Callable[[], Vectors]] = []
    for batch in batches:
        if len(under_way) == encoder.depth:
            yield under_way.pop(0)()
        under_way.append(encoder.launch(batch))
    for collect in under_way:
        yield collect()


@dataclass(frozen=True, slots=True)
class Padded:
    """The modules of sentence-transformers over token ids, sorted by length, in batches of `ROWS`.

    What `SentenceTransformer.encode` does without its tokenizer, so that models alone are compared.
    """

    model: SentenceTransformer

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> list[Vectors]:
        """Compute texts, the longest first; vectors are in that order."""
        ordered = sorted(batch, key=len, reverse=True)
        pieces = [ordered[at : at + ROWS] for at in range(0, len(ordered), ROWS)]
        return [self._compute(piece) for piece in pieces]

    def _compute(self, piece: Batch) -> Vectors:
        ids = torch.zeros(len(piece), len(piece[0]), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(piece):
            ids[row, : len(text)] = torch.tensor(text)
            mask[row, : len(text)] = 1
        device = self.model.device
        features = self.model({"input_ids": ids.to(device), "attention_mask": mask.to(device)})
        vectors: Vectors = features["sentence_embedding"].float().cpu().numpy()
        return vectors


def open_padded(folder: Path, device: str, precision: str) -> Padded:
    """Load sentence-transformers' own."""
    model = SentenceTransformer(str(folder), device=device, local_files_only=True)
    return Padded(model.to(getattr(torch, precision)).eval())


def seconds(way: Way, batch: Batch) -> float:
    """How long a way takes for all texts; it ends with vectors on the host."""
    began = time.perf_counter()
    way(batch)
    return time.perf_counter() - began


def agreement(one: Way, other: Way, batch: Batch) -> tuple[float, float]:
    """How two ways' vectors of the same texts agree: the least cosine of a text, and the most of two texts.

    The texts must be in descending order of length, the one in which `Padded` computes them.
    """
    left, right = (_normalized(np.concatenate(way(batch))) for way in (one, other))
    cosines = left @ right.T
    own = cosines.diagonal().min()
    np.fill_diagonal(cosines, -1)
    return float(own), float(cosines.max())


def _normalized(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def matmul_peak(device: str, precision: str, sizes: Sequence[int]) -> float:
    """The most floating-point operations a second that a product of two square matrices reaches."""
    return max(_matmul_rate(device, getattr(torch, precision), size) for size in sizes)


def _matmul_rate(device: str, dtype: torch.dtype, size: int) -> float:
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    rates = []
    for _ in range(5):
        wait(device)
        began = time.perf_counter()
        for _ in range(10):
            torch.mm(left, right)
        wait(device)
        rates.append(10 * 2 * size**3 / (time.perf_counter() - began))
    return max(rates)


def wait(device: str) -> None:
    """Until a GPU has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize(device)
