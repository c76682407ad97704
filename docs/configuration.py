"""Writes docs/configuration.md from the settings themselves: `make docs`."""

from collections.abc import Iterator

from pydantic import BaseModel

from embedsvc.config import (
    PREFIX,
    EdgeRates,
    EdgeSettings,
    IdentitySettings,
    ModelOverrides,
    ModelSettings,
    ProviderSettings,
    RemoteModelSettings,
    RouteSettings,
    Settings,
)

HEAD = f"""# Configuration

<!-- Written by `make docs` from embedsvc/config/; do not edit. -->

One TOML file: the one that `--config` names, else `$EMBEDSVC_CONFIG`, else `embedsvc.toml` in the
working folder where there is one. Over it, environment variables: `{PREFIX}SERVER__PORT=50052` is `port`
in `[server]`; a list is written as JSON: `{PREFIX}ENGINE__DEVICES='["cuda:0", "cuda:1"]'`. A key
that does not exist, or a value that cannot be, stops the start and is named. Relative paths are relative
to the working folder. Secrets are never settings: keys and certificates are files that settings point to.
"""

NAMED = ("providers", "routes")
"""Sections that are tables with names of the operator's choice."""

OWN_TABLES = {
    ModelSettings: ("settings",),
    EdgeSettings: ("rates",),
    ProviderSettings: ("models",),
}
"""What of a section has a table of its own."""


def lines() -> Iterator[str]:
    """The document, a line at a time."""
    yield HEAD
    for name, field in Settings.model_fields.items():
        if name not in NAMED:
            yield from _section(f"[{name}]", field.annotation)
    yield from _section('[models.settings."NAME"]', ModelOverrides)
    yield from _section("[[auth.identities]]", IdentitySettings)
    yield from _section("[edge.rates]", EdgeRates)
    yield from _section("[providers.NAME]", ProviderSettings)
    yield from _section('[providers.NAME.models."MODEL"]', RemoteModelSettings)
    yield from _section('[routes."ALIAS"]', RouteSettings)


def _section(title: str, section: type[BaseModel]) -> Iterator[str]:
    summary = section.__doc__.splitlines()[0].partition(": ")[2]
    yield f"## `{title}`\n"
    yield f"{summary[0].upper()}{summary[1:]}\n"
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for name, field in section.model_fields.items():
        if name in OWN_TABLES.get(section, ()):
            continue
        yield f"| `{name}` | {_default(field)} | {_prose(field)} |"
    yield ""


def _default(field: object) -> str:
    if field.is_required():
        return "required"
    return f"`{_shown(field.get_default(call_default_factory=True))}`"


def _shown(value: object) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return str(value).lower()
        case tuple() if any(isinstance(item, BaseModel) for item in value):
            return "see below"
        case tuple():
            return "[" + ", ".join(f'"{item}"' for item in value) + "]"
        case int() | float():
            return str(value)
        case _:
            return f'"{value}"'


def _prose(field: object) -> str:
    return " ".join(field.description.split())


if __name__ == "__main__":
    print("\n".join(lines()).rstrip())
