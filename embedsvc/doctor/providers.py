"""Other providers: whether each is reached, takes its key, and has the models. No text is sent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx

from embedsvc.config import ProviderSettings, Settings
from embedsvc.doctor.edge import SECONDS
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.errors import ConfigurationError
from embedsvc.providers.tls import trusted
from embedsvc.secret.keeper import open_secrets
from embedsvc.trust import parsers

SUBJECT = Subject("providers")

LOOPBACK = ("127.0.0.1", "::1", "localhost")
OK, REFUSED, MISSING, LIMITED, FAULT = 200, (401, 403), (404, 405), 429, 500

UNREACHED = (
    "Start it, correct its url, or let this machine through to it: a network policy, a firewall. Callers of "
    "its models get 503 meanwhile, or what stands in for them"
)


async def look(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Ask each for the list of its models, which costs nothing."""
    found = await asyncio.gather(
        *(_look_at(name, provider, settings) for name, provider in settings.providers.items())
    )
    for findings in found:
        for finding in findings:
            yield finding


async def _look_at(name: str, provider: ProviderSettings, settings: Settings) -> list[Finding]:
    return [*_in_clear(name, provider), *[finding async for finding in _asked(name, provider, settings)]]


def _in_clear(name: str, provider: ProviderSettings) -> Iterator[Finding]:
    parts = urlsplit(provider.url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        yield SUBJECT.warning(
            f"{name} at {provider.url}: texts and its key travel in clear",
            "Have it show a certificate, and set an https url; or trust all that is between",
        )


async def _asked(name: str, provider: ProviderSettings, settings: Settings) -> AsyncIterator[Finding]:
    what, setting = f"{name} at {provider.url}", f"providers.{name}.key"
    refs = {setting: provider.key} if provider.key else {}
    try:
        verify = trusted(name, provider.ca)
        async with open_secrets(refs, settings.vault, settings.aws, parsers(settings)) as secrets:
            headers = {"Authorization": f"Bearer {secrets[setting].meaning}"} if secrets else {}
    except ConfigurationError as error:
        yield SUBJECT.error(f"{what} was not asked: {error}", "Write it there: docs/providers.md")
        return
    try:
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False, verify=verify) as http:
            answer = await http.get(f"{provider.url.rstrip('/')}/models", headers=headers)
    except httpx.HTTPError as error:
        yield SUBJECT.error(f"{what} does not answer: {error!r}", UNREACHED)
        return
    yield _judge(what, answer, provider)


def _judge(what: str, answer: httpx.Response, provider: ProviderSettings) -> Finding:
    status = answer.status_code
    if status == OK:
        return _judge_models(what, answer, provider)
    if status in REFUSED:
        advice = "Put a key of this provider where its setting key says: docs/providers.md"
        return SUBJECT.error(f"{what} does not take its key: {status}", advice)
    if status in MISSING:
        return SUBJECT.note(
            f"{what} answers, and has no list of models: neither they nor its key were checked"
        )
    if status == LIMITED or status >= FAULT:
        return SUBJECT.warning(f"{what} answers {status}", "It is not well now; ask again later")
    return SUBJECT.error(f"{what} answers {status}", "Correct its url: it ends before /embeddings")


def _judge_models(what: str, answer: httpx.Response, provider: ProviderSettings) -> Finding:
    known = _names(answer)
    if known is None:
        return SUBJECT.error(f"{what} answers something else than a list of models", "Correct its url")
    missing = [model for model in provider.models if model not in known]
    if missing:
        return SUBJECT.warning(
            f"{what} answers, and does not list {', '.join(missing)}",
            "Correct their names in its models; some servers take more names than they list",
        )
    return SUBJECT.ok(f"{what} answers, and has {', '.join(provider.models)}")


def _names(answer: httpx.Response) -> set[str] | None:
    try:
        found = answer.json()
    except ValueError:
        return None
    match found:
        case {"data": list(rows)}:
            return {str(row.get("id")) for row in rows if isinstance(row, dict)}
    return None
