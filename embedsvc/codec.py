"""Protobuf to the core's types and back; the only code that knows the bytes of vectors.

A packed `repeated float` field is a tag, a length and little-endian binary32 numbers
(https://protobuf.dev/programming-guides/encoding/#packed): the bytes of a numpy row. Answers are framed by
hand around those bytes, with no Python loop over numbers: what every parser reads.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from embedsvc.errors import EmbedsvcError, InvalidRequestError
from embedsvc.quantize import quantizer
from embedsvc.status import to_status
from embedsvc.types import (
    Embeddings,
    EmbedRequest,
    InputType,
    OutputType,
    TextOrIds,
    Truncation,
)
from embedsvc.v1 import embedding_pb2 as pb

Known = TypeVar("Known")

INPUT_TYPES: Mapping[int, InputType] = {
    pb.INPUT_TYPE_UNSPECIFIED: InputType.UNSPECIFIED,
    pb.INPUT_TYPE_QUERY: InputType.QUERY,
    pb.INPUT_TYPE_DOCUMENT: InputType.DOCUMENT,
}
TRUNCATIONS: Mapping[int, Truncation | None] = {
    pb.TRUNCATION_UNSPECIFIED: None,
    pb.TRUNCATION_NONE: Truncation.NONE,
    pb.TRUNCATION_END: Truncation.END,
    pb.TRUNCATION_START: Truncation.START,
}
OUTPUT_TYPES: Mapping[int, OutputType] = {
    pb.OUTPUT_TYPE_UNSPECIFIED: OutputType.FLOAT32,
    pb.OUTPUT_TYPE_FLOAT32: OutputType.FLOAT32,
    pb.OUTPUT_TYPE_FLOAT16: OutputType.FLOAT16,
    pb.OUTPUT_TYPE_INT8: OutputType.INT8,
    pb.OUTPUT_TYPE_UINT8: OutputType.UINT8,
    pb.OUTPUT_TYPE_BINARY: OutputType.BINARY,
    pb.OUTPUT_TYPE_UBINARY: OutputType.UBINARY,
}
OUTPUT_NUMBERS = {kind: number for number, kind in OUTPUT_TYPES.items() if number}


def _number(field: int) -> bytes:
    """The tag of a field of wire type 0."""
    return bytes([field << 3])


def _length_delimited(field: int) -> bytes:
    """The tag of a field of wire type 2."""
    return bytes([field << 3 | 2])


INDEX = _number(pb.Embedding.INDEX_FIELD_NUMBER)
TOKENS = _number(pb.Embedding.TOKENS_FIELD_NUMBER)
TRUNCATED = _number(pb.Embedding.TRUNCATED_FIELD_NUMBER) + b"\x01"
CACHED = _number(pb.Embedding.CACHED_FIELD_NUMBER) + b"\x01"
FLAGGED = _number(pb.Embedding.FLAGGED_FIELD_NUMBER) + b"\x01"
EMBEDDINGS = _length_delimited(pb.EmbedResponse.EMBEDDINGS_FIELD_NUMBER)
VALUES = _length_delimited(pb.Embedding.VALUES_FIELD_NUMBER)
PACKED = _length_delimited(pb.Embedding.PACKED_FIELD_NUMBER)
STREAM_RESPONSE = _length_delimited(pb.EmbedStreamResponse.RESPONSE_FIELD_NUMBER)


def decode_request(message: pb.EmbedRequest) -> EmbedRequest:
    """Read a request.

    Raises:
        InvalidRequestError: An input that is not set, or an enum value that does not exist.
    """
    return EmbedRequest(
        inputs=[_decode_input(at, item) for at, item in enumerate(message.inputs)],
        model=message.model,
        input_type=_known(INPUT_TYPES, message.input_type, "input_type"),
        truncation=_known(TRUNCATIONS, message.truncation, "truncation"),
        dimensions=message.dimensions or None,
        normalize=message.normalize if message.HasField("normalize") else None,
        output_type=_known(OUTPUT_TYPES, message.output_type, "output_type"),
        allow_partial=message.allow_partial,
    )


def encode_response(embeddings: Embeddings, output_type: OutputType) -> bytes:
    """Serialize an EmbedResponse.

    Raises:
        InvalidRequestError: The vectors cannot be given in this type.
    """
    rest = pb.EmbedResponse(
        model=embeddings.model,
        fallback_from=embeddings.fallback_from,
        dimensions=embeddings.vectors.shape[1],
        output_type=pb.OutputType.ValueType(OUTPUT_NUMBERS[output_type]),
        usage=pb.Usage(total_tokens=embeddings.total_tokens),
        timings=pb.Timings(
            tokenize=_duration(embeddings.timings.tokenize),
            queue=_duration(embeddings.timings.queue),
            inference=_duration(embeddings.timings.inference),
        ),
    )
    parts = [EMBEDDINGS + _varint(len(item)) + item for item in _encode_items(embeddings, output_type)]
    return b"".join([*parts, rest.SerializeToString()])


def encode_stream_response(request_id: str, response: bytes) -> bytes:
    """Serialize an EmbedStreamResponse around a serialized EmbedResponse."""
    head = pb.EmbedStreamResponse(id=request_id).SerializeToString()
    return b"".join([head, STREAM_RESPONSE, _varint(len(response)), response])


def encode_stream_error(request_id: str, error: EmbedsvcError) -> bytes:
    """Serialize an EmbedStreamResponse that says why there are no vectors."""
    return pb.EmbedStreamResponse(id=request_id, error=to_status(error)).SerializeToString()


def _decode_input(index: int, item: pb.Input) -> TextOrIds:
    match item.WhichOneof("value"):
        case "text":
            return item.text
        case "token_ids":
            return item.token_ids.ids
        case _:
            name = f"inputs[{index}]"
            raise InvalidRequestError(f"{name} must have text or token_ids", param=name)


def _known(values: Mapping[int, Known], number: int, field: str) -> Known:
    try:
        return values[number]
    except KeyError:
        raise InvalidRequestError(f"{field} has no value {number}", param=field) from None


def _encode_items(embeddings: Embeddings, output_type: OutputType) -> Iterator[bytes]:
    rows = quantizer(embeddings, output_type)(embeddings.vectors)
    tag = VALUES if output_type is OutputType.FLOAT32 else PACKED
    data, width = rows.tobytes(), rows[0].nbytes
    head = tag + _varint(width)
    for index, tokens in enumerate(embeddings.tokens):
        if error := embeddings.errors.get(index):
            yield pb.Embedding(index=index, error=to_status(error)).SerializeToString()
            continue
        rest = (INDEX + _varint(index) if index else b"") + (TOKENS + _varint(tokens) if tokens else b"")
        truncated = TRUNCATED if embeddings.truncated[index] else b""
        cached = CACHED if index in embeddings.cached else b""
        flagged = FLAGGED if index in embeddings.flagged else b""
        yield b"".join((rest, head, data[index * width : (index + 1) * width], truncated, cached, flagged))


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


@lru_cache(4096)
def _varint(number: int) -> bytes:
    """https://protobuf.dev/programming-guides/encoding/#varints."""
    out = bytearray()
    while number >= 1 << 7:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
