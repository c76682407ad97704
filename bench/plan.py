"""What is measured: a list of configurations, each of which every round visits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from encoders import EncoderKind
from lengths import log_normal, zipf

SORTED, ARRIVAL = "sentence-transformers, sorted", "sentence-transformers, arrival"
PACKED, ONNX, INT8 = "packed", "onnx", "packed int8"

ENCODERS: Mapping[str, EncoderKind] = {
    SORTED: EncoderKind("sorted"),
    ARRIVAL: EncoderKind("arrival"),
    PACKED: EncoderKind("packed"),
    ONNX: EncoderKind("onnx"),
    INT8: EncoderKind("packed", precision="int8", least_cosine=0.985),
}

GRPC, STREAM, REST_FLOAT, REST_BASE64 = "gRPC", "gRPC stream", "REST float", "REST base64"
FASTAPI, INFINITY_TORCH, INFINITY_ONNX = "FastAPI", "Infinity torch", "Infinity ONNX"
NULL = "gRPC, null encoder"

UNARY = (GRPC, REST_FLOAT, REST_BASE64)
PEERS = (FASTAPI, INFINITY_TORCH, INFINITY_ONNX)

OPTIONAL = (*PEERS, ONNX)
"""What may be missing."""

SHORT, MIXED, ZIPF = (16,), tuple(log_normal()), tuple(zipf())


@dataclass(frozen=True, slots=True)
class Raw:
    """Texts through encoders, without a server.

    Attributes:
        name: What they are.
        lengths: Of the texts, in tokens, again and again.
        texts: How many.
        in_order: How many of them sentence-transformers gets in order of arrival; more only take longer.
        single: Whether each text is a call of its own.
    """

    name: str
    lengths: Sequence[int]
    texts: int
    in_order: int
    single: bool = False


@dataclass(frozen=True, slots=True)
class Served:
    """Callers of a server.

    Attributes:
        name: What they do.
        ways: What they call, each in turn.
        lengths: Of the texts, in tokens, again and again; empty for numbers in digits.
        callers: How many take part in a closed loop.
        texts: Of one call.
        rate: Calls a second of an open loop; None for a closed one.
        windows: How long it is measured, in windows of the plan.
    """

    name: str
    ways: Sequence[str]
    lengths: Sequence[int] = SHORT
    callers: int = 16
    texts: int = 1
    rate: float | None = None
    windows: float = 1


ONE_TEXT, RAW_SHORT, RAW_MIXED = "one text of 16 tokens", "16 tokens", "mixed, log-normal"

RAW = (
    Raw("8 tokens", (8,), 256, 256),
    Raw(RAW_SHORT, SHORT, 256, 256),
    Raw("64 tokens", (64,), 64, 64),
    Raw("512 tokens", (512,), 8, 8),
    Raw(RAW_MIXED, MIXED, 256, 64),
    Raw("mixed, Zipf", ZIPF, 64, 64),
    Raw(ONE_TEXT, SHORT, 40, 40, single=True),
)

ONE, SIXTEEN, MANY, SIXTEEN_MIXED, BATCHES = (
    "1 caller",
    "16 callers",
    "64 callers",
    "16 callers, mixed lengths",
    "16 callers, 32 texts each",
)
NULL_UNARY, NULL_BATCHES = "64 callers, nothing computed", "16 callers, 64 texts each, nothing computed"
RATES = (50, 150, 250)


def open_name(rate: float) -> str:
    """The name of an open loop."""
    return f"{rate:g} calls a second"


SERVED = (
    Served(ONE, (*UNARY, *PEERS), callers=1),
    Served(SIXTEEN, (*UNARY, *PEERS)),
    Served(MANY, (*UNARY, *PEERS), callers=64),
    Served(SIXTEEN_MIXED, (*UNARY, *PEERS), MIXED),
    Served("16 callers, Zipf lengths", (GRPC, INFINITY_ONNX), ZIPF),
    Served(BATCHES, (*UNARY, STREAM, *PEERS), texts=32, windows=2),
    *(Served(open_name(rate), (GRPC, REST_BASE64, INFINITY_ONNX), rate=rate) for rate in RATES),
    Served(NULL_UNARY, (NULL,), (), callers=64),
    Served(NULL_BATCHES, (NULL,), (), texts=64),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    Attributes:
        rounds: How often each configuration is visited.
        settle: Seconds of a loop before its window.
        window: Seconds of a loop.
        fewer: What the numbers of raw texts are divided by.
    """

    rounds: int
    settle: float
    window: float
    fewer: int


FULL = Plan(rounds=3, settle=0.7, window=2.5, fewer=1)
QUICK = Plan(rounds=1, settle=0.5, window=1.5, fewer=4)
