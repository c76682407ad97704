"""The workflows of the repository, read as GitHub reads them."""

from __future__ import annotations

import yaml

from support.programs import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((GITHUB / "workflows").iterdir())}


def steps_of(job: dict) -> str:
    """The steps of a job as text, in their order."""
    return yaml.safe_dump(job["steps"], sort_keys=False, width=1000)
