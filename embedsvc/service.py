"""The servicers of our own API: check, embed, pack, return."""

import asyncio
import re
import time
from collections.abc import AsyncIterable
from contextlib import closing
from dataclasses import replace

import grpc
import structlog

from embedsvc import codec, rpc
from embedsvc.access.tab import Tab
from embedsvc.calibration import Calibration
from embedsvc.config import Settings
from embedsvc.embedder import Embedder
from embedsvc.engine.admission import Door
from embedsvc.engine.loader import State
from embedsvc.engine.served import ServedModel
from embedsvc.errors import EmbedsvcError, InternalError, InvalidRequestError
from embedsvc.interceptors.base import Context
from embedsvc.interceptors.call import account, caller_name, metadata, request_id
from embedsvc.ledger.ledger import Ledger
from embedsvc.metrics import Metrics
from embedsvc.providers.provider import EmbeddingProvider
from embedsvc.routing.models import Models
from embedsvc.types import Caller, Embeddings
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1 import model_pb2

log = structlog.get_logger()

MAX_STREAM_ID = 128
"""Characters of EmbedStreamRequest.id."""

LARGE_INPUT = 8192
"""Bytes that one input may have on average before a batch counts for more than its inputs."""


PRIORITY = "x-embedsvc-priority"
"""The metadata in which a caller says whether somebody waits: "interactive" or "bulk"."""

STATES = {
    State.IDLE: model_pb2.MODEL_STATE_IDLE,
    State.LOADING: model_pb2.MODEL_STATE_LOADING,
    State.READY: model_pb2.MODEL_STATE_READY,
    State.FAILED: model_pb2.MODEL_STATE_FAILED,
}
"""What the protocol calls them."""

INDEX = "x-embedsvc-index"
"""The metadata in which a caller says which of its indexes vectors are for: a route may go by it."""

MAX_INDEX = 256
"""Characters of it."""

CACHE = "cache-control"
"""The metadata in which a caller says "no-store": look nothing up, keep nothing (RFC 9111, section 5.2.1)."""

FALLBACK = "x-embedsvc-fallback"
"""The metadata of an answer that names the model which should have given it."""


def caller_of(context: Context, *, streams: bool = False) -> Caller:
    """Who calls, until when, and how urgently: calls are interactive and streams are bulk unless they say.

    Raises:
        InvalidRequestError: The priority is neither.
    """
    remaining = context.time_remaining()
    deadline = None if remaining is None else time.monotonic() + remaining
    said = metadata.get()
    priority = said.get(PRIORITY, "bulk" if streams else "interactive")
    if priority not in ("interactive", "bulk"):
        raise InvalidRequestError(f"{PRIORITY} must be interactive or bulk", param=PRIORITY)
    index = str(said.get(INDEX, ""))
    if len(index) > MAX_INDEX:
        raise InvalidRequestError(f"{INDEX} must be {MAX_INDEX} characters at most", param=INDEX)
    return Caller(
        caller_name.get(),
        deadline,
        patient=streams,
        bulk=priority == "bulk",
        account=account.get(),
        caches=not _forbids_storing(said.get(CACHE)),
        index=index,
    )


def _forbids_storing(cache_control: str | bytes | None) -> bool:
    return isinstance(cache_control, str) and "no-store" in re.split(r"[\s,]+", cache_control.lower())


def marks(embeddings: Embeddings) -> list[tuple[str, str]]:
    """What the metadata of an answer says of it: which model it stands in for; nothing of most."""
    return [(FALLBACK, embeddings.fallback_from)] if embeddings.fallback_from else []


class EmbeddingService:
    """embedsvc.v1.EmbeddingService."""

    def __init__(self, embedder: Embedder, settings: Settings, metrics: Metrics, ledger: Ledger) -> None:
        self._embedder = embedder
        self._settings = settings
        self._metrics = metrics
        self._ledger = ledger

    def handlers(self) -> grpc.GenericRpcHandler:
        """Its RPCs, for a server."""
        limit = self._settings.limits.max_request_bytes
        name = pb.DESCRIPTOR.services_by_name["EmbeddingService"].full_name
        return grpc.method_handlers_generic_handler(
            name,
            {
                "Embed": rpc.unary_unary(self.embed, pb.EmbedRequest, limit),
                "EmbedStream": rpc.stream_stream(self.embed_stream, pb.EmbedStreamRequest, limit),
            },
        )

    async def embed(self, message: pb.EmbedRequest, context: Context) -> bytes:
        """Answer one batch."""
        request = codec.decode_request(message)
        embeddings = await self._embedder.embed(request, caller_of(context))
        if said := marks(embeddings):
            context.set_trailing_metadata((*(context.trailing_metadata() or ()), *said))
        return codec.encode_response(embeddings, request.output_type)

    async def embed_stream(
        self, messages: AsyncIterable[pb.EmbedStreamRequest | EmbedsvcError], context: Context
    ) -> None:
        """Answer batches as they are ready, reading no further than the window."""
        caller = caller_of(context, streams=True)
        tab = Tab(self._ledger, request_id.get())
        window = Door(self._settings.server.stream_window)
        writing = asyncio.Lock()

        async def answer(message: pb.EmbedStreamRequest | EmbedsvcError, size: int) -> None:
            try:
                data = await self._answer_item(message, caller, tab)
                async with writing:
                    await rpc.write(context, data)
            finally:
                window.release(size)

        with closing(tab):
            async with asyncio.TaskGroup() as tasks:
                async for message in messages:
                    size = _room(message)
                    await window.acquire(size)
                    tasks.create_task(answer(message, size))

    async def _answer_item(
        self, message: pb.EmbedStreamRequest | EmbedsvcError, caller: Caller, tab: Tab
    ) -> bytes:
        """Answer one batch of a stream, whatever becomes of it."""
        number = "" if isinstance(message, EmbedsvcError) else message.id
        try:
            own = await account.get().again()
            with tab.batch(own):
                own.permit("stream")
                await own.admit()
                request = codec.decode_request(_checked(message))
                embeddings = await self._embedder.embed(request, replace(caller, account=own))
                answered = codec.encode_response(embeddings, request.output_type)
            return codec.encode_stream_response(number, answered)
        except EmbedsvcError as error:
            failure = error
        except Exception:
            log.exception("stream item failed")
            failure = InternalError()
        self._metrics.errors.labels(failure.reason).inc()
        return codec.encode_stream_error(number, failure)


def _room(message: pb.EmbedStreamRequest | EmbedsvcError) -> int:
    """What a batch takes of the window: its inputs, or more where they are large."""
    if isinstance(message, EmbedsvcError):
        return 1
    return max(1, len(message.request.inputs), message.ByteSize() // LARGE_INPUT)


def _checked(message: pb.EmbedStreamRequest | EmbedsvcError) -> pb.EmbedRequest:
    if isinstance(message, EmbedsvcError):
        raise message
    if not 1 <= len(message.id) <= MAX_STREAM_ID:
        raise InvalidRequestError(f"id must be 1 to {MAX_STREAM_ID} characters", param="id")
    return message.request


class ModelService:
    """embedsvc.v1.ModelService."""

    def __init__(self, models: Models, settings: Settings) -> None:
        self._models = models
        self._settings = settings

    def handlers(self) -> grpc.GenericRpcHandler:
        """Its RPCs, for a server."""
        limit = self._settings.limits.max_request_bytes
        name = model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
        return grpc.method_handlers_generic_handler(
            name,
            {
                "ListModels": rpc.unary_unary(self.list_models, model_pb2.ListModelsRequest, limit),
                "GetModel": rpc.unary_unary(self.get_model, model_pb2.GetModelRequest, limit),
            },
        )

    async def list_models(
        self, _request: model_pb2.ListModelsRequest, _context: Context
    ) -> model_pb2.ListModelsResponse:
        """Every model."""
        models = [_describe(model) for model in self._models.all.values()]
        return model_pb2.ListModelsResponse(models=models)

    async def get_model(
        self, request: model_pb2.GetModelRequest, _context: Context
    ) -> model_pb2.GetModelResponse:
        """One model."""
        if not request.name:
            raise InvalidRequestError("name must not be empty", param="name")
        return model_pb2.GetModelResponse(model=_describe(self._models.find(request.name)))


def _describe(model: EmbeddingProvider) -> model_pb2.Model:
    return model_pb2.Model(
        name=model.card.name,
        aliases=model.card.aliases,
        dimensions=model.dimensions,
        max_tokens=model.tokenizer.max_tokens,
        allows_dimensions=model.card.allows_dimensions,
        normalized=model.card.files.normalized,
        prompts={kind: text for kind, text in model.card.files.prompts.items() if text},
        devices=model.devices,
        state=_state(model),
        revision=model.card.files.revision,
        primary=model.card.primary,
        calibration=_calibration(model.card.calibration),
    )


def _state(model: EmbeddingProvider) -> "model_pb2.ModelState.ValueType":
    if isinstance(model, ServedModel):
        return STATES[model.state]
    return model_pb2.MODEL_STATE_READY if model.ready else model_pb2.MODEL_STATE_FAILED


def _calibration(calibration: Calibration | None) -> model_pb2.Calibration | None:
    if calibration is None:
        return None
    return model_pb2.Calibration(starts=calibration.starts.tolist(), steps=calibration.steps.tolist())
