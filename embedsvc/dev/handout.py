"""What the containers of docker-compose.yml are given: a folder for each role, with what that role may have.

A folder, and not files one by one: a file that is renamed into its place reaches a container only where the
folder around it is what is mounted.
"""

import secrets
from pathlib import Path

from embedsvc.dev.files import write_changed, write_private

ROLES = {
    "server": ("ca.crt", "server.crt", "server.key", "health.crt", "health.key"),
    "envoy": ("ca.crt", "envoy.crt", "envoy.key", "edge.crt", "edge.key"),
}
"""The certificates and keys of each role, by the names that they have in `certs`."""

KEYS = "server/api_keys"
GRAFANA = "grafana/admin_password"


def hand_out(run: Path) -> None:
    """Lay out `secrets` in a state folder. Certificates follow those in `certs`, the rest is made once.

    Args:
        run: The folder of the state, in which certificates and keys are.
    """
    for role, names in ROLES.items():
        for name in names:
            write_changed(_place(run, f"{role}/{name}"), (run / "certs" / name).read_bytes())
    _make_once(_place(run, KEYS), (run / "api_keys").read_bytes())
    _make_once(_place(run, GRAFANA), secrets.token_urlsafe(24).encode())


def _place(run: Path, name: str) -> Path:
    path = run / "secrets" / name
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    return path


def _make_once(path: Path, data: bytes) -> None:
    if not path.exists():
        write_private(path, data)
