"""Binance's public REST endpoints over the listings, without HTTP: a query in, a value to encode out."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from marketlab.exchange_server.frames import number
from marketlab.exchange_server.klines import INTERVALS
from marketlab.exchange_server.listing import Listing, Statistics
from marketlab.exchange_server.player import Player

__all__ = ["Endpoint", "Query", "Refusal", "Rest", "error"]

_HOUR = 3_600_000_000
_LEGAL = {"symbol": "^[A-Z0-9-_.]{1,20}$", "limit": "^[0-9]{1,20}$"}


class Refusal(Exception):
    """An error answer: HTTP status, Binance's code and words."""

    def __init__(self, code: int, reason: str, status: int = 400) -> None:
        self.code = code
        self.reason = reason
        self.status = status
        super().__init__(reason)


def error(code: int, reason: str) -> bytes:
    """An error body as the exchange sends it."""
    return msgspec.json.encode({"code": code, "msg": reason})


class Query:
    """The parameters of a request, checked as they are read."""

    def __init__(self, params: Mapping[str, str], listings: Mapping[str, Listing], *, micros: bool) -> None:
        self.params = params
        self.micros = micros
        self._listings = listings

    @property
    def listing(self) -> Listing:
        """The symbol asked for, which is mandatory."""
        symbol = self.params.get("symbol", "")
        if not symbol:
            raise Refusal(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        return self._find(symbol)

    @property
    def listings(self) -> list[Listing]:
        """The symbols asked for with `symbol` or `symbols`; all of them where neither is sent."""
        if "symbol" in self.params:
            return [self.listing]
        if "symbols" not in self.params:
            return list(self._listings.values())
        try:
            names = msgspec.json.decode(self.params["symbols"], type=list[str])
        except msgspec.DecodeError:
            legal = r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$'
            raise Refusal(
                -1100, f"Illegal characters found in parameter 'symbols'; legal range is '{legal}'."
            ) from None
        return [self._find(name) for name in names]

    def integer(self, name: str) -> int | None:
        """An integer parameter, or None where it was not sent."""
        text = self.params.get(name)
        if text is None:
            return None
        if not text.isdecimal():
            legal = _LEGAL.get(name, "^[0-9]{1,20}$")
            raise Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
        return int(text)

    def limit(self, usual: int, most: int) -> int:
        """How many rows are wanted."""
        asked = self.integer("limit")
        return usual if asked is None else max(1, min(asked, most))

    def time(self, name: str) -> int | None:
        """A moment in microseconds; clients may send milli- or microseconds."""
        value = self.integer(name)
        return value if value is None or value >= 100_000_000_000_000 else value * 1000

    def stamp(self, time: int) -> int:
        """A moment in the unit that the client wants to read."""
        return time if self.micros else time // 1000

    def _find(self, symbol: str) -> Listing:
        if not all(character.isalnum() or character in "-_." for character in symbol) or symbol != symbol.upper():
            legal = _LEGAL["symbol"]
            raise Refusal(-1100, f"Illegal characters found in parameter 'symbol'; legal range is '{legal}'.")
        listing = self._listings.get(symbol)
        if listing is None:
            raise Refusal(-1121, "Invalid symbol.")
        return listing


class Endpoint(NamedTuple):
    """What a path answers, what it weighs, and the parameters that it reads."""

    answer: Callable[[Query], object]
    weight: Callable[[Query], int]
    params: frozenset[str]


class Rest:
    """The endpoints by their path below /api/v3/. `answered_depth` is called after each depth answer."""

    def __init__(self, listings: Mapping[str, Listing], player: Player) -> None:
        self._listings = listings
        self._player = player
        rows = ("symbol", "limit", "startTime", "endTime", "timeZone", "interval")
        several = ("symbol", "symbols", "type", "symbolStatus")
        self.endpoints: dict[str, Endpoint] = {
            "ping": _endpoint(lambda _: {}, 1),
            "time": _endpoint(lambda query: {"serverTime": query.stamp(player.now)}, 1),
            "exchangeInfo": _endpoint(self._information, 20, (*several, "permissions", "showPermissionSets")),
            "depth": _endpoint(self._depth, _depth_weight, ("symbol", "limit", "symbolStatus")),
            "trades": _endpoint(_trades, 25, ("symbol", "limit")),
            "historicalTrades": _endpoint(_trades, 25, ("symbol", "limit", "fromId")),
            "aggTrades": _endpoint(_agg_trades, 4, ("symbol", "limit", "fromId", "startTime", "endTime")),
            "klines": _endpoint(self._klines, 2, rows),
            "uiKlines": _endpoint(self._klines, 2, rows),
            "avgPrice": _endpoint(self._average, 2, ("symbol",)),
            "ticker/24hr": _endpoint(self._day, _day_weight, several),
            "ticker/price": _endpoint(_each(_price), _pair_weight, several),
            "ticker/bookTicker": _endpoint(_each(_quote), _pair_weight, several),
        }

    def answer(self, path: str, params: Mapping[str, str], *, micros: bool) -> object:
        """The answer to a request. Raises Refusal."""
        endpoint = self.endpoints[path]
        unread = [name for name in params if name not in endpoint.params]
        if unread:
            read = len(params) - len(unread)
            raise Refusal(
                -1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(params)}'."
            )
        return endpoint.answer(Query(params, self._listings, micros=micros))

    def weight(self, path: str, params: Mapping[str, str]) -> int:
        """What a request costs, whether it is well-formed or not."""
        try:
            return self.endpoints[path].weight(Query(params, self._listings, micros=False))
        except Refusal:
            return 1

    def _information(self, query: Query) -> object:
        weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
        raw = {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000}
        return {
            "timezone": "UTC",
            "serverTime": query.stamp(self._player.now),
            "rateLimits": [weight, raw],
            "exchangeFilters": [],
            "symbols": [listing.information() for listing in query.listings],
        }

    def _depth(self, query: Query) -> object:
        answer = query.listing.book.answer(query.limit(100, 5000))
        self._player.moved()
        return answer

    def _klines(self, query: Query) -> object:
        listing = query.listing
        interval = query.params.get("interval", "")
        if interval not in INTERVALS:
            raise Refusal(-1120, "Invalid interval.")
        if query.params.get("timeZone", "0") not in ("0", "0:00", "00:00", "+0", "-0"):
            raise Refusal(-1130, "Data sent for parameter 'timeZone' is not valid: this local exchange knows UTC only.")
        klines = listing.klines(interval)
        klines.advance(self._player.sure)
        rows = klines.between(query.time("startTime"), query.time("endTime"), query.limit(500, 1000))
        return [row.row(micros=query.micros) for row in rows]

    def _average(self, query: Query) -> object:
        window = query.listing.statistics(self._player.now, _HOUR // 12)
        price = number(window.vwap or window.last) if window else number(0)
        return {"mins": 5, "price": price, "closeTime": query.stamp(self._player.now)}

    def _day(self, query: Query) -> object:
        mini = query.params.get("type") == "MINI"
        now = self._player.now

        def row(listing: Listing, query: Query) -> dict[str, object]:
            return _statistics(listing, listing.statistics(now), query, now, mini=mini)

        return _each(row)(query)


def _endpoint(
    answer: Callable[[Query], object], weight: int | Callable[[Query], int], params: Iterable[str] = ()
) -> Endpoint:
    fixed = weight
    return Endpoint(answer, (lambda _: fixed) if isinstance(fixed, int) else fixed, frozenset(params))


def _each(row: Callable[[Listing, Query], object]) -> Callable[[Query], object]:
    def answer(query: Query) -> object:
        if "symbol" in query.params:
            return row(query.listing, query)
        return [row(listing, query) for listing in query.listings]

    return answer


def _depth_weight(query: Query) -> int:
    limit = query.integer("limit") or 100
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


def _day_weight(query: Query) -> int:
    if "symbol" in query.params:
        return 2
    count = len(query.listings) if "symbols" in query.params else 101
    return 2 if count <= 20 else 40 if count <= 100 else 80


def _pair_weight(query: Query) -> int:
    return 2 if "symbol" in query.params else 4


def _price(listing: Listing, _: Query) -> dict[str, object]:
    return {"symbol": listing.symbol, "price": number(listing.last_price())}


def _quote(listing: Listing, _: Query) -> dict[str, object]:
    quote = listing.quote
    return {
        "symbol": listing.symbol,
        "bidPrice": quote.b,
        "bidQty": quote.B,
        "askPrice": quote.a,
        "askQty": quote.A,
    }


def _trades(query: Query) -> object:
    trades = query.listing.trades
    trades.settle()
    limit = query.limit(500, 1000)
    wanted = query.integer("fromId")
    start = max(0, len(trades) - limit) if wanted is None else trades.from_id(wanted)
    return [trades.row(at, micros=query.micros) for at in range(start, min(start + limit, len(trades)))]


def _agg_trades(query: Query) -> object:
    aggregates = query.listing.settled_aggregates()
    limit = query.limit(500, 1000)
    wanted, since, until = query.integer("fromId"), query.time("startTime"), query.time("endTime")
    if wanted is not None:
        found = range(max(wanted, 1) - 1, len(aggregates))[:limit]
    else:
        inside = [
            at
            for at in range(len(aggregates))
            if (since is None or aggregates.time(at) >= since) and (until is None or aggregates.time(at) <= until)
        ]
        found = range(inside[0], inside[-1] + 1) if inside else range(0)
        found = found[:limit] if since is not None else found[-limit:]
    return [aggregates.row(at, micros=query.micros) for at in found]


def _statistics(
    listing: Listing, window: Statistics | None, query: Query, now: int, *, mini: bool
) -> dict[str, object]:
    window = window or Statistics(now, now, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1)
    quote = listing.quote
    change: dict[str, object] = {
        "priceChange": number(window.last - window.open),
        "priceChangePercent": window.percent,
        "weightedAvgPrice": number(window.vwap),
        "prevClosePrice": number(window.open),
    }
    best: dict[str, object] = {
        "lastQty": number(window.last_size),
        "bidPrice": quote.b,
        "bidQty": quote.B,
        "askPrice": quote.a,
        "askQty": quote.A,
    }
    return {
        "symbol": listing.symbol,
        **({} if mini else change),
        "lastPrice": number(window.last),
        **({} if mini else best),
        "openPrice": number(window.open),
        "highPrice": number(window.high),
        "lowPrice": number(window.low),
        "volume": number(window.size),
        "quoteVolume": number(window.quote // 100_000_000),
        "openTime": query.stamp(window.opened),
        "closeTime": query.stamp(window.closed),
        "firstId": window.first_id,
        "lastId": window.last_id,
        "count": window.count,
    }
