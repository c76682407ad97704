"""Where a model's parts come from: its files, its vocabulary and what builds its encoder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from embedsvc.calibration import Calibration
from embedsvc.config import Settings
from embedsvc.engine import calibrations, choice, fake
from embedsvc.engine.catalog import CATALOG, aliases_of
from embedsvc.engine.choice import EncoderChoice
from embedsvc.engine.cpu import warn_without_vnni
from embedsvc.engine.encoder import Encoder
from embedsvc.engine.files import FOLDER, ModelFiles, find
from embedsvc.engine.fingerprint import fingerprint
from embedsvc.engine.tokenizer import ModelTokenizer, load_tokenizer

SPACE_VERSION = 1
"""Of what our own encoders compute: to be raised when the same weights give other vectors than before."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model before its weights are loaded.

    Attributes:
        name: Its canonical name.
        aliases: Other names that it answers to.
        primary: Whether requests that name no model get it.
        allows_dimensions: Whether its vectors may be cut.
        dimensions: What they are cut to where a request does not say; None: to nothing.
        files: What its files say.
        space: All that its vectors depend on beside a request: vectors of the same text that were made in
            the same space are the same, and those of other spaces must never be mixed.
        calibration: How its numbers become bytes; None: they cannot.
    """

    name: str
    aliases: Sequence[str]
    primary: bool
    allows_dimensions: bool
    dimensions: int | None
    files: ModelFiles
    space: str
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that can be loaded.

    Attributes:
        card: What is known of it.
        tokenizer: Its vocabulary.
        build: Makes an encoder for a device; takes seconds, and is called in the replica's thread.
    """

    card: ModelCard
    tokenizer: ModelTokenizer
    build: Callable[[str], Encoder]

    def has_weights_of(self, other: "ModelSource") -> bool:
        """Whether replicas of another source do for this one, too."""
        return (self.card.files, self.card.space) == (other.card.files, other.card.space)


def open_source(name: str, settings: Settings, devices: Sequence[str] = ("cpu",)) -> ModelSource:
    """Find a configured model and read all but its weights; of those in a folder, what they are.

    Args:
        name: Which.
        settings: What is configured.
        devices: Where it is to run.

    Raises:
        ConfigurationError: Its files are not there or not right.
    """
    if settings.engine.encoder in fake.ENCODERS:
        made_up = ModelFiles(
            folder=Path(),
            revision="fake",
            max_tokens=fake.MAX_TOKENS,
            normalized=True,
            prompts={},
            dimensions=fake.DIMENSIONS,
            weights_bytes=fake.WEIGHTS_BYTES,
        )
        files = _capped(made_up, name, settings)
        return ModelSource(
            _card(name, files, settings, "none"),
            ModelTokenizer(fake.tokenizer(), name, files.max_tokens),
            fake.ENCODERS[settings.engine.encoder],
        )
    if settings.engine.precision == "int8":
        warn_without_vnni()
    files = _capped(_identified(find(name, settings.models)), name, settings)
    precisions = {choice.find_precision(settings.engine.precision, device) for device in devices}
    calibration = calibrations.find(name, files.revision, settings.models)
    return ModelSource(
        replace(_card(name, files, settings, "+".join(sorted(precisions))), calibration=calibration),
        ModelTokenizer(load_tokenizer(files.folder), name, files.max_tokens),
        partial(choice.build, _choice(files, settings)),
    )


def _identified(files: ModelFiles) -> ModelFiles:
    """Say what the files in a folder are; the others have the revision that they were published as."""
    if files.revision != FOLDER:
        return files
    return replace(files, revision=f"{FOLDER}-{fingerprint(files.folder)}")


def _choice(files: ModelFiles, settings: Settings) -> EncoderChoice:
    engine = settings.engine
    return EncoderChoice(
        files.folder,
        engine.encoder,
        engine.precision,
        engine.batch_tokens,
        engine.batch_texts,
        cache=settings.models.cache,
        fingerprint=files.revision.removeprefix(f"{FOLDER}-") if files.revision.startswith(FOLDER) else None,
    )


def _capped(files: ModelFiles, name: str, settings: Settings) -> ModelFiles:
    overrides = settings.models.settings.get(name)
    if overrides is None or overrides.max_tokens is None:
        return files
    return replace(files, max_tokens=min(files.max_tokens, overrides.max_tokens))


def _card(name: str, files: ModelFiles, settings: Settings, precision: str) -> ModelCard:
    entry, overrides = CATALOG.get(name), settings.models.settings.get(name)
    primary = name == settings.models.primary
    return ModelCard(
        name=name,
        aliases=aliases_of(name, overrides.aliases if overrides else (), primary=primary),
        primary=primary,
        allows_dimensions=bool(
            (entry and entry.trained_for_dimensions) or (overrides and overrides.allow_dimensions)
        ),
        dimensions=overrides.dimensions if overrides else None,
        files=files,
        space=json.dumps(
            [SPACE_VERSION, name, files.revision, settings.engine.encoder, precision, files.max_tokens]
        ),
    )
