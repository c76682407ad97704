"""Files of Compose, read as Compose reads them."""

from __future__ import annotations

import re

import yaml

from support.programs import ROOT

MAIN, CPU, COOLIFY = "docker-compose.yml", "docker-compose.cpu.yml", "docker-compose.coolify.yml"


class ComposeLoader(yaml.SafeLoader):
    """YAML with Compose's own tags."""


ComposeLoader.add_constructor("!reset", lambda _loader, _node: None)


def read_compose(name: str) -> dict:
    """A file of Compose, with every variable at its default."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / name).read_text())
    return yaml.load(text, ComposeLoader)


def bind_sources(service: dict) -> dict[str, str]:
    """The folders of the host that a service sees, by where it sees them."""
    found = {}
    for volume in service.get("volumes", []):
        if isinstance(volume, dict) and volume["type"] == "bind":
            found[volume["target"]] = volume["source"]
        elif isinstance(volume, str) and volume.startswith((".", "/")):
            source, target, *_ = volume.split(":")
            found[target] = source
    return found
