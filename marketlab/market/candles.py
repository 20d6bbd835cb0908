"""Candles, exact: from trades, or from smaller candles, equal to the exchange's own to the last digit.

Rules that hold in this file:

1. Volumes are sums of decimals, not of floats. A float stands for the shortest decimal that it prints as, sums
   are kept in whole units of 1e-8 (beyond that in fractions), and each becomes the nearest float once, at the end.
   Adding the same trades in other portions therefore gives the same candle.
2. A period is closed only if it was seen in full: from its first moment (its beginning was seen, or everything
   since a moment before it) to its end, without a hole in the trade ids or in the smaller candles.
3. A period without trades is a candle too: open = high = low = close = the previous close, volumes and count 0.
   It does not lend its prices to a larger candle that has trades.
4. A trade id that is not above the last one is a double and changes nothing.
"""

from datetime import UTC, datetime
from decimal import Context, Decimal
from fractions import Fraction
from typing import TypeAlias

import msgspec

from marketlab.records import Kline, Origin, Trade

__all__ = ["Candles", "Totals", "period"]

_Units: TypeAlias = int | Fraction

_UNIT = 10**8
_SURE = 10**15  # 15 digits: below, one float stands for one decimal with 8 places
_WIDE = Context(prec=1000)
_DAY = 86_400_000_000
_MONDAY = 4 * _DAY  # 1970-01-05, the first Monday of the epoch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Totals(msgspec.Struct, frozen=True):
    """A candle's sums as exact decimals, and its first and last trade id (-1 where it has no numbered trade)."""

    volume: Decimal
    quote_volume: Decimal
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    first_trade_id: int
    last_trade_id: int


def period(interval: str, interval_us: int, time: int) -> tuple[int, int]:
    """The period of an interval that holds a moment, as (first microsecond, first microsecond of the next one).

    Weeks open on Monday and months on the first, in UTC; all others count from 1970.
    """
    if interval.endswith("M"):
        moment = datetime.fromtimestamp(time // 1_000_000, UTC)
        following = moment.year + moment.month // 12, moment.month % 12 + 1
        return _month(moment.year, moment.month), _month(*following)
    offset = _MONDAY if interval.endswith("w") else 0
    start = time - (time - offset) % interval_us
    return start, start + interval_us


def _month(year: int, month: int) -> int:
    return (datetime(year, month, 1, tzinfo=UTC) - _EPOCH).days * _DAY


def _units(value: float) -> _Units:
    scaled = round(value * 1e8)
    if scaled / 1e8 == value and scaled < _SURE:
        return scaled
    return Fraction(repr(value)) * _UNIT


def _nearest(units: _Units, unit: int) -> float:
    return float(units / unit)


def _decimal(units: _Units, places: int) -> Decimal:
    number = Fraction(units)
    while number.denominator != 1:
        number *= 10
        places += 1
    return Decimal(number.numerator).scaleb(-places, _WIDE)


class _Candle:
    __slots__ = (
        "buy_quote",
        "buy_size",
        "close",
        "complete",
        "count",
        "end",
        "filled",
        "first_id",
        "high",
        "last_id",
        "low",
        "open",
        "open_time",
        "origin",
        "quote",
        "received",
        "size",
    )

    def __init__(
        self, open_time: int, end: int, close: float, *, complete: bool, received: int, origin: Origin
    ) -> None:
        self.open_time = open_time
        self.end = end
        self.open = self.high = self.low = self.close = close
        self.size: _Units = 0
        self.quote: _Units = 0
        self.buy_size: _Units = 0
        self.buy_quote: _Units = 0
        self.count = 0
        self.filled = False
        self.first_id = self.last_id = -1
        self.complete = complete
        self.received = received
        self.origin = origin

    def price(self, open: float, high: float, low: float, close: float) -> None:
        if not self.filled:
            self.filled = True
            self.open, self.high, self.low = open, high, low
        else:
            self.high = max(self.high, high)
            self.low = min(self.low, low)
        self.close = close

    def add(self, trade: Trade, number: int | None) -> None:
        self.price(trade.price, trade.price, trade.price, trade.price)
        size = _units(trade.size)
        quote = size * _units(trade.price)
        self.size += size
        self.quote += quote
        if trade.side == "buy":
            self.buy_size += size
            self.buy_quote += quote
        self.count += 1
        if number is not None:
            self.last_id = number
            if self.first_id < 0:
                self.first_id = number
        self.received, self.origin = trade.received, trade.origin

    def add_kline(self, kline: Kline) -> None:
        if kline.trade_count or kline.volume:
            self.price(kline.open, kline.high, kline.low, kline.close)
        elif not self.filled:
            self.open = self.high = self.low = self.close = kline.close
        self.size += _units(kline.volume)
        self.quote += _units(kline.quote_volume) * _UNIT
        self.buy_size += _units(kline.taker_buy_volume)
        self.buy_quote += _units(kline.taker_buy_quote_volume) * _UNIT
        self.count += kline.trade_count
        self.received, self.origin = kline.received, kline.origin

    def totals(self) -> Totals:
        return Totals(
            _decimal(self.size, 8),
            _decimal(self.quote, 16),
            _decimal(self.buy_size, 8),
            _decimal(self.buy_quote, 16),
            self.first_id,
            self.last_id,
        )


class Candles:
    """The candles of one symbol and interval, out of its trades or out of its smaller candles (not both).

    `seen_from` says from which microsecond on everything is seen; without it the first period is never closed,
    since its beginning may be missing. `late` counts trades that came after their period had been finished: they
    change nothing.
    """

    def __init__(
        self, exchange: str, symbol: str, interval: str, interval_us: int, *, seen_from: int | None = None
    ) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.interval = interval
        self.interval_us = interval_us
        self.late = 0
        self._seen_from = seen_from
        self._running: _Candle | None = None
        self._finished: _Candle | None = None
        self._last_id: int | None = None
        self._expected: int | None = None

    @property
    def whole(self) -> bool:
        """Whether everything of the running period so far was seen, from its first moment on."""
        return self._running is not None and self._running.complete

    def add(self, trade: Trade) -> list[Kline]:
        """Take the next trade and return the periods that it ends, in order; those not seen in full are not `closed`.

        Trades come in the order of their ids. A step of more than one in numeric ids is a hole.
        """
        number = int(trade.trade_id) if trade.trade_id.isdecimal() else None
        hole = False
        if number is not None:
            if self._last_id is not None:
                if number <= self._last_id:
                    return []
                hole = number != self._last_id + 1
            self._last_id = number
        running = self._running or self._first(trade.time, trade.price, trade.received, trade.origin)
        if hole:
            running.complete = False
        if trade.time < running.open_time:
            self.late += 1
            return []
        finished: list[Kline] = []
        if trade.time >= running.end:
            finished, running = self._finish(running, trade.time, known=not hole)
        running.add(trade, number)
        return finished

    def add_kline(self, kline: Kline) -> list[Kline]:
        """Take the next smaller candle and return the periods that it ends; what is open or doubled changes nothing."""
        if not kline.closed or (self._expected is not None and kline.open_time < self._expected):
            return []
        finished: list[Kline] = []
        whole = self._expected == kline.open_time
        running = self._running
        if running is not None and not whole:
            running.complete = False
            if kline.open_time >= running.end:
                finished.append(self._close(running))
                running = None
        if running is None:
            running = self._first(kline.open_time, kline.open, kline.received, kline.origin)
            running.complete |= whole or kline.open_time == running.open_time
        running.add_kline(kline)
        self._expected = kline.close_time + 1
        if self._expected >= running.end:
            finished.append(self._close(running))
        return finished

    def advance(self, time: int) -> list[Kline]:
        """Let exchange time pass and return the periods that have ended by then, empty ones too.

        Only for candles from trades. The caller promises that no trade from before `time` is missing or will follow.
        """
        if self._running is None or time < self._running.end:
            return []
        finished, _ = self._finish(self._running, time, known=True)
        return finished

    def current(self) -> Kline | None:
        """The running period so far, never `closed`; None before the first trade or between smaller candles."""
        return None if self._running is None else self._kline(self._running, closed=False)

    def totals(self, open_time: int) -> Totals:
        """The exact sums and the trade ids of the running period, or of the last finished one that had trades.

        Any other period counts as one without trades.
        """
        for candle in (self._running, self._finished):
            if candle is not None and candle.open_time == open_time:
                return candle.totals()
        return Totals(Decimal(0), Decimal(0), Decimal(0), Decimal(0), -1, -1)

    def _first(self, time: int, price: float, received: int, origin: Origin) -> _Candle:
        start, end = period(self.interval, self.interval_us, time)
        complete = self._seen_from is not None and self._seen_from <= start
        self._running = _Candle(start, end, price, complete=complete, received=received, origin=origin)
        return self._running

    def _finish(self, candle: _Candle, time: int, *, known: bool) -> tuple[list[Kline], _Candle]:
        # Up to the period that holds `time`. After a hole nobody knows what was in the periods between.
        finished = []
        while candle.end <= time:
            if known or candle.filled:
                finished.append(self._close(candle))
            start, end = period(self.interval, self.interval_us, candle.end if known else time)
            candle = _Candle(start, end, candle.close, complete=known, received=candle.received, origin=candle.origin)
        self._running = candle
        return finished, candle

    def _close(self, candle: _Candle) -> Kline:
        if candle.filled:
            self._finished = candle
        self._running = None
        return self._kline(candle, closed=candle.complete)

    def _kline(self, candle: _Candle, *, closed: bool) -> Kline:
        return Kline(
            self.exchange,
            self.symbol,
            self.interval,
            candle.open_time,
            candle.end - 1,
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            _nearest(candle.size, _UNIT),
            _nearest(candle.quote, _UNIT * _UNIT),
            candle.count,
            _nearest(candle.buy_size, _UNIT),
            _nearest(candle.buy_quote, _UNIT * _UNIT),
            closed,
            candle.received,
            candle.origin,
        )
