"""What is known of the call under way, for the layers inside."""

from collections.abc import Mapping
from contextvars import ContextVar

from embedsvc.access.account import Account

metadata: ContextVar[Mapping[str, str | bytes]] = ContextVar("metadata")
"""What came with the call."""

request_id: ContextVar[str] = ContextVar("request_id")
"""The id of the request, the caller's own or one made here."""

caller_name: ContextVar[str] = ContextVar("caller_name")
"""The name of the caller; empty until the auth interceptor has seen it."""

account: ContextVar[Account] = ContextVar("account")
"""What the caller may use and has used; not there until the auth interceptor has let it in."""

OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")
OPEN_METHODS = ("/embedsvc.v1.OpenAIService/GetHealth",)


KINDS = {"Embed": "embed", "CreateEmbedding": "embed", "EmbedStream": "stream"}
"""What calls are to a policy; all others are "models"."""


def kind_of(method: str) -> str:
    """What a policy calls an RPC: "embed", "stream" or "models"."""
    return KINDS.get(method.rpartition("/")[2], "models")


def is_open(method: str) -> bool:
    """Whether an RPC needs no API key."""
    return method.startswith(OPEN_SERVICES) or method in OPEN_METHODS
