"""Which frame goes to which connection, in which form."""

from collections.abc import Callable, Iterable, Mapping

from marketlab.exchange_server.connection import Connection
from marketlab.exchange_server.derived import Derived, derive
from marketlab.exchange_server.frames import COMBINED, MICROSECONDS, data_of, in_unit, pack
from marketlab.exchange_server.listing import Listing

__all__ = ["Route", "Routes"]

_ALIASES = {"depth": "depth@100ms", "depth@100ms": "depth"}


def _forget(_: bytes) -> None:
    pass


class Route:
    """One stream: where its frames are kept for REST, and the outgoing lists of its subscribers by variant."""

    __slots__ = ("channel", "derived", "echo", "keep", "listing", "name", "outlets", "timed", "watched")

    def __init__(self, name: str, listing: Listing | None) -> None:
        self.name = name
        self.channel = name.partition("@")[2]
        self.listing = listing
        self.keep: Callable[[bytes], None] = _forget
        self.outlets: dict[int, list[Connection]] = {}
        self.echo: Route | None = None
        """The same stream under its other name."""
        self.derived: Derived | None = None
        self.timed = self.channel == "trade" or self.is_depth
        self.watched = self.is_depth
        """Whether more must be done after a frame than to keep and to deliver it."""
        if listing is not None:
            if self.channel == "trade":
                self.keep = listing.trades.keep
            elif self.is_depth:
                self.keep = listing.book.keep
            elif self.channel == "bookTicker":
                self.keep = listing.keep_quote

    @property
    def is_depth(self) -> bool:
        """Whether this is a diff-depth stream."""
        return self.channel in _ALIASES

    @property
    def subscribed(self) -> bool:
        """Whether anybody gets these frames, under either name."""
        return bool(self.outlets) or (self.echo is not None and bool(self.echo.outlets))

    def deliver(self, frame: bytes) -> None:
        """Put a combined frame into the outgoing lists of the subscribers, each in the form it asked for."""
        for variant, connections in self.outlets.items():
            wanted = in_unit(frame, micros=bool(variant & MICROSECONDS))
            packed = pack(wanted if variant & COMBINED else data_of(wanted))
            for connection in connections:
                connection.outgoing.append(packed)


class Routes:
    """All streams; `changed` is called whenever a subscription comes or goes."""

    def __init__(self, listings: Mapping[str, Listing], streams: Iterable[str], changed: Callable[[], None]) -> None:
        self._listings = listings
        self._changed = changed
        self._routes: dict[bytes, Route] = {}
        self._watching: dict[str, list[Route]] = {symbol: [] for symbol in listings}
        self._driving: dict[str, list[Route]] = {symbol: [] for symbol in listings}
        self.subscriptions = 0
        for stream in streams:
            self.route(stream.encode())
        self._native = frozenset(self._routes)

    def route(self, name: bytes) -> Route:
        """The route of a stream, made when it is first heard of."""
        route = self._routes.get(name)
        if route is None:
            text = name.decode(errors="replace")
            route = Route(text, self._listings.get(text.partition("@")[0].upper()))
            self._routes[name] = route
            if route.listing is not None and route.timed:
                self._driving[route.listing.symbol].append(route)
                self._mark(route.listing.symbol)
        return route

    def find(self, name: bytes) -> Route | None:
        """The route of a stream that was heard of."""
        return self._routes.get(name)

    def watching(self, symbol: str) -> list[Route]:
        """The routes of derived streams that events of a symbol drive."""
        return self._watching[symbol]

    def derived(self) -> list[Route]:
        """The routes of all derived streams that have subscribers."""
        return list({id(route): route for routes in self._watching.values() for route in routes}.values())

    def subscribe(self, connection: Connection, stream: str) -> None:
        """Let a connection have a stream's frames from now on."""
        route = self._resolve(stream)
        route.outlets.setdefault(connection.variant, []).append(connection)
        self.subscriptions += 1
        self._changed()

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        """Take a connection out again."""
        route = self.route(stream.encode())
        connections = route.outlets[connection.variant]
        connections.remove(connection)
        if not connections:
            del route.outlets[connection.variant]
        if route.derived is not None and not route.outlets:
            route.derived = None
            for symbol, routes in self._watching.items():
                self._watching[symbol] = [other for other in routes if other is not route]
                self._mark(symbol)
        self.subscriptions -= 1
        self._changed()

    def _resolve(self, stream: str) -> Route:
        route = self.route(stream.encode())
        if stream.encode() in self._native or route.derived is not None:
            return route
        symbol, _, channel = stream.partition("@")
        twin = f"{symbol}@{_ALIASES.get(channel, '')}".encode()
        if channel in _ALIASES and twin in self._native:
            self._routes[twin].echo = route
            return route
        route.derived = derive(stream, self._listings)
        if route.derived is not None:
            for name in [symbol.upper()] if symbol.upper() in self._listings else list(self._listings):
                self._watching[name].append(route)
                self._mark(name)
        return route

    def _mark(self, symbol: str) -> None:
        for route in self._driving[symbol]:
            route.watched = route.is_depth or bool(self._watching[symbol])
