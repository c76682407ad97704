"""Models that are served together: by which names, and whether they can be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from embedsvc.config import ModelSettings
from embedsvc.engine.loader import Loader
from embedsvc.engine.served import ServedModel, check_card
from embedsvc.engine.source import ModelSource
from embedsvc.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Roster:
    """Models that are served together.

    Attributes:
        models: By canonical name, the primary one first.
        names: By every name that they answer to.
    """

    models: Mapping[str, ServedModel]
    names: Mapping[str, ServedModel]

    @property
    def loaders(self) -> set[Loader]:
        """Their weights."""
        return {model.loader for model in self.models.values()}

    def after(self, before: "Roster") -> "Roster":
        """The same, with models of before still found by their own names where nobody else has these."""
        return Roster(self.models, {**before.models, **self.names})

    def alone(self) -> "Roster":
        """The same without those."""
        return Roster(self.models, _by_every_name(self.models))


def roster_of(
    sources: Sequence[ModelSource],
    served: Mapping[str, ServedModel],
    make: Callable[[ModelSource], ServedModel],
) -> Roster:
    """Put models together.

    Args:
        sources: Of which, the primary one's first.
        served: Models that there are already: the weights of those that have not changed are taken over.
        make: Makes a model with weights of its own.

    Raises:
        ConfigurationError: A name is of two of them.
    """
    models = {source.card.name: _take_over(source, served) or make(source) for source in sources}
    return Roster(models, _by_every_name(models))


def _take_over(source: ModelSource, served: Mapping[str, ServedModel]) -> ServedModel | None:
    model = served.get(source.card.name)
    if model is None or not source.has_weights_of(model.source):
        return None
    return model if source.card == model.card else ServedModel(source, model.loader, model.devices)


def _by_every_name(models: Mapping[str, ServedModel]) -> dict[str, ServedModel]:
    names: dict[str, ServedModel] = dict(models)
    for model in models.values():
        for alias in model.card.aliases:
            if names.setdefault(alias, model) is not model:
                raise ConfigurationError(
                    f"models: {alias!r} is a name of both {names[alias].name} and {model.name}"
                )
    return names


def check(roster: Roster, settings: ModelSettings) -> None:
    """See, before any weight is loaded, that models can be served as configured.

    Raises:
        ConfigurationError: They cannot.
    """
    for model in roster.models.values():
        if model.name in settings.lazy:
            _check_lazy(model)
        if model.dimensions:  # else they are seen when it is loaded
            check_card(model.card, model.dimensions)
    if settings.memory_bytes is not None:
        _check_memory(roster, settings, settings.memory_bytes)


def _check_lazy(model: ServedModel) -> None:
    """What only loading would show of other models has to be seen in the files of those that are not."""
    files = model.card.files
    missing = "weights" if not files.weights_bytes else "dimensions" if files.dimensions is None else None
    if missing:
        raise ConfigurationError(
            f"models.lazy: the files of {model.name} in {files.folder} have no {missing}"
        )


def _check_memory(roster: Roster, settings: ModelSettings, limit: int) -> None:
    always = {name: model.loader.size for name, model in roster.models.items() if name not in settings.lazy}
    total = sum(always.values())
    if total > limit:
        raise ConfigurationError(
            f"models.memory_bytes: {', '.join(always)} take {total} bytes, more than {limit}; "
            "more memory, fewer models, or some of them in models.lazy"
        )
    for name in settings.lazy:
        size = roster.models[name].loader.size
        if total + size > limit:
            raise ConfigurationError(
                f"models.memory_bytes: {name}, of {size} bytes, would never fit beside {', '.join(always)}, "
                f"which take {total} of {limit}"
            )
