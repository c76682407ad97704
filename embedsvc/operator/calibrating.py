"""Finds the range of each dimension of a model's vectors, by embedding many texts."""

from collections.abc import Callable, Sequence

import numpy as np

from embedsvc.engine.encoder import normalized
from embedsvc.engine.tokenizer import Asked, Tokenized
from embedsvc.errors import EmbedsvcError
from embedsvc.providers.provider import EmbeddingProvider
from embedsvc.types import Caller, TokenSequence, Vectors

AT_ONCE = 64
"""Texts of one call."""

CALLER = Caller("calibrate", patient=True, bulk=True)


async def find_ranges(
    model: EmbeddingProvider, texts: Sequence[str], advance: Callable[[int], None]
) -> Vectors:
    """Return the lowest and the highest value of each dimension, over normalized vectors of texts.

    Where the model has prompts, texts take turns with each of them and with none.

    Args:
        model: Which.
        texts: As many and as different as those that will be embedded.
        advance: Told how many texts were done.

    Returns:
        Float32 of shape [2, dimensions].

    Raises:
        EmbedsvcError: A text cannot be embedded.
    """
    lowest = np.full(model.dimensions, np.inf, dtype=np.float32)
    highest = -lowest
    async with model.entered(CALLER) as worker:
        for start in range(0, len(texts), AT_ONCE):
            part = texts[start : start + AT_ONCE]
            computed = await worker.submit(_tokenize(model, part), CALLER)
            vectors = normalized(computed.vectors)
            np.minimum(lowest, vectors.min(axis=0), out=lowest)
            np.maximum(highest, vectors.max(axis=0), out=highest)
            advance(len(part))
    return np.stack([lowest, highest])


def _tokenize(model: EmbeddingProvider, texts: Sequence[str]) -> Sequence[TokenSequence]:
    prompts = ["", *filter(None, model.card.files.prompts.values())]
    asked = [Asked(texts[at :: len(prompts)], str, prompt) for at, prompt in enumerate(prompts)]
    return [_ids(item) for items in model.tokenizer.encode(asked) for item in items]


def _ids(item: Tokenized | EmbedsvcError) -> TokenSequence:
    if isinstance(item, EmbedsvcError):
        raise item
    return item.ids
