"""The servicer that Envoy transcodes: OpenAI's API over the same embedder as gRPC's."""

import asyncio
from datetime import UTC, datetime, time
from functools import partial

import grpc
from google.api.httpbody_pb2 import HttpBody

from embedsvc import rpc
from embedsvc.config import Settings
from embedsvc.embedder import Embedder
from embedsvc.engine.catalog import CATALOG
from embedsvc.engine.engine import Engine
from embedsvc.errors import OverloadedError
from embedsvc.health import HealthReporter
from embedsvc.interceptors.base import Context
from embedsvc.interceptors.call import account
from embedsvc.routing.models import Models
from embedsvc.service import caller_of, marks
from embedsvc.types import EmbedRequest
from embedsvc.v1 import openai_pb2 as pb
from rest_shim import requests, responses

JSON_GROWTH = 8
"""Bounds the size of a google.protobuf.Value by that of its JSON: `0,` becomes 11 bytes."""

LARGE_BYTES = 65536
"""Of a message: half a million token ids take half a second to read."""


class OpenAIService:
    """embedsvc.v1.OpenAIService."""

    def __init__(
        self, embedder: Embedder, models: Models, engine: Engine, health: HealthReporter, settings: Settings
    ) -> None:
        self._embedder = embedder
        self._models = models
        self._engine = engine
        self._health = health
        self._settings = settings

    def handlers(self) -> grpc.GenericRpcHandler:
        """Its RPCs, for a server."""
        # Envoy has measured the JSON; as google.protobuf.Value it is larger.
        limit = JSON_GROWTH * self._settings.limits.max_request_bytes
        name = pb.DESCRIPTOR.services_by_name["OpenAIService"].full_name
        return grpc.method_handlers_generic_handler(
            name,
            {
                "CreateEmbedding": rpc.unary_stream(self.create_embedding, pb.CreateEmbeddingRequest, limit),
                "ListOpenAIModels": rpc.unary_unary(self.list_models, pb.ListOpenAIModelsRequest, limit),
                "RetrieveModel": rpc.unary_unary(self.retrieve_model, pb.RetrieveModelRequest, limit),
                "GetHealth": rpc.unary_unary(self.get_health, pb.GetHealthRequest, limit),
            },
        )

    async def create_embedding(self, message: pb.CreateEmbeddingRequest, context: Context) -> None:
        """`POST /v1/embeddings`. Nothing is written before every vector is there."""
        form = requests.decode_format(message)
        request = await self._read(message)
        embeddings = await self._embedder.embed(request, caller_of(context))
        chunks = responses.encode_embeddings(embeddings, form, request.output_type)
        said = [*marks(embeddings), *responses.mark(embeddings)]
        if headers := [*account.get().headers(), *said]:
            await context.send_initial_metadata(headers)
        for chunk in chunks:
            await rpc.write(context, _json(chunk))

    async def _read(self, message: pb.CreateEmbeddingRequest) -> EmbedRequest:
        """Read a request; one that is large, off the event loop."""
        read = partial(requests.decode, message, self._settings.limits)
        if message.ByteSize() <= LARGE_BYTES:
            return read()
        return await asyncio.get_running_loop().run_in_executor(self._engine.threads.many, read)

    async def list_models(self, _request: pb.ListOpenAIModelsRequest, _context: Context) -> HttpBody:
        """`GET /v1/models`."""
        created = {name: _created(model.card.name) for name, model in self._models.names.items()}
        return _json(responses.encode_models(created))

    async def retrieve_model(self, request: pb.RetrieveModelRequest, _context: Context) -> HttpBody:
        """`GET /v1/models/{model}`, under the name that was asked for, as OpenAI does."""
        created = _created(self._models.find(request.model).card.name)
        return _json(responses.encode_model(request.model, created))

    async def get_health(self, _request: pb.GetHealthRequest, _context: Context) -> HttpBody:
        """`GET /health`."""
        if not self._health.serving:
            raise OverloadedError("the server drains, or no replica of its primary model is healthy")
        device = self._engine.primary.devices[0]
        return _json(responses.encode_health(device, self._engine.gpu_name))


def _created(model: str) -> int:
    """When a model was published, in Unix time: the same from every server. 0 for one that is not known."""
    entry = CATALOG.get(model)
    return int(datetime.combine(entry.created, time(), UTC).timestamp()) if entry else 0


def _json(data: bytes) -> HttpBody:
    return HttpBody(content_type="application/json", data=data)
