"""What is made of computed vectors: what is kept, and what is answered. Pure; of many, in a thread."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedsvc.cache.row import Row
from embedsvc.engine.encoder import normalized
from embedsvc.engine.tokenizer import Tokenized
from embedsvc.errors import EmbedsvcError
from embedsvc.flights import Landed
from embedsvc.lookup import Known
from embedsvc.order import Order
from embedsvc.preparer import Items
from embedsvc.types import Vectors

NOTHING = Landed({})


class Inputs:
    """The inputs of a request, by what becomes of them.

    Attributes:
        errors: What is wrong with some, by place.
        rows: What is known of others.
        texts: The tokens of those that are to be computed.
        tokens: Of every input, how many; 0 for a wrong one.
        truncated: Of every input, whether some were dropped.
    """

    def __init__(self, items: Items, known: Known) -> None:
        self.errors: dict[int, EmbedsvcError] = {}
        self.rows: dict[int, Row] = {}
        self.texts: dict[int, Tokenized] = {}
        self.tokens = [0] * len(items)
        self.truncated = [False] * len(items)
        for at, item in enumerate(items):
            if isinstance(item, EmbedsvcError):
                self.errors[at] = item
            elif row := known.rows.get(at):
                self.rows[at] = row
                self.tokens[at], self.truncated[at] = row.tokens, row.truncated
            elif item:
                self.texts[at] = item
                self.tokens[at], self.truncated[at] = len(item.ids), item.truncated


@dataclass(frozen=True, slots=True)
class Result:
    """What was computed.

    Attributes:
        vectors: All dimensions, float32 of shape [texts, dimensions], or rows of it one by one.
        landed: Where the time went, and what others had computed.
    """

    vectors: Sequence[Vectors] | Vectors = ()
    landed: Landed = NOTHING


def finish(order: Order, vectors: Vectors) -> Vectors:
    """Vectors as they are kept and answered, but for cutting."""
    return normalized(vectors) if order.normalizes else vectors


def rows(order: Order, texts: Sequence[Tokenized], vectors: Vectors, expires_at: float) -> list[Row]:
    """What is kept of texts: vectors that nobody can change, and that keep nothing else in memory.

    Args:
        order: What they were computed for.
        texts: Which.
        vectors: Theirs, as computed: float32 of shape [texts, dimensions].
        expires_at: When they count no more, in seconds since the epoch.
    """
    made = []
    for text, vector in zip(texts, finish(order, vectors), strict=True):
        kept = vector.copy()
        kept.flags.writeable = False
        made.append(Row(kept, len(text.ids), text.truncated, expires_at))
    return made


def together(inputs: Inputs, result: Result, order: Order, dimensions: int) -> Vectors:
    """All vectors in the places of their inputs, cut; zeros for failed ones."""
    size = len(inputs.tokens)
    if len(result.vectors) == size:
        return _cut(np.asarray(result.vectors), dimensions, order)
    vectors = np.zeros((size, order.model.dimensions), dtype=np.float32)
    if inputs.texts:
        vectors[list(inputs.texts)] = result.vectors
    if inputs.rows:
        vectors[list(inputs.rows)] = [row.vector for row in inputs.rows.values()]
    return _cut(vectors, dimensions, order)


def _cut(vectors: Vectors, dimensions: int, order: Order) -> Vectors:
    """Keep the leading dimensions, scaled to length 1 again where the whole vector was.

    But those for calibrated bytes: the range of each dimension is that of whole vectors.
    """
    if dimensions == vectors.shape[1]:
        return vectors
    cut = vectors[:, :dimensions]
    return normalized(cut) if order.normalizes and not order.request.output_type.is_calibrated else cut
