"""OpenAI's cl100k_base, offline: clients that tokenize for OpenAI send its ids instead of text.

The ranks are OpenAI's own file, published with tiktoken under the MIT licence.
"""

import hashlib
from base64 import b64decode
from functools import cache
from importlib.resources import files

from tiktoken import Encoding

from embedsvc.errors import InvalidRequestError
from embedsvc.types import TokenSequence

SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
"""The digest that tiktoken itself checks (tiktoken_ext/openai_public.py)."""

SPECIAL = {
    "<|endoftext|>": 100257,
    "<|fim_prefix|>": 100258,
    "<|fim_middle|>": 100259,
    "<|fim_suffix|>": 100260,
    "<|endofprompt|>": 100276,
}


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
            "of a request under an OpenAI model name belong to",
            param=param,
        ) from None


@cache
def _encoding() -> Encoding:
    data = (files("embedsvc") / "data" / "cl100k_base.tiktoken").read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise RuntimeError("embedsvc/data/cl100k_base.tiktoken is not OpenAI's file")
    pairs = (line.split() for line in data.splitlines())
    ranks = {b64decode(token): int(rank) for token, rank in pairs}
    # The pattern only serves encoding, which is never asked of it.
    return Encoding("cl100k_base", pat_str=r".", mergeable_ranks=ranks, special_tokens=SPECIAL)
