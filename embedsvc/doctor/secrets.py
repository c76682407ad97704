"""Secrets: whether each can be had and means something; none is ever shown."""

import asyncio
import stat
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from embedsvc.config import Settings
from embedsvc.doctor import edge
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.errors import ConfigurationError
from embedsvc.secret.keeper import open_secrets
from embedsvc.secret.reference import SecretRef
from embedsvc.trust import KEYS, REVOKED, parsers

SUBJECT = Subject("secrets")

ADVICE = {
    "file": "Write it into that file, readable to the user that the server runs as: docs/secrets.md",
    "vault": "See [vault] and the policy of the server's role: docs/secrets.md#vault",
    "aws": "See [aws] and what the machine's role may read: docs/secrets.md#aws",
}
PUBLIC = {KEYS, REVOKED}
"""What is watched like a secret, and is none: digests, and lists of certificates."""


async def look(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Read every secret once, as the server does."""
    for finding in await asyncio.gather(
        *(_read(setting, ref, settings) for setting, ref in settings.references.items())
    ):
        yield finding
    for finding in await asyncio.to_thread(lambda: list(_look_at_modes(settings))):
        yield finding


async def _read(setting: str, ref: SecretRef, settings: Settings) -> Finding:
    try:
        async with open_secrets({setting: ref}, settings.vault, settings.aws, parsers(settings)):
            return SUBJECT.ok(f"{setting} ({ref}) is read, and is what it should be")
    except ConfigurationError as error:
        return SUBJECT.error(str(error), ADVICE[ref.scheme])


def _look_at_modes(settings: Settings) -> Iterator[Finding]:
    files = dict(_files(settings))
    there = {setting: path for setting, path in files.items() if edge.is_there(path)}
    bare = {setting: path for setting, path in there.items() if path.stat().st_mode & stat.S_IROTH}
    for setting, path in bare.items():
        yield SUBJECT.warning(
            f"{setting} {path} can be read by everybody on this machine",
            f"chmod o-rwx {path}; in Kubernetes, defaultMode: 0440 of the volume",
        )
    if there and not bare:
        yield SUBJECT.ok(f"nobody else can read {', '.join(there)}")


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    tls, chosen = settings.tls, settings.edge
    yield "tls.key", tls.key
    yield "edge.key", chosen.key
    if edge.is_here(settings):
        yield "edge.public_key", chosen.public_key
        yield "edge.grpc_key", chosen.grpc_key
    for setting, ref in settings.references.items():
        if ref.scheme == "file" and setting not in PUBLIC:
            yield setting, Path(ref.name)
