"""Encoders and a vocabulary that need no weights, and mean nothing. For tests and for bench/."""

from collections.abc import Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing

from embedsvc.engine.encoder import EncoderFactory
from embedsvc.types import TokenSequence, Vectors

DIMENSIONS = 384
MAX_TOKENS = 256
TOKENS = 258

WEIGHTS_BYTES = 4 * DIMENSIONS * (TOKENS + MAX_TOKENS)
"""What the fake encoder makes up in place of weights."""


def tokenizer() -> Tokenizer:
    """A token for each UTF-8 byte (ids 2 to 257), between <s> (0) and </s> (1)."""
    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", *alphabet])}
    built = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    built.pre_tokenizer = ByteLevel(add_prefix_space=False)
    built.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return built


class FakeEncoder:
    """Mean of a fixed random vector for each token, turned by its position: order matters."""

    padded = False
    dimensions = DIMENSIONS

    def __init__(self, device: str) -> None:
        self.device = device
        random = np.random.default_rng(0)
        self._tokens = random.standard_normal((TOKENS, DIMENSIONS), dtype=np.float32)
        self._positions = random.standard_normal((MAX_TOKENS, DIMENSIONS), dtype=np.float32)

    def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `Encoder.encode`."""
        return np.stack([self._encode(np.asarray(ids)) for ids in batch])

    def _encode(self, ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Vectors:
        mixed: Vectors = (self._tokens[ids] * self._positions[: len(ids)]).mean(axis=0)
        return mixed

    def gpu_memory(self) -> int | None:
        """None: it never uses one."""
        return None


class NullEncoder:
    """The same vector for every text: what is left to measure is all that an encoder is not."""

    padded = False
    dimensions = DIMENSIONS

    def __init__(self, device: str) -> None:
        self.device = device

    def encode(self, batch: Sequence[TokenSequence]) -> Vectors:
        """See `Encoder.encode`."""
        return np.ones((len(batch), DIMENSIONS), dtype=np.float32)

    def gpu_memory(self) -> int | None:
        """None: it never uses one."""
        return None


ENCODERS: Mapping[str, EncoderFactory] = {"fake": FakeEncoder, "null": NullEncoder}
"""By `engine.encoder`."""
