"""Encoders without a server, from text to vectors: the service's own, and sentence-transformers.

Imported by a process of its own for each of them (`raw.py`).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from model import MAX_TOKENS, MODEL
from ways import Vectors

from embedsvc.config import EngineSettings
from embedsvc.engine.choice import EncoderChoice, batch_limits, build
from embedsvc.engine.encoder import Encoder, LanedEncoder, normalized
from embedsvc.engine.schedule import LEAST_SHARE
from embedsvc.engine.tokenizer import Asked, ModelTokenizer, Tokenized, load_tokenizer
from embedsvc.types import TokenSequence

SENTENCES_A_BATCH = 32
"""Of sentence-transformers: its own default."""

Embed = Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """An encoder to measure.

    Attributes:
        encoder: `engine.encoder`; or how `SentenceTransformer.encode` is called: `sorted`, for all texts at
            once, which it sorts by length, or `arrival`, for a batch at a time.
        precision: `engine.precision`.
        least_cosine: How near its vectors must be to the reference's.
    """

    encoder: str
    precision: str = "float32"
    least_cosine: float = 0.9999


@cache
def load(kind: EncoderKind, folder: Path) -> Embed:
    """Load an encoder, once in a process.

    Raises:
        ConfigurationError: The service has none of this kind for the model.
    """
    if kind.encoder in ("sorted", "arrival"):
        return _load_reference(folder, in_order=kind.encoder == "arrival")
    return _load_own(folder, kind)


def cut(lengths: Sequence[int], most_tokens: int, most_texts: int) -> Iterator[range]:
    """Cut texts into batches, in order, each as large as its limits of tokens and of texts allow."""
    start = tokens = 0
    for at, length in enumerate(lengths):
        if at > start and (tokens + length > most_tokens or at - start == most_texts):
            yield range(start, at)
            start, tokens = at, 0
        tokens += length
    if start < len(lengths):
        yield range(start, len(lengths))


def _load_own(folder: Path, kind: EncoderKind) -> Embed:
    """The service's encoder and tokenizer, in batches of its size, side by side as it does."""
    limits = batch_limits(EngineSettings(), "cpu", padded=False)
    tokenizer = ModelTokenizer(load_tokenizer(folder), MODEL, MAX_TOKENS)
    encoder = build(EncoderChoice(folder, kind.encoder, kind.precision), "cpu")

    def embed(texts: Sequence[str]) -> Vectors:
        ids = _tokenize(tokenizer, texts)
        lengths = [len(text) for text in ids]
        batches = cut(lengths, min(limits.tokens, _share(encoder, sum(lengths))), limits.texts)
        vectors = compute([[ids[at] for at in batch] for batch in batches])
        return normalized(np.concatenate(vectors))

    compute = partial(_compute, encoder, ThreadPoolExecutor(_lanes(encoder)))
    return embed


def _lanes(encoder: Encoder) -> int:
    return encoder.lanes if isinstance(encoder, LanedEncoder) else 1


def _share(encoder: Encoder, tokens: int) -> int:
    """Tokens of a lane, where the lanes share so many; see `Scheduler`."""
    return max(LEAST_SHARE, -(-tokens // _lanes(encoder)))


def _compute(
    encoder: Encoder, threads: ThreadPoolExecutor, batches: Sequence[Sequence[TokenSequence]]
) -> list[Vectors]:
    if len(batches) > 1 and isinstance(encoder, LanedEncoder):
        return list(threads.map(encoder.encode_in_lane, batches))
    return [encoder.encode(batch) for batch in batches]


def _tokenize(tokenizer: ModelTokenizer, texts: Sequence[str]) -> list[TokenSequence]:
    [tokenized] = tokenizer.encode([Asked(texts, "text {}".format)])
    return [text.ids for text in tokenized if isinstance(text, Tokenized)]


def _load_reference(folder: Path, *, in_order: bool) -> Embed:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - not in every process
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    disable_progress_bar()
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    def embed(texts: Sequence[str]) -> Vectors:
        size = SENTENCES_A_BATCH if in_order else len(texts)
        parts = [texts[start : start + size] for start in range(0, len(texts), size)]
        return np.concatenate([model.encode(part, batch_size=SENTENCES_A_BATCH) for part in parts])

    return embed
