"""cl100k_base, with the interface and the rules of length of a model's own tokenizer."""

from collections.abc import Sequence

from embedsvc.engine import openai_tokens
from embedsvc.engine.tokenizer import Asked, Tokenized
from embedsvc.errors import ContextLengthExceededError, EmbedsvcError
from embedsvc.types import TextOrIds, TokenSequence, Truncation


class Cl100kTokenizer:
    """OpenAI's vocabulary. Blocking; safe to use from many threads.

    Its ids stand for exactly the text that they were made of, so that a text need not be kept beside them.

    Args:
        model: The model's name, for messages.
        max_tokens: Tokens of one input, at most, its prompt counted.
    """

    def __init__(self, model: str, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._model = model

    def encode(self, asked: Sequence[Asked]) -> list[list[Tokenized | EmbedsvcError]]:
        """Tokenize inputs of some requests: for each, for each input its tokens or what is wrong with it."""
        return [[self._answer(one, at, item) for at, item in enumerate(one.inputs)] for one in asked]

    def _answer(self, asked: Asked, at: int, item: TextOrIds | EmbedsvcError) -> Tokenized | EmbedsvcError:
        if isinstance(item, EmbedsvcError):
            return item
        try:
            prompt, own = openai_tokens.encode([asked.prompt, _text(item, asked.name_of(at))])
            return self._finish(asked, at, prompt, own)
        except EmbedsvcError as error:
            return error

    def _finish(self, asked: Asked, at: int, prompt: list[int], own: list[int]) -> Tokenized:
        room = self.max_tokens - len(prompt)
        if len(own) <= room:
            return Tokenized([*prompt, *own])
        if asked.truncation is Truncation.NONE:
            name = asked.name_of(at)
            raise ContextLengthExceededError(
                f"{name} has {len(prompt) + len(own)} tokens; {self._model} reads {self.max_tokens} at most. "
                "Shorten it, or allow truncation",
                param=name,
            )
        cut = openai_tokens.last if asked.truncation is Truncation.START else openai_tokens.first
        return Tokenized([*prompt, *cut(own, room)], truncated=True)


def _text(item: str | TokenSequence, name: str) -> str:
    """What is sent: only OpenAI reads its ids, and of those that a caller sends it may count others."""
    return item if isinstance(item, str) else openai_tokens.decode(item, name)
