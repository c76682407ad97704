"""Settings that load, and do not go together."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from embedsvc.access.peer import read_peer
from embedsvc.access.policy import find_identity
from embedsvc.config import Settings
from embedsvc.config.edge import UNREACHED
from embedsvc.doctor import edge
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.errors import ConfigurationError
from embedsvc.routing.names import check_names

SUBJECT = Subject("configuration")
RATES: Sequence[Literal["address", "key", "uri"]] = ("address", "key", "uri")


def refused(error: ConfigurationError) -> Finding:
    """What a configuration is that does not load."""
    return SUBJECT.error(
        str(error), "Correct it: docs/configuration.md has every setting. Nothing that needs it was looked at"
    )


def look(settings: Settings) -> Iterator[Finding]:
    """Look at what no single setting shows."""
    yield SUBJECT.ok(
        f"it loads, in {Path.cwd()}: models {', '.join(settings.models.served)}; "
        f"store {settings.store.kind}; edge.profile {settings.edge.profile}"
    )
    yield from _names(settings)
    yield from _exposure(settings)
    yield from _rates(settings)
    yield from _policy(settings)


def _names(settings: Settings) -> Iterator[Finding]:
    try:
        check_names(settings.remote_models, settings.models)
    except ConfigurationError as error:
        yield SUBJECT.error(
            f"{error}: the server does not start",
            "Give the provider another name: callers put it before the slash",
        )


def _exposure(settings: Settings) -> Iterator[Finding]:
    chosen = settings.edge
    if not _is_loopback(chosen.admin_host):
        yield SUBJECT.error(
            f"edge.admin_host is {chosen.admin_host}: whoever reaches Envoy's admin page controls Envoy",
            'Set edge.admin_host = "127.0.0.1"; what Prometheus needs of it is on edge.stats_port',
        )
    if chosen.profile == "development" and not _is_loopback(chosen.host):
        yield SUBJECT.warning(
            f"edge.profile is development and edge.host {chosen.host}: other machines get plain HTTP, no "
            "limits, and CORS for every page",
            'Set edge.profile = "production", or edge.host = "127.0.0.1"',
        )
    if chosen.profile == "production" and _is_loopback(chosen.host):
        yield SUBJECT.note(
            f"edge.profile is production and edge.host {chosen.host}: only this machine reaches Envoy",
            'Set edge.host = "0.0.0.0" where others are to',
        )
    if chosen.profile == "production" and "*" in chosen.origins:
        yield SUBJECT.warning(
            'edge.origins has "*": scripts of every page may call', "Name the pages that may in edge.origins"
        )


def _rates(settings: Settings) -> Iterator[Finding]:
    chosen = settings.edge
    rates = {of: chosen.rate(of) for of in RATES}
    written = ", ".join(f"{of} {rate.per_second:,}/s burst {rate.burst:,}" for of, rate in rates.items())
    endless = [f"edge.rates.{of}" for of, rate in rates.items() if rate.per_second == UNREACHED]
    if chosen.profile == "production" and endless:
        yield SUBJECT.warning(
            f"{', '.join(endless)}: nobody meets it, in production",
            "Take it away for the default of production, or set a number that one caller may need",
        )
    elif len(endless) == len(rates):
        yield SUBJECT.ok("edge.rates: nobody meets a limit, as it should be in development")
    elif rates["address"].per_second >= rates["uri"].per_second:
        yield SUBJECT.warning(
            f"edge.rates: {written}: one address alone may take all that a path has",
            "Set edge.rates.address below edge.rates.uri",
        )
    else:
        yield SUBJECT.ok(f"edge.rates: {written}")


def _policy(settings: Settings) -> Iterator[Finding]:
    """Whether servers take Envoy for who it is; a certificate that cannot be read is told elsewhere."""
    path = settings.edge.certificate
    if not edge.is_here(settings):
        yield SUBJECT.note("the identity of Envoy was not looked for: its certificate is on another machine")
        return
    try:
        names = read_peer(path.read_bytes()).names
    except (OSError, ValueError):
        return
    identity = find_identity(settings.auth.identities, names)
    what = f"edge.certificate {path} ({', '.join(names)})"
    add = f'[[auth.identities]] with match = ["{next(iter(names), "...")}"] and forwards = true'
    if identity is None:
        yield SUBJECT.error(
            f"{what} is nobody's in auth.identities: servers answer 403 to every call through Envoy",
            f"Add {add}",
        )
    elif not identity.forwards:
        yield SUBJECT.error(
            f"{what} is of the identity {identity.name}, which does not forward: servers take every caller "
            "of Envoy's for Envoy",
            f"Put {add} before it",
        )
    else:
        yield SUBJECT.ok(f"servers know Envoy's certificate as the identity {identity.name}, which forwards")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
