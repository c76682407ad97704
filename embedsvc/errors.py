"""The one tree of errors: each class owns its gRPC code, its reason and its OpenAI shape.

Messages are written for the caller; nothing internal is ever put into one. How a class is shown is
decided here and nowhere else; docs/errors.md holds the same table for people.
"""

from typing import ClassVar, Literal

Code = Literal[
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "RESOURCE_EXHAUSTED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
]


class EmbedsvcError(Exception):
    """A failure with a name; raised as itself it is the server's own fault.

    Attributes:
        code: The gRPC status code, by name.
        reason: google.rpc.ErrorInfo.reason.
        openai_type: `error.type` in OpenAI's body.
        openai_code: `error.code` in OpenAI's body.
        param: The request field at fault, in the caller's own spelling.
        retry_after: Seconds after which trying again makes sense; None where it never does.
    """

    code: ClassVar[Code] = "INTERNAL"
    reason: ClassVar[str] = "INTERNAL"
    openai_type: ClassVar[str] = "server_error"
    openai_code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class InternalError(EmbedsvcError):
    """Our own fault. The traceback is in the log and only there."""

    def __init__(self) -> None:
        super().__init__("internal error")


class InvalidRequestError(EmbedsvcError):
    """A field is missing, malformed or out of its limits."""

    code = "INVALID_ARGUMENT"
    reason = "INVALID_REQUEST"
    openai_type = "invalid_request_error"


class ContextLengthExceededError(InvalidRequestError):
    """An input has more tokens than the model reads, and truncation is off."""

    reason = "CONTEXT_LENGTH_EXCEEDED"
    openai_code = "context_length_exceeded"


class SuspiciousTextError(InvalidRequestError):
    """A text looks like prompt injection, and the policy is to reject such texts."""

    reason = "PROMPT_INJECTION"
    openai_code = "prompt_injection"


class UnauthenticatedError(EmbedsvcError):
    """The API key is missing, unknown or counts no more."""

    code = "UNAUTHENTICATED"
    reason = "INVALID_API_KEY"
    openai_type = "invalid_request_error"
    openai_code = "invalid_api_key"


class InvalidCertificateError(UnauthenticatedError):
    """The client certificate has expired or was revoked."""

    reason = "INVALID_CERTIFICATE"


class InvalidSignatureError(UnauthenticatedError):
    """The signature of a call is missing, wrong, too old or was used before."""

    reason = "INVALID_SIGNATURE"


class PermissionDeniedError(EmbedsvcError):
    """The caller is known, and may not do this."""

    code = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"
    openai_type = "permission_error"


class RateLimitedError(EmbedsvcError):
    """The caller, or all callers together, have used up a limit of requests."""

    code = "RESOURCE_EXHAUSTED"
    reason = "RATE_LIMIT_EXCEEDED"
    openai_type = "requests"
    openai_code = "rate_limit_exceeded"


class TokensLimitedError(RateLimitedError):
    """The caller has used up a limit of tokens."""

    openai_type = "tokens"


class ModelNotFoundError(EmbedsvcError):
    """No model has this name or alias."""

    code = "NOT_FOUND"
    reason = "MODEL_NOT_FOUND"
    openai_type = "invalid_request_error"
    openai_code = "model_not_found"


class RequestTooLargeError(EmbedsvcError):
    """The message is larger than `limits.max_request_bytes`."""

    code = "RESOURCE_EXHAUSTED"
    reason = "REQUEST_TOO_LARGE"
    openai_type = "invalid_request_error"
    openai_code = "request_too_large"


class OverloadedError(EmbedsvcError):
    """The queue is full, no replica is healthy, or the server drains."""

    code = "UNAVAILABLE"
    reason = "OVERLOADED"
    openai_type = "server_error"
    openai_code = "overloaded"

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message, retry_after=retry_after)


class ProviderDownError(OverloadedError):
    """Nothing computes for this model now: no replica works, or the provider elsewhere is left alone."""


class DeadlineExceededError(EmbedsvcError):
    """The caller's deadline passed before its vectors were ready."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"
    openai_type = "server_error"
    openai_code = "timeout"


class ConfigurationError(Exception):
    """The server cannot start; the message names the setting and what to do."""
