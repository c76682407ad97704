"""Whence a call comes, for the ledger."""

import ipaddress
import re
from urllib.parse import unquote

PEER = re.compile(r"ipv[46]:(.+):\d+")


def of_peer(peer: str) -> str:
    """The address of a gRPC peer, such as "ipv4:127.0.0.1:5000" or "ipv6:%5B::1%5D:5000"; else nothing."""
    found = PEER.fullmatch(unquote(peer))
    return _checked(found[1].strip("[]")) if found else ""


def forwarded(header: str | bytes | None) -> str:
    """The last address of `x-forwarded-for`: the one that the proxy itself has seen; else nothing."""
    return _checked(header.rpartition(",")[2].strip()) if isinstance(header, str) else ""


def _checked(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return ""
