"""Why a caller is not let in: what it is told, and what is written down."""

from typing import NamedTuple

from embedsvc.errors import (
    EmbedsvcError,
    InvalidCertificateError,
    InvalidSignatureError,
    PermissionDeniedError,
    UnauthenticatedError,
)


class Why(NamedTuple):
    """A reason.

    Attributes:
        told: The error that the caller gets.
        reason: In a word, for metrics and the ledger.
        message: What the caller is told.
    """

    told: type[EmbedsvcError]
    reason: str
    message: str


class Refusal(Exception):  # noqa: N818 - an answer, not a mistake of ours
    """A caller is not let in."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.reason)
        self.why = why


_Certificate, _Key, _Signature = InvalidCertificateError, UnauthenticatedError, InvalidSignatureError

NO_CERTIFICATE = Why(_Certificate, "no_certificate", "the connection has no certificate that can be read")
EXPIRED_CERTIFICATE = Why(_Certificate, "expired_certificate", "the client certificate has expired")
REVOKED_CERTIFICATE = Why(_Certificate, "revoked_certificate", "the client certificate was revoked")
UNKNOWN_IDENTITY = Why(
    PermissionDeniedError,
    "unknown_identity",
    "no identity of this server's policy matches the names of the client certificate",
)
NO_KEY = Why(
    _Key,
    "no_key",
    "no API key: send the header `Authorization: Bearer <key>`, or over gRPC the metadata `authorization`",
)
MALFORMED_KEY = Why(_Key, "malformed_key", "the API key is not one: a key is `emb_` and 43 characters")
UNKNOWN_KEY = Why(_Key, "unknown_key", "the API key is not known to this server")
REVOKED_KEY = Why(_Key, "revoked_key", "the API key was revoked")
EXPIRED_KEY = Why(_Key, "expired_key", "the API key has expired")
KEY_REFUSED = Why(_Key, "key_refused", "callers with this client certificate send no API key")
NO_SIGNATURE = Why(_Signature, "no_signature", "callers with this client certificate must sign their calls")
OTHER_SIGNER = Why(_Signature, "other_signer", "the signer is not the identity of the client certificate")
