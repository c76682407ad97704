"""Certificates that count no more, from revocation lists (RFC 5280, section 5).

gRPC takes no such lists: a revoked certificate still makes a connection, and each of its calls is refused.
"""

import re

from cryptography import x509

from embedsvc.access.peer import Peer

BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)

Revoked = frozenset[tuple[bytes, int]]
"""The issuer and the serial number of each."""


def parse(content: bytes) -> Revoked:
    """Read one or several lists in PEM. Whose they are is not checked: whoever writes the file decides.

    Raises:
        ValueError: There is none, or it does not parse.
    """
    blocks = BLOCK.findall(content)
    if not blocks:
        raise ValueError("there is no revocation list in PEM")
    lists = [x509.load_pem_x509_crl(block) for block in blocks]
    return frozenset((crl.issuer.public_bytes(), each.serial_number) for crl in lists for each in crl)


def is_revoked(peer: Peer, revoked: Revoked) -> bool:
    """Whether a list has a certificate."""
    return (peer.issuer, peer.serial) in revoked
