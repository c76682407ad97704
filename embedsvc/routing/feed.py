"""Routes as they are now: what the configuration says, and in its place what the store says of an alias.

Nobody waits for the store: it is asked again and again in the background.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import structlog

from embedsvc.background import running
from embedsvc.routing.route import Route, check, from_record, read
from embedsvc.store.presence import Presence
from embedsvc.store.protocols import RouteStore, StoreError
from embedsvc.store.records import KeptRoute

log = structlog.get_logger()

POLL_SECONDS = 2.0
"""How old may be what is known of routes, while the store answers."""

STORE_SECONDS = 10.0
"""How long the store may take for it."""

START_SECONDS = 1.0
"""How long the start waits for the store."""

Routes = Mapping[str, Route]
"""By alias."""

Said = Sequence[KeptRoute]
"""What the store says, of each alias at most once."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What routes are judged by, each as it is at the time of asking.

    Attributes:
        configured: Says what the configuration says of aliases.
        known: Names every model of this server by its own name.
        changed: Is told the routes when one of them is another.
    """

    configured: Callable[[], Routes]
    known: Callable[[], Collection[str]]
    changed: Callable[[Routes], None]


class RouteFeed:
    """Knows what aliases stand for. Open it with `open_feed`.

    Attributes:
        routes: The routes; never changed, but replaced.
    """

    def __init__(self, store: RouteStore, around: Surroundings) -> None:
        self.routes: Routes = {}
        self._store = store
        self._around = around
        self._said: Said = ()
        self._refused: Mapping[str, str] = {}
        self._presence = Presence(
            "routes are not looked at again; those that are known hold", "routes are looked at again"
        )

    async def refresh(self, patience: float = STORE_SECONDS) -> None:
        """Ask the store, and put together what counts; what it said before holds while it is away.

        Args:
            patience: Seconds to wait for it.
        """
        try:
            async with asyncio.timeout(patience):
                self._said = await self._store.list_routes()
        except (StoreError, TimeoutError) as error:
            self._presence.failed(error)
        else:
            self._presence.answered()
        self.update()

    def update(self) -> None:
        """Put together what counts, of what is known already."""
        routes, refused = dict(self._around.configured()), {}
        for kept in self._said:
            try:
                route = from_record(read(kept))
                check(route, self._around.known())
            except ValueError as error:
                refused[kept.alias] = str(error)
            else:
                routes[route.alias] = route
        self._tell_refused(refused)
        self._replace(routes)

    def _tell_refused(self, refused: Mapping[str, str]) -> None:
        for alias, reason in refused.items():
            if self._refused.get(alias) != reason:
                log.error("what the store says of an alias is passed over", alias=alias, reason=reason)
        self._refused = refused

    def _replace(self, routes: Routes) -> None:
        if routes == self.routes:
            return
        for alias in sorted(routes.keys() | self.routes.keys()):
            route = routes.get(alias)
            if route != self.routes.get(alias):
                log.info("an alias has another meaning", alias=alias, route=route and asdict(route))
        self.routes = routes
        self._around.changed(routes)

    async def run(self) -> None:
        """Keep up to date, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()


@asynccontextmanager
async def open_feed(store: RouteStore, around: Surroundings) -> AsyncIterator[RouteFeed]:
    """Keep routes up to date while the context is open.

    The store is asked once before it begins. Where it does not answer in time, routes are those of the
    configuration until it does.

    Args:
        store: Where routes are kept.
        around: What they are judged by.
    """
    feed = RouteFeed(store, around)
    await feed.refresh(START_SECONDS)
    async with running(feed.run):
        yield feed
