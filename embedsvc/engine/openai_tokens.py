"""OpenAI's cl100k_base, offline: the tokens that its embedding models count, and that some clients send.

The ranks are OpenAI's own file, published with tiktoken under the MIT licence.
"""

import codecs
import hashlib
from base64 import b64decode
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from tiktoken import Encoding

from embedsvc.errors import InvalidRequestError
from embedsvc.types import TokenSequence

SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""The digest that tiktoken itself checks (tiktoken_ext/openai_public.py)."""

PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
"""What parts text before it is encoded, from the same place."""

SPECIAL = {
    "<|endoftext|>": 100257,
    "<|fim_prefix|>": 100258,
    "<|fim_middle|>": 100259,
    "<|fim_suffix|>": 100260,
    "<|endofprompt|>": 100276,
}

LONGEST_CHARACTER = 4
"""Bytes of UTF-8, and so tokens, at most."""

CONTINUATIONS = frozenset(bytes([value]) for value in range(0x80, 0xC0))
"""Bytes of UTF-8 that are never a character's first."""


def load() -> None:
    """Read the vocabulary, which takes a second, and is otherwise done when it is first needed."""
    _encoding()


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Turn texts into ids that stand for exactly them; what looks like a special token is text as any other.

    Blocking; other threads go on meanwhile.
    """
    encoding = _encoding()
    return [encoding.encode_ordinary(text) for text in texts]


def decode(ids: TokenSequence, param: str) -> str:
    """Turn ids into the text that they stand for; bytes that are not UTF-8 become U+FFFD.

    Raises:
        InvalidRequestError: An id that cl100k_base does not have.
    """
    try:
        return _encoding().decode_bytes(ids).decode("utf-8", errors="replace")
    except (KeyError, OverflowError):
        raise InvalidRequestError(
            f"{param} has a token id that is not in OpenAI's cl100k_base vocabulary, which the ids "
            "of a request under this model's name belong to",
            param=param,
        ) from None


def first(ids: TokenSequence, most: int) -> TokenSequence:
    """The first so many ids (four or more), and up to three fewer where a character would be cut."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
    for end in range(most, most - LONGEST_CHARACTER, -1):
        decoder.reset()
        decoder.decode(_encoding().decode_bytes(ids[max(0, end - LONGEST_CHARACTER) : end]))
        if not decoder.getstate()[0]:
            return ids[:end]
    return ids[:most]  # they are no text


def last(ids: TokenSequence, most: int) -> TokenSequence:
    """The last so many ids (four or more), and up to three fewer where a character would be cut."""
    rest = ids[max(0, len(ids) - most) :]
    for start in range(LONGEST_CHARACTER):
        if _encoding().decode_bytes(rest[start : start + 1])[:1] not in CONTINUATIONS:
            return rest[start:]
    return rest  # they are no text


@cache
def _encoding() -> Encoding:
    data = (files("embedsvc") / "data" / "cl100k_base.tiktoken").read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise RuntimeError("embedsvc/data/cl100k_base.tiktoken is not OpenAI's file")
    pairs = (line.split() for line in data.splitlines())
    ranks = {b64decode(token): int(rank) for token, rank in pairs}
    return Encoding("cl100k_base", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=SPECIAL)
