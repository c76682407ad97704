"""What a vector is found by: a digest of all that decides it."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from embedsvc.cache.row import Key

FORMAT = b"embedsvc cache key 1"
"""Goes before all else: a change of what is below needs another number."""

TEXT, IDS, OPENAI_IDS = b"t", b"i", b"o"

NO_IDS = b"no ids"
"""Stands for ids that 64 bits do not hold: no others have these bytes, eight for each."""

SURROGATES = "surrogatepass"
"""Half of a surrogate pair is refused, but later: it must not fail here."""


@dataclass(frozen=True)
class Space:
    """All that decides a vector, but for the text.

    Attributes:
        space: What the engine calls the space of a model's vectors: model, revision, precision and the like.
        prompt: What goes before the text.
        truncation: What happens to a text that is too long.
        normalized: Whether vectors have length 1.
        scope: Whose the vectors are; empty: everybody's.
    """

    space: str
    prompt: str
    truncation: str
    normalized: bool
    scope: str = ""

    @cached_property
    def _started(self) -> "hashlib._Hash":
        fields = (self.space, self.prompt, self.truncation, str(self.normalized), self.scope)
        started = hashlib.sha256(FORMAT)
        for field in fields:
            data = field.encode("utf-8", SURROGATES)
            started.update(struct.pack("<Q", len(data)))  # so that nothing moves from one field to the next
            started.update(data)
        return started

    def key(self, item: str | Sequence[int], *, openai_ids: bool = False) -> Key:
        """What the vector of an input is found by.

        Args:
            item: A text, or token ids.
            openai_ids: Whether ids are of OpenAI's vocabulary; else they are of the model's own.
        """
        hashed = self._started.copy()
        if isinstance(item, str):
            hashed.update(TEXT)
            hashed.update(item.encode("utf-8", SURROGATES))
        else:
            hashed.update(OPENAI_IDS if openai_ids else IDS)
            hashed.update(_packed(item))
        return Key(hashed.digest())


def _packed(ids: Sequence[int]) -> bytes:
    try:
        return struct.pack(f"<{len(ids)}q", *ids)
    except struct.error:  # of no vocabulary, which is found out later: nothing is computed or kept for these
        return NO_IDS
