"""What is known of the call under way, for the layers inside."""

from collections.abc import Mapping
from contextvars import ContextVar

metadata: ContextVar[Mapping[str, str | bytes]] = ContextVar("metadata")
"""What came with the call."""

request_id: ContextVar[str] = ContextVar("request_id")
"""The id of the request, the caller's own or one made here."""

caller_name: ContextVar[str] = ContextVar("caller_name")
"""The name of the API key; empty until the auth interceptor has seen it."""

OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
OPEN_METHODS = ("/embedsvc.v1.OpenAIService/GetHealth",)


def is_open(method: str) -> bool:
    """Whether an RPC needs no API key."""
    return method.startswith(OPEN_SERVICES) or method in OPEN_METHODS
