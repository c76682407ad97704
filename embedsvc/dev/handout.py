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
GRAFANA = "grafana_admin_password"


def hand_out(run: Path) -> None:
    """Lay out `secrets` in a state folder. Certificates follow those in `certs`, the rest is made once.

    Args:
        run: The folder of the state, in which certificates and keys are.
    """
    for role, names in ROLES.items():
        folder = run / "secrets" / role
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            write_changed(folder / name, (run / "certs" / name).read_bytes())
    _make_once(run / "secrets" / KEYS, (run / "api_keys").read_bytes())
    _make_once(run / "secrets" / GRAFANA, secrets.token_urlsafe(24).encode())


def _make_once(path: Path, data: bytes) -> None:
    if not path.exists():
        write_private(path, data)
