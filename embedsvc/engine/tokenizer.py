"""Text and token ids into what an encoder reads: prompt, special tokens, length."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from embedsvc.errors import ConfigurationError, ContextLengthExceededError, EmbedsvcError, InvalidRequestError
from embedsvc.types import TextOrIds, TokenSequence, Truncation

# A pool of Rust's own would be woken for every call, and know nothing of `engine.tokenizer_threads`.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

ROOM = 8
"""Characters for each token that is kept: more than nearly all texts need."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """One input, ready for an encoder."""

    ids: TokenSequence
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """Inputs of one request.

    Attributes:
        inputs: Each, or what is wrong with it already.
        name_of: What the caller calls the input of an index.
        prompt: Goes before each.
        truncation: What happens to those that are too long.
    """

    inputs: Sequence[TextOrIds | EmbedsvcError]
    name_of: Callable[[int], str]
    prompt: str = ""
    truncation: Truncation = Truncation.END

    @property
    def parts_are_enough(self) -> bool:
        """Whether of a text that is too long only one end counts."""
        return self.truncation is Truncation.END or (self.truncation is Truncation.START and not self.prompt)


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

    def encode(self, asked: Sequence[Asked]) -> list[list[Tokenized | EmbedsvcError]]:
        """Tokenize the inputs of some requests, in one call of the library.

        Returns:
            For each request, for each input its tokens or what is wrong with it.
        """
        texts = [(one, one.prompt + item) for one in asked for item in one.inputs if isinstance(item, str)]
        ids = iter(self._ids(texts))
        return [[self._answer(one, at, item, ids) for at, item in enumerate(one.inputs)] for one in asked]

    def _ids(self, texts: Sequence[tuple[Asked, str]]) -> list[list[int]]:
        """Ids of texts; of long ones only of the part that is kept, and then of more than the model reads."""
        parts = [self._part(one, text) for one, text in texts]
        found = self._plain_ids(parts)
        scarce = [
            at for at, (_, text) in enumerate(texts) if parts[at] is not text and len(found[at]) <= self._room
        ]
        for at, ids in zip(scarce, self._plain_ids([texts[at][1] for at in scarce]), strict=True):
            found[at] = ids
        return found

    def _part(self, asked: Asked, text: str) -> str:
        """What of a text is sure to be enough, if it has no very long words: up to a space."""
        size = ROOM * self._room
        if len(text) <= size or not self._by_word or not asked.parts_are_enough:
            return text
        at_start = asked.truncation is Truncation.START
        at = text.rfind(" ", 0, len(text) - size) if at_start else text.find(" ", size)
        if at < 0:
            return text
        return text[at:] if at_start else text[:at]

    def _plain_ids(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _answer(
        self, asked: Asked, at: int, item: TextOrIds | EmbedsvcError, ids: Iterator[list[int]]
    ) -> Tokenized | EmbedsvcError:
        if isinstance(item, str):
            return self._finish(asked, at, next(ids))
        return item if isinstance(item, EmbedsvcError) else self._finish_ids(asked, at, item)

    def _finish_ids(self, asked: Asked, at: int, ids: TokenSequence) -> Tokenized | EmbedsvcError:
        outside = next((number for number in ids if not 0 <= number < self._size), None)
        if outside is not None:
            name = asked.name_of(at)
            return InvalidRequestError(
                f"{name} has the token id {outside}, outside the vocabulary of {self._model}, "
                f"which ends at {self._size - 1}",
                param=name,
            )
        return self._finish(asked, at, self._prompt_ids(asked.prompt) + self._strip(list(ids)))

    def _strip(self, ids: list[int]) -> list[int]:
        """Take off special tokens that the caller has already put on both ends."""
        end = len(ids) - len(self._tail)
        if self._specials and ids[: len(self._head)] == self._head and ids[end:] == self._tail:
            return ids[len(self._head) : end]
        return ids

    def _finish(self, asked: Asked, at: int, ids: list[int]) -> Tokenized | EmbedsvcError:
        excess = len(ids) - self._room
        if excess <= 0:
            return Tokenized([*self._head, *ids, *self._tail])
        if asked.truncation is Truncation.NONE:
            name = asked.name_of(at)
            return ContextLengthExceededError(
                f"{name} has {len(ids) + self._specials} tokens; {self._model} reads "
                f"{self.max_tokens} at most. Shorten it, or allow truncation",
                param=name,
            )
        keep = len(self._prompt_ids(asked.prompt)) if asked.truncation is Truncation.START else len(ids)
        kept = ids[:keep] + ids[keep + excess :] if len(ids) - keep > excess else ids[:-excess]
        return Tokenized([*self._head, *kept, *self._tail], truncated=True)

    def _prompt_ids(self, prompt: str) -> list[int]:
        return self._plain_ids([prompt])[0] if prompt else []


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
