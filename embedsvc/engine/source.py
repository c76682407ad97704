"""Where a model's parts come from: its files, its vocabulary and what builds its encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from embedsvc.config import Settings
from embedsvc.engine import choice, fake
from embedsvc.engine.catalog import CATALOG, aliases_of
from embedsvc.engine.choice import EncoderChoice
from embedsvc.engine.cpu import warn_without_vnni
from embedsvc.engine.encoder import Encoder
from embedsvc.engine.files import ModelFiles, find
from embedsvc.engine.tokenizer import ModelTokenizer, load_tokenizer


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
    """

    name: str
    aliases: Sequence[str]
    primary: bool
    allows_dimensions: bool
    dimensions: int | None
    files: ModelFiles


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


def open_source(name: str, settings: Settings) -> ModelSource:
    """Find a configured model and read all but its weights.

    Raises:
        ConfigurationError: Its files are not there or not right.
    """
    if settings.engine.encoder in fake.ENCODERS:
        made_up = ModelFiles(Path(), "fake", fake.MAX_TOKENS, normalized=True, prompts={})
        files = _capped(made_up, name, settings)
        return ModelSource(
            _card(name, files, settings),
            ModelTokenizer(fake.tokenizer(), name, files.max_tokens),
            fake.ENCODERS[settings.engine.encoder],
        )
    if settings.engine.precision == "int8":
        warn_without_vnni()
    files = _capped(find(name, settings.models), name, settings)
    return ModelSource(
        _card(name, files, settings),
        ModelTokenizer(load_tokenizer(files.folder), name, files.max_tokens),
        partial(choice.build, _choice(files.folder, settings)),
    )


def _choice(folder: Path, settings: Settings) -> EncoderChoice:
    engine, cache = settings.engine, settings.models.cache
    return EncoderChoice(
        folder, engine.encoder, engine.precision, engine.batch_tokens, engine.batch_texts, cache
    )


def _capped(files: ModelFiles, name: str, settings: Settings) -> ModelFiles:
    overrides = settings.models.settings.get(name)
    if overrides is None or overrides.max_tokens is None:
        return files
    return replace(files, max_tokens=min(files.max_tokens, overrides.max_tokens))


def _card(name: str, files: ModelFiles, settings: Settings) -> ModelCard:
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
    )
