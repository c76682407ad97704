"""Refuses calls without a known API key. That the peer has a certificate, TLS has already seen to."""

from typing import Any

from embedsvc.errors import UnauthenticatedError
from embedsvc.interceptors.base import Behaviour, Context, Layer
from embedsvc.interceptors.call import caller_name, is_open, metadata
from embedsvc.keys import KeyFile

SCHEME = "bearer "


class AuthLayer(Layer):
    """Looks for `authorization: Bearer <key>` on every RPC that is not open to all."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys

    def wrap(self, method: str, inner: Behaviour) -> Behaviour:
        """See Layer."""
        if is_open(method):
            return inner

        async def call(request: Any, context: Context) -> Any:  # noqa: ANN401 - grpc does not type it
            caller_name.set(self._authenticate())
            return await inner(request, context)

        return call

    def _authenticate(self) -> str:
        value = metadata.get().get("authorization", "")
        if not isinstance(value, str) or not value.lower().startswith(SCHEME):
            raise UnauthenticatedError(
                "no API key: send the header `Authorization: Bearer <key>`, or over gRPC the "
                "metadata `authorization`"
            )
        name = self._keys.find(value[len(SCHEME) :].strip())
        if name is None:
            raise UnauthenticatedError("the API key is not known to this server")
        return name
