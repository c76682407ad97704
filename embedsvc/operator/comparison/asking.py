"""Has both sides embed the same texts, in turns: what slows the machine down slows both."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from embedsvc.errors import ConfigurationError
from embedsvc.types import InputType, Vectors


class Answer(Protocol):
    """What came back for one request's texts."""

    @property
    def model(self) -> str:
        """The model that answered, by its own name."""

    @property
    def vectors(self) -> Vectors:
        """Float32 of shape [texts that were not refused, dimensions]."""

    @property
    def tokens(self) -> int:
        """Tokens that the model read."""

    @property
    def seconds(self) -> float:
        """From sending to the answer."""

    @property
    def refused(self) -> Mapping[int, str]:
        """Why texts have no vector, by their place in the request."""


HELLO = "Hello, world"
"""The first text of each side; what that takes is not measured."""

Ask = Callable[[str, Sequence[str], InputType], Awaitable[Answer]]
"""Has a model embed texts. Raises ConfigurationError where the server does not answer, or refuses all."""


@dataclass(slots=True)
class Part:
    """What one side made of the queries, or of the documents.

    Attributes:
        vectors: Shape [texts, dimensions]; zero where a text was refused, or is still to come.
        tokens: Tokens that its model read.
        seconds: Of each request.
        refused: Why texts have no vector, by index.
        count: Texts that were sent.
    """

    vectors: Vectors
    tokens: int = 0
    seconds: list[float] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    count: int = 0

    def take(self, answer: Answer, count: int) -> None:
        """Add the answer for the next so many texts."""
        rows = [self.count + at for at in range(count) if at not in answer.refused]
        if rows:
            self.vectors[rows] = answer.vectors
        self.refused.update({self.count + at: why for at, why in answer.refused.items()})
        self.tokens += answer.tokens
        self.seconds.append(answer.seconds)
        self.count += count


@dataclass(frozen=True, slots=True)
class Asked:
    """A side that has answered once.

    Attributes:
        ask: Has it embed.
        name: What it was asked for by.
        model: Its model, by its own name.
        dimensions: The length of its vectors.
    """

    ask: Ask
    name: str
    model: str
    dimensions: int

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        """Embed one request's texts.

        Raises:
            ConfigurationError: It failed, or another model answered, whose vectors are of another space.
        """
        answer = await self.ask(self.name, texts, input_type)
        if answer.model != self.model:
            raise ConfigurationError(f"{self.name}: {answer.model} answered, where {self.model} had before")
        return answer


async def greet(ask: Ask, name: str) -> Asked:
    """Have a side answer for the first time: connections are made, and it is known who answers.

    Raises:
        ConfigurationError: It does not.
    """
    answer = await ask(name, [HELLO], InputType.QUERY)
    if answer.refused:
        raise ConfigurationError(f"{name}: {answer.refused[0]}")
    return Asked(ask, name, answer.model, int(answer.vectors.shape[1]))


async def ask_all(
    sides: Sequence[Asked],
    requests: Iterable[Sequence[str]],
    count: int,
    input_type: InputType,
    advance: Callable[[int], object],
) -> Sequence[Part]:
    """Send the same requests to all sides, each in its turn.

    Args:
        sides: The sides.
        requests: The texts of each.
        count: How many texts that is in all.
        input_type: What they are for.
        advance: Told how many more texts a side has embedded.

    Raises:
        ConfigurationError: A side does not answer.
    """
    parts = [Part(np.zeros((count, side.dimensions), np.float32)) for side in sides]
    for texts in requests:
        for side, part in zip(sides, parts, strict=True):
            part.take(await side.embed(texts, input_type), len(texts))
            advance(len(texts))
    return parts
