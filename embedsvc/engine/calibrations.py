"""Where a model's calibration is, and whether it is of the weights that are served."""

from pathlib import Path

from embedsvc import calibration
from embedsvc.calibration import DATA, Calibration
from embedsvc.config import ModelSettings
from embedsvc.errors import ConfigurationError


def place(name: str, settings: ModelSettings) -> Path:
    """The file of a model's calibration: the configured one, else the one of its name in the folder."""
    overrides = settings.settings.get(name)
    if overrides and overrides.calibration:
        return overrides.calibration
    return settings.calibrations / f"{name}.json"


def find(name: str, revision: str, settings: ModelSettings) -> Calibration | None:
    """Find a model's calibration: its file, else the shipped one of this revision; None where there is none.

    Raises:
        ConfigurationError: The file cannot be read, or is of another model or revision.
    """
    path = place(name, settings)
    overrides = settings.settings.get(name)
    if (overrides and overrides.calibration) or path.exists():
        return _of(path, name, revision)
    shipped = DATA / "calibrations" / f"{name}.json"
    if not shipped.is_file():
        return None
    found = calibration.read(shipped)
    return found if found.revision == revision else None


def _of(path: Path, name: str, revision: str) -> Calibration:
    found = calibration.read(path)
    if (found.model, found.revision) != (name, revision):
        raise ConfigurationError(
            f"calibration {path}: it is of {found.model} at {found.revision}, and {name} is served at "
            f"{revision}; make it anew with `embedsvc calibrate {name}`, or remove it"
        )
    return found
