"""Binance spot, market data. Sources: binance-spot-api-docs (web-socket-streams.md, rest-api.md, enums.md)."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import ClassVar

import msgspec

from marketlab.errors import Unsupported
from marketlab.exchanges.binance import payloads
from marketlab.exchanges.binance.session import STREAMS, BinanceSession, in_path
from marketlab.exchanges.contract import Connection, Endpoint, Limits, Request, Subscription
from marketlab.instruments import Instrument
from marketlab.records import Origin, Record

__all__ = ["Binance", "BinanceSession"]

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))


class Binance:
    """Binance spot, market data only. Times come in microseconds unless `microseconds` is false."""

    name: ClassVar[str] = "binance"
    endpoint: ClassVar[Endpoint] = Endpoint(
        websocket=(
            "wss://stream.binance.com:9443",
            "wss://stream.binance.com:443",
            "wss://data-stream.binance.vision:443",
        ),
        rest=(
            "https://api.binance.com",
            "https://api-gcp.binance.com",
            *(f"https://api{number}.binance.com" for number in range(1, 5)),
            "https://data-api.binance.vision",
        ),
    )
    limits: ClassVar[Limits] = Limits(
        messages_per_second=4.0,  # of five, in which pings and pongs count
        streams_per_connection=1024,
        connections_per_five_minutes=300,
        connection_lifetime_s=86_400.0,
        weight_per_minute=6_000,
        server_ping_s=20.0,
    )
    intervals: ClassVar[dict[str, int]] = {
        "1s": _SECOND,
        **{f"{n}m": n * _MINUTE for n in (1, 3, 5, 15, 30)},
        **{f"{n}h": n * _HOUR for n in (1, 2, 4, 6, 8, 12)},
        "1d": _DAY,
        "3d": 3 * _DAY,
        "1w": 7 * _DAY,
        "1M": 31 * _DAY,
    }
    channels: ClassVar[frozenset[str]] = frozenset({*STREAMS, "kline"})

    def __init__(self, *, microseconds: bool = True) -> None:
        self.microseconds = microseconds

    def check(self, subscriptions: Iterable[Subscription]) -> None:
        """Raises Unsupported for a channel or kline interval that Binance lacks; intervals are case-sensitive."""
        for subscription in subscriptions:
            kind, _, interval = subscription.channel.partition("_")
            if kind == "kline":
                if interval not in self.intervals:
                    offered = ", ".join(self.intervals)
                    raise Unsupported(f"binance has no kline interval {interval!r}; it offers {offered}.")
            elif subscription.channel not in STREAMS:
                offered = ", ".join((*sorted(STREAMS), "kline_<interval>"))
                raise Unsupported(f"binance has no channel {subscription.channel!r}; it offers {offered}.")

    def connections(self, subscriptions: Sequence[Subscription]) -> list[Connection]:
        """Connections of at most 1024 streams each, without doubles; the channels of a symbol stay together."""
        room = self.limits.streams_per_connection
        bundles: list[list[Subscription]] = []
        for _, group in groupby(sorted(set(subscriptions)), attrgetter("symbol")):
            wanted = list(group)
            if not bundles or len(bundles[-1]) + len(wanted) > room:
                bundles.append([])
            bundles[-1].extend(wanted)
        return [Connection(self._path(bundle), tuple(bundle)) for bundle in bundles]

    def session(self, connection: Connection, origin: Origin = "stream") -> BinanceSession:
        """A new session for one connection."""
        return BinanceSession(connection, origin)

    def headers(self) -> dict[str, str]:
        """Asks for microseconds over REST too."""
        return {"X-MBX-TIME-UNIT": "MICROSECOND"} if self.microseconds else {}

    def time_request(self) -> Request:
        """Asks what time it is at the exchange (weight 1)."""
        return Request("time", "/api/v3/time", (), 1)

    def time(self, body: bytes) -> int:
        """The time of a time answer, in microseconds.

        Raises:
            UnreadableFrame: the body is not what the documentation says.
        """
        return payloads.time(body)

    def instruments_request(self) -> Request:
        """Asks for all symbols (weight 20)."""
        return Request("instruments", "/api/v3/exchangeInfo", (), 20)

    def instruments(self, body: bytes) -> list[Instrument]:
        """Every symbol of an exchangeInfo answer, trading or not.

        Raises:
            UnreadableFrame: the body is not what the documentation says.
        """
        return payloads.instruments(body)

    def snapshot_request(self, symbol: str, depth: int = 5000) -> Request:
        """Asks for a book snapshot of up to 5000 levels a side (weight 5, 25, 50 or 250 by depth)."""
        depth = min(depth, 5000)
        weight = next(weight for most, weight in _DEPTH_WEIGHTS if depth <= most)
        return Request("depth", "/api/v3/depth", (("symbol", symbol), ("limit", str(depth))), weight, symbol)

    def klines_request(
        self, symbol: str, interval: str, start: int | None = None, end: int | None = None, limit: int = 1000
    ) -> Request:
        """Asks for up to 1000 klines that open from `start` until before `end` (weight 2).

        With `start` the oldest come first, without it the newest before `end`.
        """
        params = [("symbol", symbol), ("interval", interval), ("limit", str(min(limit, 1000)))]
        if start is not None:
            params.append(("startTime", str(-(-start // 1000))))
        if end is not None:
            params.append(("endTime", str((end - 1) // 1000)))  # inclusive at the exchange
        return Request("klines", "/api/v3/klines", tuple(params), 2, symbol, interval)

    def trades_request(self, symbol: str, from_id: str | None = None, limit: int = 1000) -> Request:
        """Asks for up to 1000 trades (weight 25). Trades by id are not served by data-api.binance.vision."""
        params = ("symbol", symbol), ("limit", str(min(limit, 1000)))
        if from_id is None:
            return Request("trades", "/api/v3/trades", params, 25, symbol)
        return Request("trades", "/api/v3/historicalTrades", (*params, ("fromId", from_id)), 25, symbol)

    def agg_trades_request(self, symbol: str, from_id: str | None = None, limit: int = 1000) -> Request:
        """Asks for up to 1000 aggregate trades (weight 4)."""
        params = [("symbol", symbol), ("limit", str(min(limit, 1000)))]
        if from_id is not None:
            params.append(("fromId", from_id))
        return Request("agg_trades", "/api/v3/aggTrades", tuple(params), 4, symbol)

    def tickers_request(self, symbols: Sequence[str]) -> Request:
        """Asks for 24 h tickers, of all symbols if none is given (weight 2, 40 or 80 by their number)."""
        path = "/api/v3/ticker/24hr"
        if len(symbols) == 1:
            return Request("tickers", path, (("symbol", symbols[0]),), 2, symbols[0])
        if not symbols:
            return Request("tickers", path, (), 80)
        weight = 2 if len(symbols) <= 20 else 40 if len(symbols) <= 100 else 80
        return Request("tickers", path, (("symbols", msgspec.json.encode(list(symbols)).decode()),), weight)

    def answer(self, request: Request, body: bytes, at: int, origin: Origin = "rest") -> list[Record]:
        """The records in the body of a successful answer.

        A kline counts as closed if a later one follows in the answer or, from the exchange itself, if its end has
        passed at `at`: what a local exchange replays is long past by our clock. A book has no time but `at`.

        Raises:
            UnreadableFrame: the body is not what the documentation says.
            Unsupported: there are no records in the answer to such a request.
        """
        return payloads.answer(request, body, at, origin)

    def refusal(self, status: int, body: bytes) -> tuple[int, str]:
        """Binance's code and words; the HTTP status and the start of the body where it says nothing readable."""
        return payloads.refusal(status, body)

    def _path(self, subscriptions: Sequence[Subscription]) -> str:
        unit = "&timeUnit=MICROSECOND" if self.microseconds else ""
        return f"/stream?streams={'/'.join(in_path(subscriptions))}{unit}"
