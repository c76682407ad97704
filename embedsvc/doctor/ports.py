"""Ports: free, taken by what is to have them, or by something else."""

import asyncio
import errno
from collections.abc import AsyncGenerator, Iterator

import httpx

from embedsvc.config import Settings
from embedsvc.doctor import edge, server
from embedsvc.doctor.finding import Finding, Subject
from embedsvc.listeners import ENVOY, SERVER, Listener, find_trouble, of_envoy, of_server

SUBJECT = Subject("ports")


async def look(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Try to open each port, for a moment, and ask those that are taken who has them."""
    ours = await _ports_in_use(settings)
    free, taken = [], []
    for listener in _listeners(settings):
        where = f"{listener.setting} {listener.host}:{listener.port}"
        trouble = await asyncio.to_thread(find_trouble, listener)
        if trouble is None:
            free.append(where)
        elif trouble == errno.EADDRINUSE and (listener.owner, listener.port) in ours:
            taken.append(f"{where} by {listener.owner}")
        else:
            yield _explain(listener, where, trouble)
    if taken:
        yield SUBJECT.ok(f"used, as they should be: {', '.join(taken)}")
    if free:
        yield SUBJECT.ok(f"free: {', '.join(free)}")
    if not edge.is_here(settings):
        yield SUBJECT.note("ports of Envoy were not looked at: it runs on another machine")


def _listeners(settings: Settings) -> Iterator[Listener]:
    yield from of_server(settings)
    if edge.is_here(settings):
        yield from of_envoy(settings)


async def _ports_in_use(settings: Settings) -> set[tuple[str, int]]:
    """Who has which port, of those that answer as they should."""
    found = await asyncio.gather(_of_server(settings), _of_metrics(settings), _of_envoy(settings))
    return set().union(*found)


async def _of_server(settings: Settings) -> set[tuple[str, int]]:
    asked = await server.ask(settings)
    ports = (settings.server.port, settings.server.health_port)
    return {(SERVER, port) for port in ports if port is not None and asked.is_ours}


async def _of_metrics(settings: Settings) -> set[tuple[str, int]]:
    page = await server.read_metrics(settings)
    return {(SERVER, settings.metrics.port)} if page else set()


async def _of_envoy(settings: Settings) -> set[tuple[str, int]]:
    try:
        async with edge.admin(settings) as http:
            answer = (await http.get("/listeners?format=json")).raise_for_status().json()
        statuses = answer["listener_statuses"]
        ports = [status["local_address"]["socket_address"]["port_value"] for status in statuses]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):  # not there, or not Envoy
        return set()
    return {(ENVOY, port) for port in (settings.edge.admin_port, *ports)}


def _explain(listener: Listener, where: str, trouble: int) -> Finding:
    if trouble == errno.EADDRINUSE:
        return SUBJECT.error(
            f"{where} is taken by something that does not answer as {listener.owner}",
            f"`ss -ltnp 'sport = :{listener.port}'` says who has it: stop that, or choose another port with "
            f"{listener.variable}. Where it is ours, it is ill, or was started with other settings",
        )
    if trouble == errno.EACCES:
        advice = f"Choose one above 1023 with {listener.variable}, or let this user open low ports"
        return SUBJECT.error(f"{where} may not be opened by this user", advice)
    return SUBJECT.error(
        f"{where} cannot be opened: {errno.errorcode.get(trouble, trouble)}",
        f"Set {listener.host_setting} to an address that this machine has",
    )
