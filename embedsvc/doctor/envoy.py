"""What Envoy says of itself, of the servers behind it and of its certificates: its admin page."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx

from embedsvc.config import Settings
from embedsvc.doctor import edge, pem, rendered
from embedsvc.doctor.certificates import RENEW, SOON
from embedsvc.doctor.finding import Finding, Subject

SUBJECT = Subject("Envoy")
CLUSTER = "embedsvc"
NO_FLAG = "eds_health_status"
"""What is said of every host."""

AFTER = {
    "failed_active_health_check": "Envoy does not hear SERVING from it: does it run, does it trust "
    "edge.certificate, and does Envoy trust its certificate? Run the doctor there",
    "failed_outlier_check": "It failed three calls in a row, and gets others after 30 s: its log says why",
}

Json = Any
"""What is on a page."""


async def look(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Read the admin page, where Envoy runs beside."""
    where = f"{settings.edge.admin_host}:{settings.edge.admin_port}"
    try:
        async with edge.admin(settings) as http:
            info, clusters, certificates = [
                (await http.get(page)).raise_for_status().json()
                for page in ("/server_info", "/clusters?format=json", "/certs")
            ]
    except httpx.ConnectError:
        yield SUBJECT.note(
            f"there is no admin page at {where}: Envoy does not run here, or in a container of its own",
            "Where it should: `embedsvc render-edge`, then `envoy -c`. In containers: `docker compose ps "
            f"envoy` and /ready at its port {settings.edge.stats_port}",
        )
        return
    except (httpx.HTTPError, ValueError) as error:
        advice = "What listens there is not Envoy, or hangs: see what is said of the ports here"
        yield SUBJECT.error(f"{where} does not answer as Envoy's admin page: {error!r}", advice)
        return
    yield _state(info)
    for finding in (*_hosts(clusters), *_certificates(certificates, settings)):
        yield finding
    for finding in await asyncio.to_thread(lambda: list(_files(info, settings))):
        yield finding


def _state(info: Json) -> Finding:
    version = info["version"].split("/")[1]
    if info["state"] == "LIVE":
        return SUBJECT.ok(f"{version} is ready, for {info['uptime_current_epoch']}")
    advice = "It waits for certificates or for names to be found, or drains: its log says which"
    return SUBJECT.error(f"{version} is not ready: {info['state']}", advice)


def _hosts(clusters: Json) -> Iterator[Finding]:
    (ours,) = [each for each in clusters["cluster_statuses"] if each["name"] == CLUSTER]
    hosts = ours.get("host_statuses", [])
    if not hosts:
        advice = "No name in edge.upstreams is found: see the names there, and the DNS of Envoy's machine"
        yield SUBJECT.error("it knows no server", advice)
    for host in hosts:
        found = host["address"]["socket_address"]
        where = f"{found['address']}:{found['port_value']}"
        flags = [flag for flag, value in host["health_status"].items() if value and flag != NO_FLAG]
        if not flags:
            yield SUBJECT.ok(f"the server {where} is healthy")
            continue
        advice = " ".join(AFTER[flag] for flag in flags if flag in AFTER)
        said = ", ".join(flag.replace("_", " ") for flag in flags)
        yield SUBJECT.error(f"the server {where} gets no calls: {said}", advice or "Its log says why")


def _certificates(page: Json, settings: Settings) -> Iterator[Finding]:
    every = [each for pair in page["certificates"] for each in pair["cert_chain"]]
    shown = {int(each["serial_number"], 16): int(each["days_until_expiration"]) for each in every}
    chosen = settings.edge
    for path in dict.fromkeys((chosen.certificate, chosen.public_certificate, chosen.grpc_certificate)):
        if _serial(path) not in {None, *shown}:
            yield SUBJECT.warning(
                f"it does not show the certificate that is in {path} now",
                "Write it under another name in its folder, and move it there: Envoy notices nothing else",
            )
    days = min(shown.values(), default=0)
    what = f"it shows {len(shown)} certificates; the first to expire has {days} days left"
    yield SUBJECT.warning(what, f"Renew it: {RENEW}") if days < SOON else SUBJECT.ok(what)


def _serial(path: Path) -> int | None:
    try:
        return pem.read_certificates(path)[0].serial_number
    except pem.UnreadableError:  # it is elsewhere, or told of among the certificates
        return None


def _files(info: Json, settings: Settings) -> Iterator[Finding]:
    """Whether Envoy was started with what the settings say now."""
    path = Path(info["command_line_options"]["config_path"])
    if not edge.is_there(path):
        yield SUBJECT.note(f"its configuration {path} is not in a folder of here, and was not compared")
        return
    if not settings.edge.template.exists():
        yield SUBJECT.note(
            f"edge.template {settings.edge.template} is not in {Path.cwd()}: {path} was not compared"
        )
        return
    started = time.time() - int(info["uptime_current_epoch"].removesuffix("s"))
    changed = rendered.find_changed(settings, path.parent)
    if changed:
        yield SUBJECT.warning(
            f"{', '.join(changed)} in {path.parent}: not what the settings say now",
            f"`embedsvc render-edge --out {path.parent}`, and start Envoy again; or run the doctor with the "
            "variables that the service runs with",
        )
    elif path.stat().st_mtime > started + 1:
        yield SUBJECT.warning(
            f"{path} is newer than this Envoy", "Start Envoy again: it reads that file once"
        )
    else:
        yield SUBJECT.ok(f"{path} is what the settings say")
