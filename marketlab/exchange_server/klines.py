"""Klines of one symbol and interval out of its trades, exact, as the exchange sends them.

1. Sums are whole units (sizes 1e-8, quote amounts 1e-16), never floats.
2. A period without trades has open = high = low = close = the close before it, volumes and count 0, ids -1.
3. A period counts as full if the source shows it from its first moment on and no trade id is missing in it. Only full
   periods are ever called closed, and only they are answered over REST.
4. A trade shows that the periods before its own are over. Other events show it a second later: on the real exchange
   a depth event runs up to 0.2 s ahead of trades that happened before it. At the source's end nothing can follow.
"""

from collections.abc import Iterator, Sequence

from marketlab.exchange_server.frames import number
from marketlab.exchange_server.trades import Trades
from marketlab.market.candles import period

__all__ = ["INTERVALS", "LATE", "Candle", "Klines"]

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

INTERVALS = {
    "1s": _SECOND,
    "1m": _MINUTE,
    "3m": 3 * _MINUTE,
    "5m": 5 * _MINUTE,
    "15m": 15 * _MINUTE,
    "30m": 30 * _MINUTE,
    "1h": _HOUR,
    "2h": 2 * _HOUR,
    "4h": 4 * _HOUR,
    "6h": 6 * _HOUR,
    "8h": 8 * _HOUR,
    "12h": 12 * _HOUR,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
    "1M": 31 * _DAY,
}
"""The exchange's intervals and their length in microseconds (the month: its longest)."""

LATE = _SECOND
"""How long after a moment an event other than a trade must be to show that no trade of that moment will follow."""


class Candle:
    """A period and what traded in it: times in microseconds, prices and sizes in units of 1e-8, quotes of 1e-16."""

    __slots__ = (
        "buy_quote",
        "buy_size",
        "close",
        "count",
        "end",
        "first_id",
        "full",
        "high",
        "last_id",
        "low",
        "open",
        "open_time",
        "quote",
        "size",
    )

    def __init__(self, open_time: int, end: int, price: int, *, full: bool) -> None:
        self.open_time = open_time
        self.end = end
        self.open = self.high = self.low = self.close = price
        self.size = self.quote = self.buy_size = self.buy_quote = self.count = 0
        self.first_id = self.last_id = -1
        self.full = full

    def add(self, trade_id: int, price: int, size: int, *, bought: bool) -> None:
        """Take a trade of this period."""
        if not self.count:
            self.open = self.high = self.low = price
            self.first_id = trade_id
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.last_id = trade_id
        self.size += size
        self.quote += price * size
        if bought:
            self.buy_size += size
            self.buy_quote += price * size
        self.count += 1

    def join(self, other: "Candle") -> None:
        """Take a whole smaller candle of this period, which comes after all that was taken before."""
        if other.count:
            if not self.count:
                self.open, self.high, self.low, self.first_id = other.open, other.high, other.low, other.first_id
            self.high = max(self.high, other.high)
            self.low = min(self.low, other.low)
            self.last_id = other.last_id
        self.close = other.close
        self.size += other.size
        self.quote += other.quote
        self.buy_size += other.buy_size
        self.buy_quote += other.buy_quote
        self.count += other.count

    def row(self, *, micros: bool) -> list[object]:
        """As REST gives it."""
        return [
            self.open_time if micros else self.open_time // 1000,
            number(self.open),
            number(self.high),
            number(self.low),
            number(self.close),
            number(self.size),
            self.end - 1 if micros else (self.end - 1) // 1000,
            number(self.quote // 100_000_000),
            self.count,
            number(self.buy_size),
            number(self.buy_quote // 100_000_000),
            "0",
        ]

    def payload(self, symbol: str, interval: str, now: int, *, closed: bool, micros: bool) -> dict[str, object]:
        """As the stream sends it at a moment."""
        row = self.row(micros=micros)
        return {
            "e": "kline",
            "E": now if micros else now // 1000,
            "s": symbol,
            "k": {
                "t": row[0],
                "T": row[6],
                "s": symbol,
                "i": interval,
                "f": self.first_id,
                "L": self.last_id,
                "o": row[1],
                "c": row[4],
                "h": row[2],
                "l": row[3],
                "v": row[5],
                "n": self.count,
                "x": closed,
                "q": row[7],
                "V": row[9],
                "Q": row[10],
                "B": "0",
            },
        }


class Klines:
    """All candles of one symbol and interval so far, oldest first; the last one is running."""

    def __init__(self, interval: str, trades: Trades, *, seen_from: int, history: Sequence[Candle] = ()) -> None:
        self.interval = interval
        self.rows: list[Candle] = []
        self.past = 0
        """How many rows were over before the source's first line."""
        self._length = INTERVALS[interval]
        self._trades = trades
        self._taken = 0
        self._seen_from = seen_from
        if history and self._length >= history[0].end - history[0].open_time:
            self._seen_from = history[0].open_time
            for candle in history:
                self._row_at(candle.open_time, candle.open).join(candle)
            self.past = len(self.rows) - (self.rows[-1].end > history[-1].end)

    def settle(self) -> None:
        """Take in the trades that have come since the last time."""
        trades = self._trades
        rows = self.rows
        for at in range(self._taken, len(trades)):
            time, price = trades.times[at], trades.prices[at]
            hole = at > 0 and trades.ids[at] != trades.ids[at - 1] + 1
            known = len(rows)
            row = rows[-1] if rows and time < rows[-1].end else self._row_at(time, price)
            if hole:
                for spoiled in rows[max(known - 1, 0) :]:
                    spoiled.full = False
            row.add(trades.ids[at], price, trades.sizes[at], bought=not trades.makers[at])
        self._taken = len(trades)

    def advance(self, sure: int) -> None:
        """Let exchange time pass: no trade from before `sure` will follow."""
        if self.rows and sure >= self.rows[-1].end:
            self._row_at(sure, self.rows[-1].close)

    def between(self, start: int | None, end: int | None, limit: int) -> Iterator[Candle]:
        """Full candles that open from `start` to `end` (both inclusive): the oldest `limit` where a start is given,
        else the newest."""
        rows = [
            row
            for row in self.rows
            if row.full and (start is None or row.open_time >= start) and (end is None or row.open_time <= end)
        ]
        return iter(rows[:limit] if start is not None else rows[-limit:])

    def _row_at(self, time: int, price: int) -> Candle:
        rows = self.rows
        if not rows:
            opens, end = period(self.interval, self._length, time)
            rows.append(Candle(opens, end, price, full=opens >= self._seen_from))
        while time >= rows[-1].end:
            opens, end = period(self.interval, self._length, rows[-1].end)
            rows.append(Candle(opens, end, rows[-1].close, full=True))
        return rows[-1]
