"""What aliases stand for, and who said so: pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from embedsvc.config import Settings
from embedsvc.engine.catalog import OPENAI_NAMES
from embedsvc.errors import ConfigurationError
from embedsvc.operator.shown import Cell, Column, moment
from embedsvc.routing.names import aliases
from embedsvc.routing.route import Route, check, from_record, from_settings, read
from embedsvc.store.records import KeptRoute, RouteRecord

COLUMNS = (
    Column("alias", "alias"),
    Column("model", "model"),
    Column("other", "other"),
    Column("share %", "share", number=True),
    Column("sticky", "sticky"),
    Column("shadow %", "shadow", number=True),
    Column("fallback", "fallback"),
    Column("said by", "said_by"),
    Column("changed", "changed"),
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an alias stands for.

    Attributes:
        route: What that is.
        said_by: Who says so: `migrate set`, the configuration, or the model whose alias it is.
        changed_at: When `migrate set` said so; None: it did not.
    """

    route: Route
    said_by: Literal["store", "configuration", "model"]
    changed_at: float | None = None

    @property
    def cells(self) -> Sequence[Cell]:
        """Its row of the table."""
        route = self.route
        said = (route.alias, route.model, route.other or None, route.share, route.sticky, route.shadow)
        return (*said, "yes" if route.fallback else "no", self.said_by, moment(self.changed_at))


@dataclass(frozen=True, slots=True)
class Meanings:
    """What all aliases stand for.

    Attributes:
        by_alias: What each stands for: as the store says, else the configuration, else the model itself.
        before: The same, were there nothing in the store.
        passed_over: Why something that the store says does not count, by alias.
    """

    by_alias: Mapping[str, Meaning]
    before: Mapping[str, Meaning]
    passed_over: Mapping[str, str]

    @property
    def shown(self) -> Iterator[Meaning]:
        """Those that were chosen, and OpenAI's names, in the order of their names."""
        for alias, meaning in sorted(self.by_alias.items()):
            if meaning.said_by != "model" or alias in OPENAI_NAMES:
                yield meaning


def meanings(settings: Settings, records: Iterable[KeptRoute]) -> Meanings:
    """Say what aliases stand for.

    Args:
        settings: The configuration.
        records: What the store says.
    """
    before = {alias: Meaning(Route(alias, model), "model") for alias, model in aliases(settings.models)}
    for alias, said in settings.routes.items():
        before[alias] = Meaning(from_settings(alias, said), "configuration")
    stored, passed_over = {}, {}
    for kept in records:
        try:
            record = read(kept)
            stored[record.alias] = Meaning(_checked(record, settings), "store", record.changed_at)
        except ValueError as error:
            passed_over[kept.alias] = str(error)
    return Meanings({**before, **stored}, before, passed_over)


def _checked(record: RouteRecord, settings: Settings) -> Route:
    route = from_record(record)
    check(route, settings.known_models)
    return route


def change(alias: str, now: Meaning | None, said: Mapping[str, Any], at: float) -> RouteRecord:
    """Make what the store is to say of an alias.

    Args:
        alias: The alias.
        now: What it stands for; None: nothing.
        said: What is to be otherwise, by the name of a `Route`'s field.
        at: When that is said.

    Raises:
        ConfigurationError: It stands for nothing, and no model is said.
    """
    if now is None and "model" not in said:
        raise ConfigurationError(f"{alias} stands for no model yet: say which with --model")
    kept = asdict(now.route) if now else {}
    return RouteRecord(**{**kept, "alias": alias, **said}, changed_at=at)


def checked(record: RouteRecord, settings: Settings) -> Route:
    """Return the route that a record says.

    Raises:
        ConfigurationError: The configuration could not say so.
    """
    try:
        return _checked(record, settings)
    except ValueError as error:
        raise ConfigurationError(f"{record.alias}: {error}") from None
