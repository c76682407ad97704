"""OpenAI's official SDK, as providers are called with it.

Nothing is taken from the environment, and nothing goes out that is not named here: neither what the SDK says
of this machine, nor anything of a caller. Import it only where there is a provider: it takes a second.
"""

import asyncio
import math
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import cast

import httpx2
import openai

from embedsvc.config import ProviderSettings
from embedsvc.providers.outcome import CallError, Outcome

NO_KEY = "none"
"""What is sent to a server that needs no key."""

HEADERS: Mapping[str, str] = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # so that an answer is no larger than what is read
    "Content-Type": "application/json",
    "User-Agent": f"embedsvc/{version('embedsvc')}",
}

MOST: ContextVar[int] = ContextVar("most")
"""Bytes of an answer to the call under way, at most: the SDK hands nothing else on to what reads it."""

CALLERS_FAULT, LIMITED, FAULT, REDIRECTED = (400, 413, 422), 429, 500, 300
OUR_TIMING = (408, 409)
"""Statuses by which a server says that the same call may go well another time."""

WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""A code of an error, and no sentence, which may have a text or a key in it."""


class Sdk:
    """Calls one provider. Open it with `open_sdk`."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def embed(self, model: str, texts: Sequence[str], most: int) -> bytes:
        """Ask for the vectors of texts; return the answer as it came.

        Args:
            model: The provider's own name for it.
            texts: What is sent.
            most: Bytes of an answer; one with more is not read to its end.

        Raises:
            CallError: There is none, after all tries.
        """
        MOST.set(most)
        try:
            answer = await self._client.embeddings.with_raw_response.create(
                model=model, input=list(texts), encoding_format="base64"
            )
        except openai.OpenAIError as error:
            raise _failure(error) from None  # its text may be the caller's
        return answer.content


@asynccontextmanager
async def open_sdk(
    settings: ProviderSettings, key: Callable[[], str], trusted: ssl.SSLContext
) -> AsyncIterator[Sdk]:
    """Keep connections to a provider while the context is open.

    Args:
        settings: Where it is, and how it is called.
        key: Returns its API key, as it is now.
        trusted: Who must have signed its certificate.
    """
    limits = httpx2.Limits(max_connections=settings.concurrency, keepalive_expiry=30)
    plain = httpx2.AsyncHTTPTransport(verify=trusted, limits=limits, trust_env=False)
    transport = _Bounded(plain, settings.timeout_seconds)
    async with httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False) as http:
        yield Sdk(_client(settings, key, http))


class _Client(openai.AsyncOpenAI):
    """The SDK's client; what it would tell of this machine, or take from the environment, is left out."""

    @property
    def default_headers(self) -> dict[str, str | openai.Omit]:
        """Those of every request, beside the key and how often it was tried."""
        return {**HEADERS}


def _client(settings: ProviderSettings, key: Callable[[], str], http: httpx2.AsyncClient) -> _Client:
    async def current() -> str:
        return key()

    return _Client(
        api_key=current,
        admin_api_key="",  # or it would be taken from the environment, as all that is not set
        organization="",
        project="",
        webhook_secret="",
        base_url=settings.url,
        timeout=settings.timeout_seconds,
        max_retries=settings.retries,
        http_client=http,
    )


class _Bounded(httpx2.AsyncBaseTransport):
    """Reads every answer whole: within the time of one try, and up to as many bytes as one may have.

    Args:
        inner: Sends.
        seconds: From the connection to the last byte.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, seconds: float) -> None:
        self._inner = inner
        self._seconds = seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `httpx2.AsyncBaseTransport`."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._inner.handle_async_request(request)
                try:
                    content = await self._read(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise httpx2.ReadTimeout("one try takes no longer", request=request) from None
        return httpx2.Response(response.status_code, headers=_unframed(response), content=content)

    async def aclose(self) -> None:
        """Let connections go."""
        await self._inner.aclose()

    async def _read(self, response: httpx2.Response) -> bytes:
        content, most = bytearray(), MOST.get()
        async for part in cast("httpx2.AsyncByteStream", response.stream):
            content += part
            if len(content) > most:
                raise CallError("malformed", f"the answer has more than {most} bytes")
        return bytes(content)


def _unframed(response: httpx2.Response) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, without how its bytes were sent."""
    framing = (b"content-length", b"transfer-encoding", b"content-encoding")
    return [(name, value) for name, value in response.headers.raw if name.lower() not in framing]


def _failure(error: openai.OpenAIError) -> CallError:
    match error:
        case openai.APITimeoutError():
            return CallError("timeout", "no answer in time")
        case openai.APIConnectionError():
            return CallError("unreachable", type(error.__cause__ or error).__name__)
        case openai.APIStatusError(status_code=status):
            return CallError(_outcome(status), _detail(error), _retry_after(error.response.headers))
    return CallError("failed", type(error).__name__)


def _outcome(status: int) -> Outcome:
    if status == LIMITED:
        return "limited"
    if status >= FAULT or status in OUR_TIMING:
        return "failed"
    return "rejected" if status in CALLERS_FAULT else "refused"


def _detail(error: openai.APIStatusError) -> str:
    """The status, and what the provider calls the error, where that is a word."""
    words = (word for word in (error.type, error.code) if isinstance(word, str) and WORD.fullmatch(word))
    return " ".join((f"status {error.status_code}", *words))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
