"""Lets calls in that somebody answers for: see `access/gate.py`."""

import time
from typing import Any

from embedsvc.access.account import Account
from embedsvc.access.gate import Gate, Knock
from embedsvc.interceptors.base import Behaviour, Context, Layer, Parsed
from embedsvc.interceptors.call import account, caller_name, is_open, kind_of, metadata
from embedsvc.limits.limiter import Limiter
from embedsvc.signing import canonical
from embedsvc.signing.verifier import is_signed

CERTIFICATE = "x509_pem_cert"
"""Where gRPC keeps the peer's certificate."""


class AuthLayer(Layer):
    """Finds out who calls, on every RPC that is not open to all, and opens an account for the call."""

    def __init__(self, gate: Gate, limiter: Limiter) -> None:
        self._gate = gate
        self._limiter = limiter

    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """See Layer."""
        if is_open(method):
            return inner
        kind = kind_of(method)

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
            since = time.monotonic()
            guest = await self._gate.enter(_knock(method, request, context))
            opened = Account(guest, self._gate, self._limiter, since)
            account.set(opened)
            caller_name.set(guest.principal.name)
            opened.permit(kind)
            return await inner(request, context)

        return call


def _knock(method: str, request: object, context: Context) -> Knock:
    sent = metadata.get()
    return Knock(
        method=method,
        digest=_digest(request) if is_signed(sent) else "",
        metadata=sent,
        certificate=next(iter(context.auth_context().get(CERTIFICATE, ())), b""),
        peer=context.peer,
    )


def _digest(request: object) -> str:
    return canonical.digest(request.content) if isinstance(request, Parsed) else canonical.OPENING
