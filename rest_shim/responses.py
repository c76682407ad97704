"""OpenAI's answers as finished JSON, exact to the byte where clients look."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping

import orjson

from embedsvc.quantize import Packed, quantizer
from embedsvc.types import Embeddings, OutputType, Vectors
from rest_shim.requests import EncodingFormat

CHUNK = 64
"""Vectors of one chunk: a millisecond or two of the event loop, half a megabyte of JSON."""

OWNER = "embedsvc"

FLAGGED = "x-embedsvc-flagged"
CACHED = "x-embedsvc-cached"
MOST_FLAGGED = 100
"""Inputs that the header names; it has to fit."""


def encode_embeddings(
    embeddings: Embeddings, form: EncodingFormat, output_type: OutputType = OutputType.FLOAT32
) -> Iterator[bytes]:
    """The body of `POST /v1/embeddings`, in chunks.

    Raises:
        InvalidRequestError: The vectors cannot be given in this type; before there is a chunk.
    """
    return _chunks(embeddings, form, quantizer(embeddings, output_type))


def _chunks(
    embeddings: Embeddings, form: EncodingFormat, quantize: Callable[[Vectors], Packed]
) -> Iterator[bytes]:
    lead = b'{"object":"list","data":['
    for start in range(0, len(embeddings.vectors), CHUNK):
        rows = quantize(embeddings.vectors[start : start + CHUNK])
        yield lead + _items(rows, start, form)
        lead = b","
    usage = {
        "prompt_tokens": embeddings.total_tokens,
        "total_tokens": embeddings.total_tokens,
    }
    tail = orjson.dumps({"model": embeddings.model, "usage": usage})
    yield b"]," + tail.removeprefix(b"{")


def mark(embeddings: Embeddings) -> list[tuple[str, str]]:
    """Headers beside the body.

    How many vectors came from a cache, where any did; and which inputs look like prompt injection, the first
    of them.
    """
    said = [(CACHED, str(len(embeddings.cached)))] if embeddings.cached else []
    if embeddings.flagged:
        said.append((FLAGGED, ",".join(str(at) for at in sorted(embeddings.flagged)[:MOST_FLAGGED])))
    return said


def _items(rows: Packed, start: int, form: EncodingFormat) -> bytes:
    items = [
        {
            "object": "embedding",
            "index": start + at,
            "embedding": b64encode(row).decode() if form is EncodingFormat.BASE64 else row,
        }
        for at, row in enumerate(rows)
    ]
    return orjson.dumps(items, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def encode_model(name: str, created: int) -> bytes:
    """The body of `GET /v1/models/{model}`."""
    return orjson.dumps(_model(name, created))


def encode_models(created: Mapping[str, int]) -> bytes:
    """The body of `GET /v1/models`, of names and when what they mean was made."""
    return orjson.dumps({"object": "list", "data": [_model(*item) for item in created.items()]})


def _model(name: str, created: int) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": created, "owned_by": OWNER}


def encode_health(device: str, gpu_name: str | None) -> bytes:
    """The body of a good `GET /health`."""
    return orjson.dumps(
        {
            "status": "ok",
            "device": device,
            "model_loaded": True,
            "gpu_available": gpu_name is not None,
            "gpu_name": gpu_name,
        }
    )
