"""What a signature covers, and how it is made: pure functions. docs/signing.md has the format for people."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field

VERSION = "embedsvc-v1"
"""The first line of what is signed: whatever changes the format changes this."""

AUTHORIZATION = "authorization"
SIGNER = "x-embedsvc-signer"
TIME = "x-embedsvc-time"
NONCE = "x-embedsvc-nonce"
SIGNATURE = "x-embedsvc-signature"
HEADERS = (SIGNER, TIME, NONCE, SIGNATURE)
"""The metadata that a signed request has."""

SCHEME = "v1="
"""What the value of `x-embedsvc-signature` starts with."""

LEAST_SECRET_BYTES = 32
"""As long as what the HMAC gives: a shorter secret could be guessed sooner (RFC 2104, section 3)."""

# ASCII alone, and never a newline: each field is one line, so that no two claims have the same text.
METHOD = re.compile(r"/[A-Za-z0-9._]+/[A-Za-z0-9_]+")
DIGEST = re.compile(r"[0-9a-f]{64}")
FORMS = {
    TIME: (re.compile(r"0|[1-9][0-9]{0,11}"), "seconds since the epoch, in decimal"),
    NONCE: (re.compile(r"[A-Za-z0-9_-]{16,64}"), "16 to 64 characters of A-Z a-z 0-9 _ -"),
    SIGNER: (re.compile(r"[A-Za-z0-9._:/@-]{1,128}"), "1 to 128 characters of A-Z a-z 0-9 . _ : / @ -"),
    SIGNATURE: (re.compile(SCHEME + r"[0-9a-f]{64}"), f"{SCHEME} and 64 digits of lowercase hexadecimal"),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signature covers.

    Attributes:
        method: The full name of the RPC, such as "/embedsvc.v1.EmbeddingService/Embed".
        digest: What `digest` makes of the request message; of no bytes, for a stream.
        authorization: The value of the metadata `authorization`; empty where there is none.
        time: Seconds since the epoch, in decimal.
        nonce: What makes this signature one of its kind.
        signer: The name of who signs.
    """

    method: str
    digest: str
    authorization: str = field(repr=False)
    time: str
    nonce: str
    signer: str


def digest(content: bytes) -> str:
    """Return the SHA-256 of bytes in lowercase hexadecimal."""
    return hashlib.sha256(content).hexdigest()


OPENING = digest(b"")
"""The digest of a stream: it is signed when it opens, before its first message."""


def canonical(claim: Claim) -> bytes:
    """Return the bytes that are signed: seven lines, without a newline at the end.

    Raises:
        ValueError: A field has another form; the message has its name.
    """
    _check(claim)
    lines = (
        VERSION,
        claim.method,
        claim.digest,
        digest(claim.authorization.encode()),
        claim.time,
        claim.nonce,
        claim.signer,
    )
    return "\n".join(lines).encode("ascii")


def signature(text: bytes, secret: bytes) -> str:
    """Return the value of `x-embedsvc-signature`: HMAC-SHA256 (RFC 2104) in lowercase hexadecimal.

    Args:
        text: What `canonical` returned.
        secret: What signer and server share.

    Raises:
        ValueError: The secret is too short.
    """
    return SCHEME + hmac.digest(check_secret(secret), text, "sha256").hex()


def sign(claim: Claim, secret: bytes) -> list[tuple[str, str]]:
    """Return the metadata that makes a call a signed one.

    Raises:
        ValueError: A field has another form, or the secret is too short.
    """
    signed = signature(canonical(claim), secret)
    return [(SIGNER, claim.signer), (TIME, claim.time), (NONCE, claim.nonce), (SIGNATURE, signed)]


def check_form(name: str, value: str) -> None:
    """Raise ValueError where metadata of this name cannot have this value; the message says what it can."""
    form, words = FORMS[name]
    if not form.fullmatch(value):
        raise ValueError(f"{name} must be {words}")


def check_secret(secret: bytes) -> bytes:
    """Return a secret that is long enough.

    Raises:
        ValueError: It is not.
    """
    if len(secret) < LEAST_SECRET_BYTES:
        raise ValueError(
            f"a signing secret needs at least {LEAST_SECRET_BYTES} bytes, and this one has {len(secret)}"
        )
    return secret


def parse_secrets(content: bytes) -> tuple[bytes, ...]:
    """Read the secrets of a file: one a line, the one that signs first; empty lines are passed over.

    Raises:
        ValueError: There is none, or one is too short. The message has no byte of it.
    """
    found = tuple(check_secret(line) for line in map(bytes.strip, content.splitlines()) if line)
    if not found:
        raise ValueError("there is no signing secret")
    return found


def _check(claim: Claim) -> None:
    if not METHOD.fullmatch(claim.method):
        raise ValueError("the method must be as in /embedsvc.v1.EmbeddingService/Embed")
    if not DIGEST.fullmatch(claim.digest):
        raise ValueError("the digest must be a SHA-256 in lowercase hexadecimal")
    for name, value in ((TIME, claim.time), (NONCE, claim.nonce), (SIGNER, claim.signer)):
        check_form(name, value)
