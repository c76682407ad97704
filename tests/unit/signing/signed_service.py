"""A service that verifies what reaches it, as raw bytes: what a signature must fit is what is on the wire."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc

from embedsvc.errors import EmbedsvcError
from embedsvc.signing.canonical import OPENING, digest
from embedsvc.signing.signer import Signer
from embedsvc.signing.verifier import Signed, Verifier
from embedsvc.v1.embedding_pb2 import EmbedResponse

SECRET = b"0123456789abcdef0123456789abcdef"
SIGNER = Signer("billing", lambda: [SECRET])
KEY = ("authorization", "Bearer emb_of_billing")
SERVICE = "embedsvc.v1.EmbeddingService"
SHAPES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


@dataclass
class Arrived:
    """A call as it came: its raw message, None for a stream, and its metadata."""

    content: bytes | None
    metadata: list[tuple[str, str]]


@dataclass
class Service:
    """Verifies calls; answers with the name of the signer.

    Attributes:
        address: Where it listens.
        arrived: What came.
        failures: How many calls are failed with UNAVAILABLE after they were verified.
    """

    address: str = ""
    arrived: list[Arrived] = field(default_factory=list)
    failures: int = 0
    verifier: Verifier = field(default_factory=lambda: Verifier({"billing": lambda: [SECRET]}))

    async def verify(self, method, content, context):
        metadata = list(context.invocation_metadata())
        self.arrived.append(Arrived(content, [(name, value) for name, value in metadata]))
        found = OPENING if content is None else digest(content)
        try:
            name = self.verifier.verify(Signed.of(method, found, dict(metadata)))
        except EmbedsvcError as error:
            await context.abort(grpc.StatusCode[error.code], error.message)
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
        return name.encode()

    def handlers(self):
        """One method for each shape, called `unary_unary` and so on; and Embed."""
        named = {shape: self._handler(shape) for shape in SHAPES}
        named["Embed"] = grpc.unary_unary_rpc_method_handler(self._embed)
        return grpc.method_handlers_generic_handler(SERVICE, named)

    async def _embed(self, request, context):
        name = await self.verify(f"/{SERVICE}/Embed", request, context)
        return EmbedResponse(model=name.decode()).SerializeToString()

    def _handler(self, shape):
        method = f"/{SERVICE}/{shape}"

        async def unary_unary(request, context):
            return await self.verify(method, request, context)

        async def unary_stream(request, context):
            yield await self.verify(method, request, context)

        async def stream_unary(requests, context):
            found = await self.verify(method, None, context)
            return b" ".join([found, *[request async for request in requests]])

        async def stream_stream(requests, context):
            yield await self.verify(method, None, context)
            async for request in requests:
                yield request

        behaviour = locals()[shape]
        return getattr(grpc, f"{shape}_rpc_method_handler")(behaviour)


@asynccontextmanager
async def serving():
    server, service = grpc.aio.server(), Service()
    server.add_generic_rpc_handlers([service.handlers()])
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)
