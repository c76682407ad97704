"""A server over mTLS that answers with what can be told from texts: lengths, and their first character."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from embedsvc.errors import EmbedsvcError
from embedsvc.status import to_status
from embedsvc.v1 import embedding_pb2 as pb
from embedsvc.v1.embedding_pb2_grpc import (
    EmbeddingServiceServicer,
    add_EmbeddingServiceServicer_to_server,
)


@dataclass
class EmbeddingServer(EmbeddingServiceServicer):
    """Answers calls, or fails them.

    Attributes:
        address: Where it listens.
        requests: What came.
        metadata: What came with the last call.
        failures: What the next requests are failed with.
        known: Texts that are said to come from a cache.
        bad: A text that cannot be embedded.
    """

    address: str = ""
    requests: list[pb.EmbedRequest] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    failures: list[EmbedsvcError] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    bad: str = ""

    async def Embed(self, request, context):  # noqa: N802 - gRPC's name
        self._note(request, context)
        if self.failures:
            error = self.failures.pop(0)
            status = to_status(error)
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
            await context.abort(grpc.StatusCode[error.code], error.message)
        return self._answer(request)

    async def EmbedStream(self, requests, context):  # noqa: N802 - gRPC's name
        async for item in requests:
            self._note(item.request, context)
            if self.failures:
                yield pb.EmbedStreamResponse(id=item.id, error=to_status(self.failures.pop(0)))
            else:
                yield pb.EmbedStreamResponse(id=item.id, response=self._answer(item.request))

    @property
    def texts(self):
        """Every text that came."""
        return [item.text for request in self.requests for item in request.inputs]

    def _note(self, request, context):
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())

    def _answer(self, request):
        rows = [self._row(at, item.text) for at, item in enumerate(request.inputs)]
        tokens = sum(row.tokens for row in rows)
        return pb.EmbedResponse(embeddings=rows, model=request.model, usage=pb.Usage(total_tokens=tokens))

    def _row(self, at, text):
        if text == self.bad:
            return pb.Embedding(index=at, error=to_status(EmbedsvcError("this one cannot be")))
        return pb.Embedding(
            index=at, values=[len(text), ord(text[0])], tokens=len(text), cached=text in self.known
        )


@asynccontextmanager
async def serving(state):
    """Serve with the certificates of a state until the context ends."""
    server, service = grpc.aio.server(), EmbeddingServer()
    add_EmbeddingServiceServicer_to_server(service, server)
    pair = state.read("server.key"), state.read("server.crt")
    credentials = grpc.ssl_server_credentials([pair], state.read("ca.crt"), require_client_auth=True)
    service.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)
