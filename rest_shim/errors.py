"""OpenAI's error body, sent as trailing metadata that Envoy moves into the response.

The shape is of https://platform.openai.com/docs/guides/error-codes: `{"error": {"message", "type",
"param", "code"}}`.
"""

import json
import math

from embedsvc.errors import EmbedsvcError, RateLimitedError, UnauthenticatedError

BODY = "x-openai-error"
"""Read by envoy/openai.lua."""

SERVICE = "/embedsvc.v1.OpenAIService/"


def to_body(error: EmbedsvcError) -> str:
    """An error as OpenAI writes it: JSON in ASCII, fit for a header."""
    return json.dumps(
        {
            "error": {
                "message": error.message,
                "type": error.openai_type,
                "param": error.param,
                "code": error.openai_code,
            }
        }
    )


def trailers(method: str, error: EmbedsvcError) -> list[tuple[str, str]]:
    """Trailing metadata for a failed call; none for services that Envoy does not transcode."""
    if not method.startswith(SERVICE):
        return []
    return [(BODY, to_body(error)), *_advice(error)]


def _advice(error: EmbedsvcError) -> list[tuple[str, str]]:
    """What to send, or when to try again. OpenAI's SDKs try all that is 429 again, unless told not to."""
    if isinstance(error, UnauthenticatedError):
        return [("www-authenticate", "Bearer")]
    if error.retry_after is not None:
        return [("retry-after", str(math.ceil(error.retry_after)))]
    return [("x-should-retry", "false")] if isinstance(error, RateLimitedError) else []
