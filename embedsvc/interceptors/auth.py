"""Refuses calls without a known API key. That the peer has a certificate, TLS has already seen to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from embedsvc.errors import UnauthenticatedError
from embedsvc.interceptors.base import Context, Layer
from embedsvc.interceptors.call import caller_name, is_open
from embedsvc.keys import KeyFile

SCHEME = "bearer "


class AuthLayer(Layer):
    """Looks for `authorization: Bearer <key>` on every RPC that is not open to all."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """See Layer."""
        if not is_open(method):
            caller_name.set(self._authenticate(context))
        yield

    def _authenticate(self, context: Context) -> str:
        metadata = dict(context.invocation_metadata() or ())
        value = metadata.get("authorization", "")
        if not isinstance(value, str) or not value.lower().startswith(SCHEME):
            raise UnauthenticatedError(
                "no API key: send the header `Authorization: Bearer <key>`, or over gRPC the "
                "metadata `authorization`"
            )
        name = self._keys.find(value[len(SCHEME) :].strip())
        if name is None:
            raise UnauthenticatedError("the API key is not known to this server")
        return name
