"""Text and token ids into what an encoder reads: prompt, special tokens, length."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from embedsvc.errors import ConfigurationError, ContextLengthExceededError, EmbedsvcError, InvalidRequestError
from embedsvc.types import TextOrIds, TokenSequence, Truncation


@dataclass(frozen=True, slots=True)
class Tokenized:
    """One input, ready for an encoder."""

    ids: TokenSequence
    truncated: bool = False


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read a model's tokenizer.json.

    Raises:
        ConfigurationError: It is not there, or is something else.
    """
    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:
        raise ConfigurationError(f"{path}: {error}") from error


class ModelTokenizer:
    """A model's vocabulary and its rules of length. Blocking; safe to use from many threads.

    Args:
        tokenizer: The vocabulary; its own padding and truncation are switched off.
        model: The model's name, for messages.
        max_tokens: Tokens of one input, at most, prompt and special tokens counted.
    """

    def __init__(self, tokenizer: Tokenizer, model: str, max_tokens: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.max_tokens = max_tokens
        self._tokenizer = tokenizer
        self._model = model
        self._size = tokenizer.get_vocab_size()
        self._head, self._tail = _special_ids(tokenizer)
        self._specials = len(self._head) + len(self._tail)

    @property
    def extremes(self) -> list[TokenSequence]:
        """The longest text that there can be, and the last id: what an encoder must be able to compute."""
        return [[0] * self.max_tokens, [self._size - 1]]

    def encode(
        self, inputs: Sequence[tuple[str, TextOrIds]], prompt: str, truncation: Truncation
    ) -> list[Tokenized | EmbedsvcError]:
        """Tokenize inputs.

        Args:
            inputs: What the caller calls each input, and the input.
            prompt: Goes before each.
            truncation: What happens to those that are too long.

        Returns:
            For each input its tokens, or what is wrong with it.
        """
        prompt_ids = self._plain_ids([prompt])[0] if prompt else []
        texts = iter(self._plain_ids([prompt + item for _, item in inputs if isinstance(item, str)]))
        return [
            self._finish(name, next(texts), len(prompt_ids), truncation)
            if isinstance(item, str)
            else self._finish_ids(name, item, prompt_ids, truncation)
            for name, item in inputs
        ]

    def _plain_ids(self, texts: list[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _finish_ids(
        self, name: str, ids: TokenSequence, prompt_ids: list[int], truncation: Truncation
    ) -> Tokenized | EmbedsvcError:
        outside = next((number for number in ids if not 0 <= number < self._size), None)
        if outside is not None:
            return InvalidRequestError(
                f"{name} has the token id {outside}, outside the vocabulary of {self._model}, "
                f"which ends at {self._size - 1}",
                param=name,
            )
        return self._finish(name, prompt_ids + self._strip(list(ids)), len(prompt_ids), truncation)

    def _strip(self, ids: list[int]) -> list[int]:
        """Take off special tokens that the caller has already put on both ends."""
        end = len(ids) - len(self._tail)
        if self._specials and ids[: len(self._head)] == self._head and ids[end:] == self._tail:
            return ids[len(self._head) : end]
        return ids

    def _finish(
        self, name: str, ids: list[int], keep: int, truncation: Truncation
    ) -> Tokenized | EmbedsvcError:
        excess = len(ids) + self._specials - self.max_tokens
        if excess > 0:
            if truncation is Truncation.NONE:
                return ContextLengthExceededError(
                    f"{name} has {len(ids) + self._specials} tokens; {self._model} reads "
                    f"{self.max_tokens} at most. Shorten it, or allow truncation",
                    param=name,
                )
            at_start = truncation is Truncation.START and len(ids) - keep > excess
            ids = ids[:keep] + ids[keep + excess :] if at_start else ids[:-excess]
        return Tokenized([*self._head, *ids, *self._tail], excess > 0)


def _special_ids(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    encoding = tokenizer.encode("a")
    own = [at for at, special in enumerate(encoding.special_tokens_mask) if not special]
    return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]
