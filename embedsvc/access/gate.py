"""Lets callers in: by certificate, key and signature, as the policy has it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import structlog

from embedsvc.access import address, forwarded, refusal
from embedsvc.access.holdings import Holdings
from embedsvc.access.peer import Peer, read_peer
from embedsvc.access.policy import find_identity
from embedsvc.access.principal import Guest
from embedsvc.access.refusal import Refusal
from embedsvc.access.revocation import Revoked, is_revoked
from embedsvc.config import IdentitySettings
from embedsvc.errors import InvalidSignatureError
from embedsvc.keys import token
from embedsvc.keys.finder import KeyFinder
from embedsvc.ledger.ledger import Ledger
from embedsvc.secret.keeper import Secret
from embedsvc.signing.canonical import AUTHORIZATION
from embedsvc.signing.verifier import Signed, Verifier, is_signed
from embedsvc.store.records import KeyRecord

SCHEME = "bearer "
FORWARDED = "x-forwarded-for"
MOST_NAMES = 4096
"""Certificates, by their names, whose identity is remembered."""

Metadata = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Knock:
    """A call that wants in.

    Attributes:
        method: The full name of the RPC.
        digest: The SHA-256 of the message in hexadecimal, of no bytes for a stream; only where it is signed.
        metadata: What came with the call.
        certificate: The peer's, in PEM.
        peer: Says the peer's address, as gRPC writes it.
    """

    method: str
    digest: str
    metadata: Metadata
    certificate: bytes
    peer: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may come in.

    Attributes:
        identities: Whose certificates.
        revoked: Which of them count no more; None: nobody has a list.
    """

    identities: Sequence[IdentitySettings]
    revoked: Secret[Revoked] | None = None


@dataclass(slots=True)
class _Visit:
    """What is known of a caller so far.

    Attributes:
        peer: Its certificate.
        identity: Whose that is.
        forwarded: Whether somebody else has brought the call here.
    """

    peer: Peer | None = None
    identity: IdentitySettings | None = None
    forwarded: bool = False


class Gate:
    """Finds out who calls, or refuses; refusals are written down."""

    def __init__(
        self, policy: Policy, keys: KeyFinder, verifier: Verifier, holdings: Holdings, ledger: Ledger
    ) -> None:
        self._policy = policy
        self._find_identity = lru_cache(MOST_NAMES)(partial(find_identity, policy.identities))
        self._keys = keys
        self._verifier = verifier
        self._holdings = holdings
        self._ledger = ledger

    async def enter(self, knock: Knock) -> Guest:
        """Return who calls.

        Raises:
            UnauthenticatedError: It is not known.
            PermissionDeniedError: Its certificate is good, and in no policy.
            OverloadedError: Its key could not be looked up in time.
        """
        visit = _Visit()
        try:
            peer, identity = self._meet(knock, visit)
            key = await self._find_key(identity, knock.metadata)
            self._verify(identity, knock)
        except Refusal as refused:
            self._write_down(refused.why.reason, visit, knock)
            raise refused.why.told(refused.why.message) from None
        except InvalidSignatureError:
            self._write_down("bad_signature", visit, knock)
            raise
        return Guest(self._holdings.of(key, identity), peer)

    async def again(self, guest: Guest) -> Guest:
        """Return who called earlier, as it is known now. Raises as `enter`; nothing is written down."""
        principal, key = guest.principal, None
        try:
            self._refuse_dead(guest.peer)
            if principal.key:
                key = await self._find_live(principal.key)
        except Refusal as refused:
            raise refused.why.told(refused.why.message) from None
        return Guest(self._holdings.of(key, principal.identity), guest.peer)

    def _meet(self, knock: Knock, visit: _Visit) -> tuple[Peer, IdentitySettings]:
        """Find out whose certificate it is; of one who speaks for others, theirs that it passes on."""
        visit.peer = self._read_peer(knock.certificate)
        visit.identity = self._identify(visit.peer)
        if visit.identity.forwards:
            visit.forwarded = True
            if (header := knock.metadata.get(forwarded.HEADER)) is not None:
                visit.identity = None
                visit.peer = self._read_peer(forwarded.read_certificate(header))
                visit.identity = self._identify(visit.peer)
        return visit.peer, visit.identity

    def _read_peer(self, certificate: bytes) -> Peer:
        try:
            peer = read_peer(certificate)
        except ValueError:
            raise Refusal(refusal.NO_CERTIFICATE) from None
        self._refuse_dead(peer)
        return peer

    def _refuse_dead(self, peer: Peer) -> None:
        if peer.ends < time.time():
            raise Refusal(refusal.EXPIRED_CERTIFICATE)
        if self._policy.revoked and is_revoked(peer, self._policy.revoked.meaning):
            raise Refusal(refusal.REVOKED_CERTIFICATE)

    def _identify(self, peer: Peer) -> IdentitySettings:
        identity = self._find_identity(peer.names)
        if identity is None:
            raise Refusal(refusal.UNKNOWN_IDENTITY)
        return identity

    async def _find_key(self, identity: IdentitySettings, metadata: Metadata) -> KeyRecord | None:
        key = _bearer(metadata)
        if key is None:
            if identity.key == "required":
                raise Refusal(refusal.NO_KEY)
            return None
        if identity.key == "refused":
            raise Refusal(refusal.KEY_REFUSED)
        if not token.is_key(key):
            raise Refusal(refusal.MALFORMED_KEY)
        return await self._find_live(token.digest(key))

    async def _find_live(self, digest: str) -> KeyRecord:
        key = await self._keys.find(digest)
        if key is None:
            raise Refusal(refusal.UNKNOWN_KEY)
        if key.revoked_at is not None:
            raise Refusal(refusal.REVOKED_KEY)
        if key.expires_at is not None and key.expires_at <= time.time():
            raise Refusal(refusal.EXPIRED_KEY)
        return key

    def _verify(self, identity: IdentitySettings, knock: Knock) -> None:
        if not is_signed(knock.metadata):
            if identity.signed == "required":
                raise Refusal(refusal.NO_SIGNATURE)
            return
        signed = Signed.of(knock.method, knock.digest, knock.metadata)
        # First: else another service could use up the nonce of a call that it has seen.
        if signed.claim.signer != identity.name:
            raise Refusal(refusal.OTHER_SIGNER)
        self._verifier.verify(signed)

    def _write_down(self, reason: str, visit: _Visit, knock: Knock) -> None:
        _tell(reason, visit)
        key = _bearer(knock.metadata) or ""
        whence = address.of_peer(knock.peer())
        if visit.forwarded:
            whence = address.forwarded(knock.metadata.get(FORWARDED)) or whence
        # What is not a key may be anything, another service's password included.
        self._ledger.add_failure(token.prefix(key) if token.is_key(key) else "", reason, whence)


def _tell(reason: str, visit: _Visit) -> None:
    """Have the log's line of this call say why it was refused, and whose certificate it came with."""
    structlog.contextvars.bind_contextvars(
        refused=reason,
        identity=visit.identity.name if visit.identity else "",
        certificate=list(visit.peer.names) if visit.peer else [],
    )


def _bearer(metadata: Metadata) -> str | None:
    """The key of a call, or what stands in its place; None where nothing does."""
    value = metadata.get(AUTHORIZATION)
    if value is None:
        return None
    if not isinstance(value, str) or not value.lower().startswith(SCHEME):
        return ""
    return value[len(SCHEME) :].strip(" ")
