"""A gate with everything behind it: a store with keys, limits, signatures, a revocation list, a ledger."""

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from embedsvc.access import revocation
from embedsvc.access.account import Account
from embedsvc.access.gate import Gate, Knock, Policy
from embedsvc.access.holdings import Holdings
from embedsvc.config import AuthSettings, IdentitySettings, LedgerSettings, Settings
from embedsvc.keys import token
from embedsvc.keys.finder import KeyFinder
from embedsvc.keys.ring import KeyRing, open_ring
from embedsvc.ledger.ledger import Ledger, open_ledger
from embedsvc.limits.limiter import Limiter, open_limiter
from embedsvc.metrics import Metrics
from embedsvc.secret.keeper import Secret
from embedsvc.secret.reference import SecretRef
from embedsvc.signing.canonical import digest
from embedsvc.signing.signer import Signer
from embedsvc.signing.verifier import Verifier
from embedsvc.store.protocols import Store
from embedsvc.store.records import KeyRecord
from embedsvc.store.sqlite.store import open_sqlite

METHOD = "/embedsvc.v1.EmbeddingService/Embed"
MESSAGE = b"hello"
SECRETS = {"search": b"a" * 32, "batch": b"b" * 32}
REF = SecretRef("file", "secret")
ADDRESS = "192.0.2.7"
PATH = "spiffe://embedsvc.internal"

IDENTITIES = (
    IdentitySettings(name="envoy", match=(f"{PATH}/envoy",), forwards=True),
    IdentitySettings(name="search", match=(f"{PATH}/search",), key="optional", signing_secret=REF),
    IdentitySettings(
        name="batch", match=(f"{PATH}/batch",), key="refused", signed="required", signing_secret=REF
    ),
    IdentitySettings(name="lister", match=(f"{PATH}/lister",), key="optional", calls=("models",)),
)


@dataclass
class House:
    """The gate, and what is behind it."""

    gate: Gate
    ledger: Ledger
    limiter: Limiter
    ring: KeyRing
    store: Store
    revoked: Secret

    async def add(self, name="alice", **fields):
        """Make a key; return it."""
        key = token.generate()
        record = KeyRecord(token.digest(key), token.prefix(key), name, created_at=time.time())
        await self.store.create_key(replace(record, **fields))
        return key

    def change(self, key, **fields):
        """Change what is known of a key."""
        known = self.ring._known[token.digest(key)]
        known.record = replace(known.record, **fields)

    async def account(self, certificate, **fields):
        """The account of a caller with a new key."""
        guest = await self.gate.enter(knock(certificate, await self.add(**fields)))
        return Account(guest, self.gate, self.limiter, time.monotonic())

    @property
    def failures(self):
        """What was written down since this was last asked: prefix, reason and address of each kind."""
        return [(row.prefix, row.reason, row.address) for row in self.ledger._tally.take()]


@asynccontextmanager
async def open_house(path, crl, **sections):
    """Have it all while the context is open, with these sections of the settings."""
    settings = Settings(auth=AuthSettings(identities=IDENTITIES), **sections)
    metrics = Metrics()
    revoked = Secret(REF, crl, revocation.parse)
    policy = Policy(IDENTITIES, revoked)
    verifier = Verifier({name: lambda secret=secret: [secret] for name, secret in SECRETS.items()})
    async with (
        open_sqlite(path) as store,
        open_ledger(store, LedgerSettings(), metrics) as ledger,
        open_limiter(store, metrics.limits) as limiter,
        open_ring(store, metrics) as ring,
    ):
        gate = Gate(policy, KeyFinder(None, ring), verifier, Holdings(settings, limiter), ledger)
        yield House(gate, ledger, limiter, ring, store, revoked)


def knock(certificate, key=None, metadata=None, **fields):
    """A call, with a key or without one."""
    sent = {} if key is None else {"authorization": f"Bearer {key}"}
    call = Knock(
        method=METHOD,
        digest=digest(MESSAGE),
        metadata={**sent, **(metadata or {})},
        certificate=certificate,
        peer=lambda: f"ipv4:{ADDRESS}:5000",
    )
    return replace(call, **fields)


def signed(signer, key=None):
    """The metadata of a signed call."""
    authorization = "" if key is None else f"Bearer {key}"
    return dict(Signer(signer, lambda: [SECRETS[signer]]).sign(METHOD, MESSAGE, authorization))
