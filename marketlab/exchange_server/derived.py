"""Streams that the source lacks, built from what it has: klines, aggregate trades, tickers, partial books.

Each is asked after every event of its symbol and returns the frames that are due then, in combined form with times in
microseconds. Exchange time is the event time of the source's frames; nothing here looks at a clock.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from marketlab.exchange_server.frames import number
from marketlab.exchange_server.klines import INTERVALS, LATE
from marketlab.exchange_server.listing import Listing, Statistics

__all__ = ["Derived", "derive"]

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
_WINDOWS = {"ticker": 24 * _HOUR, "ticker_1h": _HOUR, "ticker_4h": 4 * _HOUR, "ticker_1d": 24 * _HOUR}


class Derived(Protocol):
    """A stream built from others."""

    def frames(self, now: int, *, traded: bool) -> Iterable[bytes]:
        """What is due after an event at exchange time `now`; `traded` says that it was a trade."""
        ...

    def finish(self, now: int) -> Iterable[bytes]:
        """What is still to be said when the source has come to its end."""
        ...


def derive(stream: str, listings: Mapping[str, Listing]) -> Derived | None:
    """The builder of a stream, or None where there is no such symbol or stream."""
    if stream == "!miniTicker@arr":
        return _MiniTickers(listings)
    symbol, _, channel = stream.partition("@")
    listing = listings.get(symbol.upper())
    if listing is None or symbol != symbol.lower():
        return None
    if channel.removeprefix("kline_") in INTERVALS and channel.startswith("kline_"):
        return _KlineStream(stream, listing, channel.removeprefix("kline_"))
    if channel in _WINDOWS:
        return _TickerStream(stream, listing, channel)
    if channel.removesuffix("@100ms") in ("depth5", "depth10", "depth20"):
        return _PartialBook(stream, listing, int(channel.removeprefix("depth").partition("@")[0]))
    builders: dict[str, Callable[[str, Listing], Derived]] = {"aggTrade": _AggTradeStream, "miniTicker": _MiniTicker}
    builder = builders.get(channel)
    return builder(stream, listing) if builder else None


def _frame(stream: str, data: object) -> bytes:
    return b'{"stream":"%b","data":%b}' % (stream.encode(), msgspec.json.encode(data))


class _KlineStream:
    """The running candle every two seconds (1s: every second) if it has changed, a closed one at once."""

    def __init__(self, stream: str, listing: Listing, interval: str) -> None:
        self._stream = stream
        self._listing = listing
        self._interval = interval
        self._every = _SECOND if interval == "1s" else 2 * _SECOND
        self._tick = 0
        self._due = 0
        klines = listing.klines(interval)
        self._next = max(len(klines.rows) - 1, klines.past)
        self._shown = (0, 0)

    def frames(self, now: int, *, traded: bool) -> Iterable[bytes]:
        if now < self._due:
            return []
        klines = self._listing.klines(self._interval)
        if not traded:
            klines.advance(now - LATE)
        rows = klines.rows
        if len(rows) <= klines.past:
            return []
        frames = self._closed(now)
        if now >= self._tick:
            self._tick = now - now % self._every + self._every
            frames += self._running(now)
        self._due = min(self._tick, rows[-1].end)
        return frames

    def finish(self, now: int) -> Iterable[bytes]:
        klines = self._listing.klines(self._interval)
        klines.advance(now)
        frames = self._closed(now)
        return [*frames, *self._running(now)] if len(klines.rows) > klines.past and klines.rows[-1].count else frames

    def _closed(self, now: int) -> list[bytes]:
        rows = self._listing.klines(self._interval).rows
        frames = [self._payload(at, now, closed=True) for at in range(self._next, len(rows) - 1) if rows[at].full]
        self._next = max(len(rows) - 1, self._next)
        return frames

    def _running(self, now: int) -> list[bytes]:
        row = self._listing.klines(self._interval).rows[-1]
        shown = (row.open_time, row.count)
        if shown == self._shown:
            return []
        self._shown = shown
        return [self._payload(-1, now, closed=False)]

    def _payload(self, at: int, now: int, *, closed: bool) -> bytes:
        row = self._listing.klines(self._interval).rows[at]
        data = row.payload(self._listing.symbol, self._interval, now, closed=closed, micros=True)
        return _frame(self._stream, data)


class _AggTradeStream:
    """An aggregate is sent when the next trade does not join it, or a second after it at the latest."""

    def __init__(self, stream: str, listing: Listing) -> None:
        self._stream = stream
        self._listing = listing
        self._next = len(listing.settled_aggregates())

    def frames(self, now: int, *, traded: bool) -> Iterable[bytes]:
        aggregates = self._listing.settled_aggregates()
        count = len(aggregates)
        complete = count - 1
        if count and not traded and now - LATE >= aggregates.time(count - 1):
            complete = count
        return self._up_to(complete, now)

    def finish(self, now: int) -> Iterable[bytes]:
        return self._up_to(len(self._listing.settled_aggregates()), now)

    def _up_to(self, end: int, now: int) -> list[bytes]:
        frames = []
        for at in range(self._next, end):
            row = self._listing.aggregates.row(at, micros=True)
            head = {"e": "aggTrade", "E": max(now, self._listing.aggregates.time(at)), "s": self._listing.symbol}
            frames.append(_frame(self._stream, head | row))
        self._next = max(self._next, end)
        return frames


class _TickerStream:
    """A rolling window once a second, if something has traded since the last one."""

    def __init__(self, stream: str, listing: Listing, channel: str) -> None:
        self._stream = stream
        self._listing = listing
        self._channel = channel
        self._tick = 0
        self._shown = -1

    def frames(self, now: int, *, traded: bool) -> Iterable[bytes]:
        if now < self._tick:
            return []
        self._tick = now - now % _SECOND + _SECOND
        return self.finish(now)

    def finish(self, now: int) -> Iterable[bytes]:
        statistics = self._listing.statistics(now, _WINDOWS[self._channel])
        if statistics is None or statistics.last_id == self._shown:
            return []
        self._shown = statistics.last_id
        return [_frame(self._stream, self._data(statistics, now))]

    def _data(self, window: Statistics, now: int) -> dict[str, object]:
        kind = "24hrTicker" if self._channel == "ticker" else self._channel.removeprefix("ticker_") + "Ticker"
        quote = self._listing.quote
        data: dict[str, object] = {
            "e": kind,
            "E": now,
            "s": self._listing.symbol,
            "p": number(window.last - window.open),
            "P": window.percent,
            "w": number(window.vwap),
        }
        if self._channel == "ticker":
            data |= {"x": number(window.open), "c": number(window.last), "Q": number(window.last_size)}
            data |= {"b": quote.b, "B": quote.B, "a": quote.a, "A": quote.A}
        else:
            data["c"] = number(window.last)
        return data | {
            "o": number(window.open),
            "h": number(window.high),
            "l": number(window.low),
            "v": number(window.size),
            "q": number(window.quote // 100_000_000),
            "O": window.opened,
            "C": window.closed,
            "F": window.first_id,
            "L": window.last_id,
            "n": window.count,
        }


class _MiniTicker:
    """As the ticker, with fewer fields."""

    def __init__(self, stream: str, listing: Listing) -> None:
        self._stream = stream
        self._listing = listing
        self._tick = 0
        self._shown = -1

    def frames(self, now: int, *, traded: bool) -> Iterable[bytes]:
        if now < self._tick:
            return []
        self._tick = now - now % _SECOND + _SECOND
        return self.finish(now)

    def finish(self, now: int) -> Iterable[bytes]:
        return [_frame(self._stream, data) for data in self.changed(now)]

    def changed(self, now: int) -> list[dict[str, object]]:
        window = self._listing.statistics(now)
        if window is None or window.last_id == self._shown:
            return []
        self._shown = window.last_id
        data: dict[str, object] = {
            "e": "24hrMiniTicker",
            "E": now,
            "s": self._listing.symbol,
            "c": number(window.last),
            "o": number(window.open),
            "h": number(window.high),
            "l": number(window.low),
            "v": number(window.size),
            "q": number(window.quote // 100_000_000),
        }
        return [data]


class _MiniTickers:
    """The mini tickers of all symbols that have changed, once a second."""

    def __init__(self, listings: Mapping[str, Listing]) -> None:
        self._tickers = [_MiniTicker("", listing) for listing in listings.values()]
        self._tick = 0

    def frames(self, now: int, *, traded: bool) -> Iterable[bytes]:
        if now < self._tick:
            return []
        self._tick = now - now % _SECOND + _SECOND
        return self.finish(now)

    def finish(self, now: int) -> Iterable[bytes]:
        changed = [data for ticker in self._tickers for data in ticker.changed(now)]
        return [_frame("!miniTicker@arr", changed)] if changed else []


class _PartialBook:
    """The best levels after each depth frame that changed them."""

    def __init__(self, stream: str, listing: Listing, depth: int) -> None:
        self._stream = stream
        self._listing = listing
        self._depth = depth
        self._shown = b""

    def frames(self, now: int, *, traded: bool) -> Iterable[bytes]:
        if traded:
            return []
        frame = _frame(self._stream, self._listing.book.top(self._depth))
        if frame == self._shown:
            return []
        self._shown = frame
        return [frame]

    def finish(self, now: int) -> Iterable[bytes]:
        return []
