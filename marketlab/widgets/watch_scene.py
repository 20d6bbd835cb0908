"""Several symbols as a scene: last price, change, spread and the closes of an hour of each."""

import asyncio
import time
from collections.abc import Collection, Sequence
from math import isfinite, isnan, nan

from marketlab.records import AggTrade, Kline, Quote, Record, Ticker, Trade
from marketlab.streams.feed import Feed
from marketlab.widgets.contract import Frame, Kind, Need
from marketlab.widgets.picture import state_word
from marketlab.widgets.watch_picture import WatchPicture

__all__ = ["CLOSES", "INTERVAL", "WatchScene", "Watched", "checksum"]

CLOSES = 60
INTERVAL = "1m"

_MINUTE_US = 60_000_000
_SPARKS_EVERY_S = 1.0
_DAY, _HISTORY, _FIRST = 0, 1, 2


class Watched:
    """What is known of one symbol; what is not is NaN. `closes` are those of the newest minutes, the oldest first."""

    def __init__(self) -> None:
        self.last = self.reference = self.bid = self.ask = nan
        self.high = self.low = self.volume = nan
        self.time = 0
        self.since = _DAY
        self.closes = [nan] * CLOSES
        self._minute = 0
        self._closed = False

    @property
    def change(self) -> float:
        """Against the reference, as a fraction."""
        return self.last / self.reference - 1

    def numbers(self) -> tuple[float, ...]:
        """The row of a WATCH frame."""
        prices = (self.last, self.reference, self.bid, self.ask, self.high, self.low, self.volume)
        return (*prices, float(self.time) if self.time else nan)

    def take(self, record: Record, *, has_day: bool) -> bool:
        """Take a record; returns whether anything is shown of it."""
        if isinstance(record, Quote):
            self.bid, self.ask = record.bid_price, record.ask_price
        elif isinstance(record, Trade | AggTrade):
            self._priced(record.time, record.price)
            if not has_day and isnan(self.reference):
                self.reference, self.since = record.price, _FIRST
        elif isinstance(record, Ticker):
            self.reference, self.since = record.open, _DAY
            self.high, self.low, self.volume = record.high, record.low, record.quote_volume
            self._priced(record.time, record.last)
        elif isinstance(record, Kline) and record.interval == INTERVAL:
            self.bar(record)
        else:
            return False
        return True

    def _priced(self, time: int, price: float) -> None:
        if time < self.time:
            return  # one that was missed and fetched back, or the slower of two streams
        self.time, self.last = time, price
        minute = time // _MINUTE_US
        if minute > self._minute or (minute == self._minute and not self._closed):
            self._put(minute, price)

    def bar(self, kline: Kline) -> None:
        """Take a bar: its close is that of its minute."""
        minute = kline.open_time // _MINUTE_US
        if kline.closed or minute >= self._minute:
            self._put(minute, kline.close, closed=kline.closed)

    def _put(self, minute: int, price: float, *, closed: bool = False) -> None:
        if minute > self._minute:
            step = min(minute - self._minute, CLOSES)
            self.closes = [*self.closes[step:], *[nan] * step]
            self._minute, self._closed = minute, False
        at = CLOSES - 1 - (self._minute - minute)
        if at >= 0:
            self.closes[at] = price
            self._closed |= closed and minute == self._minute


class WatchScene:
    """Last price, change, spread and sparkline of several symbols.

    The change is against 24 hours ago, as the exchange's ticker has it; where it has none, against the first bar of
    an hour of history, or else the first price that was seen. `selected` and `palette` may be changed in the feed's
    thread.

    Args:
        feed: Where they come from; used in its thread.
        symbols: Canonical symbols.
        streamed: What the feed streams already; of two streams that would do it is taken.
        decimals: Of each symbol's prices in the static picture.
        selected: The symbol that it marks.
        palette: Its colours.
    """

    def __init__(
        self,
        feed: Feed,
        symbols: Sequence[str],
        streamed: Collection[Need] = (),
        decimals: Sequence[int] = (),
        selected: str = "",
        palette: str = "default",
    ) -> None:
        self.symbols = tuple(symbols)
        self.selected = selected
        self.watched = {symbol: Watched() for symbol in self.symbols}
        self._feed = feed
        self._decimals = tuple(decimals) or (2,) * len(self.symbols)
        self.palette = palette
        offered = feed.exchange.channels
        self._has_day = bool({"ticker", "mini_ticker"} & offered)
        self._needs = [need for symbol in self.symbols for need in _cheapest(symbol, offered, streamed)]
        self._id = checksum(self.symbols)
        self._origin = ""
        self._sparked = 0.0

    def needs(self) -> Sequence[Need]:
        """Quotes for the spread, tickers for price and change, one-minute klines for the sparkline."""
        return self._needs

    async def prepare(self) -> None:
        """Fetch an hour of one-minute klines of each symbol.

        Raises:
            MarketlabError: those of a symbol cannot be had; the others are shown.
        """
        done = await asyncio.gather(*map(self._fill, self.symbols), return_exceptions=True)
        self._sparked = 0.0
        for failure in done:
            if failure is not None:
                raise failure

    async def _fill(self, symbol: str) -> None:
        watched = self.watched[symbol]
        klines = await self._feed.history(symbol, INTERVAL, CLOSES)
        for kline in klines:
            watched.bar(kline)
        if not klines:
            return
        self._origin = self._origin or klines[-1].origin
        if not self._has_day:
            watched.reference, watched.since = klines[0].open, _HISTORY
        if isnan(watched.last):
            watched.last = klines[-1].close

    def take(self, record: Record) -> bool:
        """Prices, quotes, tickers and bars are news."""
        watched = self.watched.get(record.symbol)
        if watched is None or not watched.take(record, has_day=self._has_day):
            return False
        self._origin = record.origin
        return True

    def frames(self, *, whole: bool) -> Sequence[Frame]:
        """A WATCH frame; about once a second also a SPARKS frame."""
        rows = list(self.watched.values())
        since = max(watched.since for watched in rows)
        columns = [*zip(*(watched.numbers() for watched in rows), strict=True), (float(since),)]
        shown = [Frame(Kind.WATCH, (len(rows), 1), columns, self._id, origin=self._origin)]
        now = time.monotonic()
        if whole or now - self._sparked >= _SPARKS_EVERY_S:
            self._sparked = now
            closes = [watched.closes for watched in rows]
            shown.append(Frame(Kind.SPARKS, (len(rows), CLOSES), closes, self._id, origin=self._origin))
        return shown

    def svg(self) -> str:
        """The list as a picture."""
        state = state_word(self._origin, running=self._feed.running, connected=self._feed.connected)
        picture = WatchPicture(self._feed.exchange.name, state, self.selected, self.palette)
        rows = [
            (symbol, watched.last, watched.change, spread_bps(watched.bid, watched.ask), watched.closes, decimals)
            for (symbol, watched), decimals in zip(self.watched.items(), self._decimals, strict=True)
        ]
        return picture.svg(rows, max(watched.since for watched in self.watched.values()))


def spread_bps(bid: float, ask: float) -> float:
    """The spread in hundredths of a percent of the middle."""
    return (ask - bid) / (ask + bid) * 20_000 if isfinite(bid + ask) and bid + ask > 0 else nan


def _cheapest(symbol: str, offered: Collection[str], streamed: Collection[Need]) -> list[Need]:
    """The streams that have all columns of a symbol with as few messages as there can be."""
    if Need(symbol, "ticker") in streamed:
        price = "ticker"
    else:
        price = next((channel for channel in ("mini_ticker", "ticker") if channel in offered), "trade")
    channels = ["quote", price, *([f"kline_{INTERVAL}"] if "kline" in offered else [])]
    return [Need(symbol, channel) for channel in channels]


def checksum(symbols: Sequence[str]) -> int:
    """What tells one list of symbols from another: FNV-1a of 32 bits, as the browser computes it too."""
    value = 0x811C9DC5
    for byte in ",".join(symbols).encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
