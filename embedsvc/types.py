"""What the layers hand to each other: requests, answers and the numbers between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from embedsvc.calibration import Calibration
from embedsvc.errors import EmbedsvcError
from embedsvc.store.records import InjectionPolicy

Vectors = NDArray[np.float32]
"""Shape [inputs, dimensions], float32."""

TokenSequence = Sequence[int]
"""Token ids of one input, special tokens and prompt included where it is ready for an encoder."""

TextOrIds = str | TokenSequence
"""One input as the caller sent it."""


class InputType(StrEnum):
    """What an input is for; decides which prompt goes before it."""

    UNSPECIFIED = "unspecified"
    QUERY = "query"
    DOCUMENT = "document"


class Truncation(StrEnum):
    """What happens to an input that is too long."""

    NONE = "none"
    END = "end"
    START = "start"


class OutputType(StrEnum):
    """The number format of the vectors that leave the server."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    UINT8 = "uint8"
    BINARY = "binary"
    UBINARY = "ubinary"

    @property
    def is_calibrated(self) -> bool:
        """Whether it needs the calibration of the model."""
        return self in (OutputType.INT8, OutputType.UINT8)

    @property
    def is_bits(self) -> bool:
        """Whether a byte holds eight dimensions."""
        return self in (OutputType.BINARY, OutputType.UBINARY)


class Account(Protocol):
    """What a caller may use in one request, and what it used."""

    @property
    def injection(self) -> InjectionPolicy:
        """What is done with its texts that look like prompt injection."""

    @property
    def caches(self) -> bool:
        """Whether its texts are looked up in the cache, and kept there."""

    @property
    def identity(self) -> str:
        """What tells it from others: of its key the digest, else its identity's name."""

    def may_use(self, model: str) -> bool:
        """Whether a model is for this caller."""

    def allow(self, model: str, inputs: int) -> None:
        """Write down what is asked for. Raises PermissionDeniedError where a model is not for this caller."""

    async def charge(self, tokens: int) -> None:
        """Take tokens off its limits. Raises TokensLimitedError where they are too many."""

    def note(self, embeddings: "Embeddings") -> None:
        """Write down what was answered."""


class Unlimited:
    """The account of a caller who may do everything."""

    injection = InjectionPolicy.OFF
    caches = True
    identity = ""

    def may_use(self, _model: str) -> bool:
        """See Account."""
        return True

    def allow(self, model: str, inputs: int) -> None:
        """See Account."""

    async def charge(self, tokens: int) -> None:
        """See Account."""

    def note(self, embeddings: "Embeddings") -> None:
        """See Account."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and until when.

    Attributes:
        name: What fairness is kept between: the name of the key.
        deadline: When the answer is worthless, in seconds of time.monotonic.
        patient: Wait for room in the queue instead of failing; streams do.
        bulk: Whether interactive work goes first.
        account: What it may use.
        caches: Whether this request may be looked up in the cache, and kept there.
        index: Which of its indexes the vectors are for, where it says.
    """

    name: str
    deadline: float | None = None
    patient: bool = False
    bulk: bool = False
    account: Account = field(default_factory=Unlimited)
    caches: bool = True
    index: str = ""


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """One batch, in the core's own terms. `None` means the server's or the model's default.

    Attributes:
        inputs: What to embed.
        field: What the caller calls `inputs`, for errors.
        single: Whether the caller sent one input that is not in a list.
    """

    inputs: Sequence[TextOrIds]
    model: str = ""
    input_type: InputType = InputType.UNSPECIFIED
    truncation: Truncation | None = None
    dimensions: int | None = None
    normalize: bool | None = None
    output_type: OutputType = OutputType.FLOAT32
    allow_partial: bool = False
    field: str = "inputs"
    single: bool = False

    def name_of(self, index: int) -> str:
        """What the caller calls one of the inputs."""
        return self.field if self.single else f"{self.field}[{index}]"


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a request went, in seconds."""

    tokenize: float = 0.0
    queue: float = 0.0
    inference: float = 0.0


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The answer to one batch.

    Attributes:
        model: The canonical name of the model that made the vectors.
        vectors: Float32 of shape [inputs, dimensions]; the rows of failed inputs are zero.
        tokens: Tokens that the model read of each input.
        truncated: Whether tokens of an input were dropped.
        errors: Failed inputs by index; only where the request allows them.
        flagged: Inputs that look like prompt injection, by index.
        cached: Inputs whose vectors came from a cache, by index.
        calibration: How the model's numbers become bytes; None: they cannot.
        fallback_from: The model that should have answered and could not; empty unless `model` stands in.
        timings: Where the time went.
    """

    model: str
    vectors: Vectors
    tokens: Sequence[int]
    truncated: Sequence[bool]
    errors: dict[int, EmbedsvcError] = field(default_factory=dict)
    flagged: frozenset[int] = frozenset()
    cached: frozenset[int] = frozenset()
    calibration: Calibration | None = None
    fallback_from: str = ""
    timings: Timings = field(default_factory=Timings)

    @property
    def total_tokens(self) -> int:
        """Tokens over all inputs."""
        return sum(self.tokens)
