"""By which names models are known, and that no name is of two of them."""

from collections.abc import Iterable, Iterator

from embedsvc.config import ModelSettings
from embedsvc.engine.catalog import aliases_of
from embedsvc.errors import ConfigurationError


def aliases(models: ModelSettings) -> Iterator[tuple[str, str]]:
    """Other names of the models of this machine, each with the model's own."""
    for name in models.served:
        own = models.settings[name].aliases if name in models.settings else ()
        for alias in aliases_of(name, own, primary=name == models.primary):
            yield alias, name


def check_names(elsewhere: Iterable[str], models: ModelSettings) -> None:
    """See that no model elsewhere takes a name of one of this machine.

    Args:
        elsewhere: The models of providers, as `NAME/MODEL`.
        models: Those of this machine.

    Raises:
        ConfigurationError: One has such a name; texts that are to stay here would go out.
    """
    here = {**dict(aliases(models)), **{name: name for name in models.served}}
    for name in elsewhere:
        if name in here:
            provider, _, model = name.partition("/")
            raise ConfigurationError(
                f'providers.{provider}.models."{model}": {name} is a name of {here[name]}, which is served '
                "here; call the provider something else"
            )
