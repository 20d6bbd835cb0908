"""Klines as a scene: history, the running bar built from every trade, and what was missing."""

from collections.abc import Callable, Sequence

import msgspec

from marketlab.exchanges.contract import Subscription
from marketlab.market.candles import Candles
from marketlab.records import Gap, Kline, Record, Trade
from marketlab.streams.feed import Feed
from marketlab.widgets.contract import Flag, Frame, Kind, Need
from marketlab.widgets.kline_bars import Bars, change_of
from marketlab.widgets.kline_history import History, Readable
from marketlab.widgets.kline_picture import KlinePicture, Look

__all__ = ["LONGEST", "KlineScene"]

LONGEST = 10_000
"""Bars of a window, at most."""

_OLDER = 500


class KlineScene:
    """The newest klines of a symbol. Of the running period it shows whichever is ahead, the exchange's or our own:

    - our own candle, out of the trades, where every trade of the period was seen and the exchange tells of no more;
    - else the exchange's, with the prices of the trades that came since.

    Args:
        feed: Where klines and trades come from; used in its thread.
        symbol: A canonical symbol.
        interval: Such as `1m`.
        size: How many periods are shown.
        store: Where history is looked for first.
        past: Gives trades that the feed had before, by time and id, up to the newest; called in the feed's thread.
        look: Of the static picture.

    Raises:
        Unsupported: the exchange has no such interval.
    """

    def __init__(
        self,
        feed: Feed,
        symbol: str,
        interval: str = "1m",
        size: int = 500,
        store: Readable | None = None,
        past: Callable[[], Sequence[Trade]] = tuple,
        look: Look | None = None,
    ) -> None:
        self.symbol = symbol
        self.interval = interval
        self.look = look or Look()
        self._feed = feed
        self._needs = [Need(symbol, "trade"), Need(symbol, f"kline_{interval}")]
        feed.exchange.check([Subscription(symbol, f"kline_{interval}")])
        self.bars = Bars(interval, feed.exchange.intervals[interval], size)
        self._history = History(feed, symbol, store)
        self._past = past
        self._candles = self._new_candles()
        self._channels = ("trade", f"kline_{interval}")
        self._begun = False
        self._loading = 0
        self._newest_id = 0
        self._traded = False
        self._proven = -1
        self._sent = -1
        self._first = self._base = -1
        self._known_of = (-1, -1)

    def needs(self) -> Sequence[Need]:
        """Trades, and the interval's klines."""
        return self._needs

    async def prepare(self) -> None:
        """Begin with the trades that the feed has, and fetch the window's history.

        Raises:
            MarketlabError: the store or the exchange could not be asked.
        """
        if not self._begun:
            self._begin()
        self._loading += 1
        try:
            await self._history.fill(self.bars)
        finally:
            self._loading -= 1
            self.bars.revise()

    def extend(self) -> None:
        """Show older bars too; `prepare` fetches them."""
        self.bars.size = min(self.bars.size + _OLDER, LONGEST)

    def take(self, record: Record) -> bool:
        """Trades, the interval's klines and what was fetched back are news."""
        if isinstance(record, Trade):
            for finished in self._candles.add(record):
                self.bars.add(finished)
            self._note(record)
            self._traded = True
            return True
        if isinstance(record, Kline):
            return record.interval == self.interval and self._take_kline(record)
        if isinstance(record, Gap) and record.healed_at is not None and record.channel in self._channels:
            self.bars.heal(record.start, record.end)
            return True
        return False

    def _take_kline(self, kline: Kline) -> bool:
        own = self._candles.current()
        if own is not None and _same(own, kline):
            # Whatever we saw of this period is all that there was.
            self._proven = kline.open_time
            self._traded = True
        return self.bars.add(kline) or self._traded

    def _settle(self) -> None:
        """Bring the running bar up to the newest trade."""
        if not self._traded:
            return
        self._traded = False
        own = self._candles.current()
        if own is None or own.open_time < self.bars.last:
            return
        known = self.bars.get(own.open_time)
        if known is None or self._is_ahead(own, known):
            self.bars.put(own)
        elif not known.closed:
            self.bars.put(_carried_on(known, own))

    def _is_ahead(self, own: Kline, known: Kline) -> bool:
        seen_in_full = self._candles.whole or self._proven == own.open_time
        return seen_in_full and own.trade_count >= known.trade_count

    def frames(self, *, whole: bool) -> Sequence[Frame]:
        """The last two bars; all of the window where `whole`, or where one before those is different now."""
        self._settle()
        bars = self.bars
        # Before history is asked for, its streams are.
        flags = Flag(0) if self._begun and not self._loading else Flag.LOADING
        if bars.last < 0:
            return [Frame(Kind.BLANK, flags=flags)] if flags else []
        numbers: list[float] = [self._change(), bars.interval_us, bars.revision]
        if whole or bars.revision != self._sent:
            self._sent = bars.revision
            anchor = bars.anchor()
            numbers += [anchor.time, anchor.quote_volume, anchor.volume]
            rows, kind = bars.rows(), Kind.BARS_SNAPSHOT
        else:
            times = (bars.previous, bars.last) if bars.previous >= self._first else (bars.last,)
            rows, kind = [bars.row(time) for time in times], Kind.BARS
        columns = [*zip(*rows, strict=True), numbers]
        return [Frame(kind, (len(rows), len(numbers)), columns, self._newest_id, flags, self.origin)]

    def _change(self) -> float:
        bars = self.bars
        # The newest two bars are no part of a revision.
        if self._known_of != (bars.last, bars.revision) or self._base >= bars.previous:
            self._known_of = (bars.last, bars.revision)
            self._first, self._base = bars.first(), bars.first_known()
        return change_of([bars.row(self._base), bars.row(bars.last)])

    def _note(self, trade: Trade) -> None:
        # What was fetched back comes late, and is none of the newest.
        if trade.trade_id.isdecimal():
            self._newest_id = max(self._newest_id, int(trade.trade_id))

    @property
    def origin(self) -> str:
        """Where the newest bar came from; empty where there is none."""
        newest = self.bars.get(self.bars.last)
        return newest.origin if newest is not None else ""

    def svg(self) -> str:
        """The newest bars of the window as a picture."""
        self._settle()
        bars = self.bars
        feed = self._feed
        names = (feed.exchange.name, self.symbol, self.interval)
        picture = KlinePicture(*names, self.origin, self.look, feed.running, feed.connected)
        return picture.svg(bars.rows(), bars.anchor(), bars.interval_us)

    def _begin(self) -> None:
        # What the feed has seen of the running period before anybody looked belongs to it as well.
        self._begun = True
        candles = self._new_candles()
        for trade in self._past():
            for finished in candles.add(trade):
                self.bars.add(finished)
            self._note(trade)
        if candles.current() is not None:
            self._candles = candles
            self._traded = True

    def _new_candles(self) -> Candles:
        return Candles(self._feed.exchange.name, self.symbol, self.interval, self.bars.interval_us)


def _same(one: Kline, other: Kline) -> bool:
    return (one.open_time, one.trade_count, one.volume) == (other.open_time, other.trade_count, other.volume)


def _carried_on(known: Kline, own: Kline) -> Kline:
    """The exchange's kline with what newer trades say of its prices."""
    close, received = (own.close, own.received) if own.received >= known.received else (known.close, known.received)
    high, low = max(known.high, own.high), min(known.low, own.low)
    return msgspec.structs.replace(known, high=high, low=low, close=close, received=received)
