"""What an exchange is to the rest of marketlab: a pure session, and facts as data.

A session turns frames into records and commands. It is synchronous and holds no socket, clock, task or order
book; what should happen is returned as a value that the runner carries out.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol, TypeAlias

import msgspec

from marketlab.instruments import Instrument
from marketlab.records import Origin, Record

__all__ = [
    "Command",
    "Connection",
    "Endpoint",
    "Exchange",
    "Fetch",
    "Limits",
    "Output",
    "Reconnect",
    "Request",
    "Send",
    "Session",
    "Subscription",
]


class Subscription(msgspec.Struct, frozen=True, order=True):
    """One channel of one symbol: `trade`, `agg_trade`, `kline_<interval>`, `quote`, `book`, `ticker`, `mini_ticker`."""

    symbol: str
    channel: str


class Request(msgspec.Struct, frozen=True):
    """A REST request as data. `kind` is one of instruments, depth, klines, trades, agg_trades, tickers, time."""

    kind: str
    path: str
    params: tuple[tuple[str, str], ...]
    weight: int
    symbol: str = ""
    interval: str = ""


class Send(msgspec.Struct, frozen=True):
    """Send this text over the connection; the runner keeps to the exchange's message rate."""

    text: str


class Fetch(msgspec.Struct, frozen=True):
    """Ask over REST and hand the answer to `Session.answered`."""

    request: Request


class Reconnect(msgspec.Struct, frozen=True):
    """Replace this connection by a new one, without a hole where the exchange allows both at once."""

    reason: str


Command: TypeAlias = Send | Fetch | Reconnect
Output: TypeAlias = Record | Command


class Endpoint(msgspec.Struct, frozen=True):
    """Hosts of one class of channels, the preferred one first."""

    websocket: tuple[str, ...]
    rest: tuple[str, ...]


class Limits(msgspec.Struct, frozen=True):
    """What the exchange allows. Seconds and counts; `weight_per_minute` is the REST budget of one address."""

    messages_per_second: float
    streams_per_connection: int
    connections_per_five_minutes: int
    connection_lifetime_s: float
    weight_per_minute: int
    server_ping_s: float
    """How often the server pings; silence for three of these means that the connection is dead."""


class Connection(msgspec.Struct, frozen=True):
    """One WebSocket connection: where, below the base URL, and what for."""

    path: str
    subscriptions: tuple[Subscription, ...]


class Session(Protocol):
    """The protocol of one connection. Every method returns records and commands, in order."""

    origin: Origin

    def opened(self) -> Iterable[Output]:
        """The connection is up: say what is wanted."""
        ...

    def received(self, frame: bytes, at: int) -> Sequence[Output]:
        """A frame came in, read off the socket at microsecond `at`.

        Raises:
            UnreadableFrame: it is not what the exchange documents; the connection stays good.
            Rejected: the exchange refused something that was asked over this connection.
        """
        ...

    def answered(self, fetch: Fetch, body: bytes, at: int) -> Sequence[Output]:
        """The body of a successful answer to one of this session's own `Fetch` commands."""
        ...

    def subscribe(self, subscriptions: Iterable[Subscription]) -> Iterable[Output]:
        """Ask for more on this connection."""
        ...

    def unsubscribe(self, subscriptions: Iterable[Subscription]) -> Iterable[Output]:
        """Ask for less."""
        ...


class Exchange(Protocol):
    """An exchange as data, plus the few pure functions that differ. Found by its module, never registered."""

    name: ClassVar[str]
    endpoint: ClassVar[Endpoint]
    limits: ClassVar[Limits]
    intervals: ClassVar[dict[str, int]]
    """Kline intervals and their length in microseconds (the month: its longest)."""
    channels: ClassVar[frozenset[str]]
    """Channel names, klines as `kline`."""

    def check(self, subscriptions: Iterable[Subscription]) -> None:
        """Raises Unsupported, naming what is offered, for a channel or interval that the exchange lacks."""
        ...

    def connections(self, subscriptions: Sequence[Subscription]) -> list[Connection]:
        """How subscriptions split over connections."""
        ...

    def session(self, connection: Connection, origin: Origin = "stream") -> Session:
        """A new session for one connection."""
        ...

    def headers(self) -> dict[str, str]:
        """REST headers that every request carries."""
        ...

    def time_request(self) -> Request:
        """Asks what time it is at the exchange."""
        ...

    def time(self, body: bytes) -> int:
        """The exchange's time in microseconds, out of its answer."""
        ...

    def instruments_request(self) -> Request:
        """Asks for the instrument list."""
        ...

    def instruments(self, body: bytes) -> list[Instrument]:
        """The instrument list out of its answer."""
        ...

    def snapshot_request(self, symbol: str, depth: int = 5000) -> Request:
        """Asks for a book snapshot."""
        ...

    def klines_request(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> Request:
        """Asks for klines; `start` inclusive and `end` exclusive, in microseconds; without them the newest."""
        ...

    def trades_request(self, symbol: str, from_id: str | None = None, limit: int = 1000) -> Request:
        """Asks for trades from an id on; without one, the newest."""
        ...

    def agg_trades_request(self, symbol: str, from_id: str | None = None, limit: int = 1000) -> Request:
        """Asks for aggregate trades from an id on; without one, the newest."""
        ...

    def tickers_request(self, symbols: Sequence[str]) -> Request:
        """Asks for 24 h tickers."""
        ...

    def answer(self, request: Request, body: bytes, at: int, origin: Origin = "rest") -> list[Record]:
        """The records in the body of a successful answer, which came at microsecond `at`.

        Raises:
            UnreadableFrame: the body is not what the exchange documents.
        """
        ...

    def refusal(self, status: int, body: bytes) -> tuple[int, str]:
        """The exchange's code and words in an error answer."""
        ...
