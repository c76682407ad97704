"""Envoy's part of this machine."""

from pathlib import Path

import httpx

from embedsvc.config import Settings, reachable

SECONDS = 3.0
"""How long a page of this machine may take."""


def is_here(settings: Settings) -> bool:
    """Whether Envoy's own files are on this machine.

    A container of the server has the settings of Envoy too, but none of its private keys; servers that Envoy
    finds by their names may be anywhere.
    """
    return not settings.edge.upstreams or is_there(settings.edge.public_certificate)


def is_there(path: Path) -> bool:
    """Whether there is something that this user can look at; `Path.exists` fails in folders of others."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def pages(host: str, port: int) -> httpx.AsyncClient:
    """What reads pages of this machine, whatever proxy the environment names."""
    at = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return httpx.AsyncClient(base_url=f"http://{at}:{port}", timeout=SECONDS, trust_env=False)


def admin(settings: Settings) -> httpx.AsyncClient:
    """What reads Envoy's admin page."""
    return pages(reachable(settings.edge.admin_host), settings.edge.admin_port)
