"""Text and token ids into what an encoder reads: prompt, special tokens, length."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from embedsvc.errors import ConfigurationError, ContextLengthExceededError, EmbedsvcError, InvalidRequestError
from embedsvc.types import TextOrIds, TokenSequence, Truncation

WORTH_THREADS = 16384
"""Characters from which on a request is spread over Rust's threads: waking them costs a fifth of less."""

ROOM = 8
"""Characters for each token that is kept: more than nearly all texts need."""


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
        self._room = max_tokens - self._specials
        self._by_word = _reads_by_word(tokenizer)

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
        texts = iter(
            self._ids([prompt + item for _, item in inputs if isinstance(item, str)], prompt, truncation)
        )
        return [
            self._finish(name, next(texts), len(prompt_ids), truncation)
            if isinstance(item, str)
            else self._finish_ids(name, item, prompt_ids, truncation)
            for name, item in inputs
        ]

    def _ids(self, texts: list[str], prompt: str, truncation: Truncation) -> list[list[int]]:
        """Ids of texts; of long ones only of the part that is kept, and then of more than the model reads."""
        at_start = truncation is Truncation.START
        if not self._by_word or truncation is Truncation.NONE or (at_start and prompt):
            return self._plain_ids(texts)
        parts = [self._part(text, at_start=at_start) for text in texts]
        found = self._plain_ids(parts)
        scarce = [
            at for at, text in enumerate(texts) if parts[at] is not text and len(found[at]) <= self._room
        ]
        for at, ids in zip(scarce, self._plain_ids([texts[at] for at in scarce]), strict=True):
            found[at] = ids
        return found

    def _part(self, text: str, *, at_start: bool) -> str:
        """What of a text is sure to be enough, if it has no very long words: up to a space."""
        size = ROOM * self._room
        if len(text) <= size:
            return text
        at = text.rfind(" ", 0, len(text) - size) if at_start else text.find(" ", size)
        if at < 0:
            return text
        return text[at:] if at_start else text[:at]

    def _plain_ids(self, texts: list[str]) -> list[list[int]]:
        encode = partial(self._tokenizer.encode_batch_fast, add_special_tokens=False)
        if sum(map(len, texts)) < WORTH_THREADS:
            return [encode([text])[0].ids for text in texts]
        return [encoding.ids for encoding in encode(texts)]

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


def _reads_by_word(tokenizer: Tokenizer) -> bool:
    """Whether a space parts a text for good: its ids on either side are their own, as with BERT and MPNet."""
    return (
        isinstance(tokenizer.normalizer, BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        and not any(" " in added.content for added in tokenizer.get_added_tokens_decoder().values())
    )
