"""OpenAI's request: google.protobuf.Value in, the core's own request out."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from google.protobuf.struct_pb2 import Value

from embedsvc import validate
from embedsvc.config import LimitSettings
from embedsvc.errors import InvalidRequestError
from embedsvc.types import EmbedRequest, InputType, OutputType, TextOrIds, TokenSequence, Truncation
from embedsvc.v1.openai_pb2 import CreateEmbeddingRequest

Choice = TypeVar("Choice", bound=StrEnum)
INPUT_TYPES = (InputType.QUERY, InputType.DOCUMENT)


class EncodingFormat(StrEnum):
    """How vectors are written into the answer."""

    FLOAT = "float"
    BASE64 = "base64"


def decode(message: CreateEmbeddingRequest, limits: LimitSettings) -> EmbedRequest:
    """Read a request; lists that are too long are refused before their items are looked at.

    Raises:
        InvalidRequestError: A field is missing, null where it may not be, or of the wrong type.
    """
    inputs, single = _inputs(message.input, limits)
    return EmbedRequest(
        inputs=inputs,
        single=single,
        field="input",
        model=_model(message.model),
        dimensions=_dimensions(message.dimensions),
        input_type=_choice(INPUT_TYPES, message.input_type, "input_type") or InputType.UNSPECIFIED,
        truncation=_choice(tuple(Truncation), message.truncation, "truncation"),
        output_type=_choice(tuple(OutputType), message.output_type, "output_type") or OutputType.FLOAT32,
    )


def decode_format(message: CreateEmbeddingRequest) -> EncodingFormat:
    """Read `encoding_format`, and check `user`, which is taken and not used.

    Raises:
        InvalidRequestError: Not a value that OpenAI takes.
    """
    if _kind(message.user) not in (None, "string_value"):
        raise InvalidRequestError("user must be a string", param="user")
    chosen = _choice(tuple(EncodingFormat), message.encoding_format, "encoding_format")
    return chosen or EncodingFormat.FLOAT


def _kind(value: Value) -> str | None:
    """The type of a JSON value; None where it is absent or null."""
    kind = value.WhichOneof("kind")
    return None if kind == "null_value" else kind


def _model(value: Value) -> str:
    if _kind(value) is None:
        raise InvalidRequestError("model is required", param="model")
    if _kind(value) != "string_value" or not value.string_value:
        raise InvalidRequestError("model must be a string that names a model", param="model")
    return value.string_value


def _dimensions(value: Value) -> int | None:
    if _kind(value) is None:
        return None
    if _kind(value) != "number_value" or not value.number_value.is_integer():
        raise InvalidRequestError("dimensions must be an integer", param="dimensions")
    if value.number_value < 1:
        raise InvalidRequestError("dimensions must be at least 1", param="dimensions")
    return int(value.number_value)


def _choice(choices: Sequence[Choice], value: Value, field: str) -> Choice | None:
    if _kind(value) is None:
        return None
    for choice in choices:
        if choice == value.string_value:
            return choice
    names = " or ".join(repr(str(choice)) for choice in choices)
    raise InvalidRequestError(f"{field} must be {names}", param=field)


def _inputs(value: Value, limits: LimitSettings) -> tuple[Sequence[TextOrIds], bool]:
    match _kind(value):
        case None:
            raise InvalidRequestError("input is required", param="input")
        case "string_value":
            return [value.string_value], True
        case "list_value":
            return _list(value.list_value.values, limits)
        case _:
            raise InvalidRequestError(
                "input must be a string, a list of strings, a list of token ids or a list of "
                "lists of token ids",
                param="input",
            )


def _list(values: Sequence[Value], limits: LimitSettings) -> tuple[Sequence[TextOrIds], bool]:
    if values and _kind(values[0]) == "number_value":
        _check_length(values, limits, "input")
    else:
        validate.check_count(values, limits, "input")
    kinds = {_kind(value) for value in values}
    if not kinds or kinds == {"string_value"}:
        return [value.string_value for value in values], False
    if kinds == {"number_value"}:
        return [_ids(values, limits, "input")], True
    if kinds == {"list_value"}:
        items = enumerate(values)
        return [_ids(item.list_value.values, limits, f"input[{at}]") for at, item in items], False
    first = _kind(values[0])
    wanted = first if first in ("string_value", "number_value", "list_value") else "string_value"
    at = next(at for at, value in enumerate(values) if _kind(value) != wanted)
    raise InvalidRequestError(
        f"input[{at}] must be {_NAMES[wanted]}: all items must be strings, all token ids, or "
        "all lists of token ids",
        param=f"input[{at}]",
    )


_NAMES = {
    "string_value": "a string",
    "number_value": "a token id",
    "list_value": "a list of token ids",
}


def _check_length(ids: Sequence[Value], limits: LimitSettings, name: str) -> None:
    if len(ids) > limits.max_text_chars:
        raise InvalidRequestError(
            f"{name} must be {limits.max_text_chars} token ids at most; got {len(ids)}", param=name
        )


def _ids(values: Sequence[Value], limits: LimitSettings, name: str) -> TokenSequence:
    _check_length(values, limits, name)
    for at, value in enumerate(values):
        number = value.number_value
        if _kind(value) != "number_value" or number < 0 or not number.is_integer():
            raise InvalidRequestError(f"{name}[{at}] must be a token id, an integer from 0", param=name)
    return [int(value.number_value) for value in values]
