"""The klines that a chart shows: those of one symbol and interval, by period.

Rules that hold in this file:

1. Of two klines of one period the better one stays: closed beats open, then the higher trade count, then the first.
2. The window is the newest `size` periods. A period that nobody knows is in it nevertheless, as one that is missing.
3. What lies before the window is kept back to the UTC day's first bar, if that is near: from there on the volume
   weighted average price is reckoned.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from marketlab.market.candles import period
from marketlab.records import Kline

__all__ = ["DAY", "HEALED", "LEAD", "MISSING", "PARTIAL", "Anchor", "Bars", "Row", "better", "change_of", "row_of"]

DAY = 86_400_000_000
LEAD = 1_440
"""How many bars before the window are kept at most."""

MISSING, HEALED, PARTIAL = 1, 2, 4
"""Marks: nobody knows this bar; something in it was missing and fetched back; it is over, but was not seen in full."""

Row = tuple[float, ...]
"""Open time, open, high, low, close, volume, quote volume, trade count, mark."""

_revisions = itertools.count(1)
_UNKNOWN = (math.nan,) * 7


class Anchor(msgspec.Struct, frozen=True):
    """Where a volume weighted average begins, and its sums up to the window's first bar."""

    time: int
    quote_volume: float
    volume: float


def better(one: Kline, other: Kline) -> bool:
    """Whether the first of two klines of one period tells more than the second."""
    return (one.closed, one.trade_count) > (other.closed, other.trade_count)


def row_of(kline: Kline, mark: int) -> Row:
    """A kline in numbers."""
    return (
        kline.open_time,
        kline.open,
        kline.high,
        kline.low,
        kline.close,
        kline.volume,
        kline.quote_volume,
        kline.trade_count,
        mark,
    )


def change_of(rows: Sequence[Row]) -> float:
    """From the open of the first bar that is known to the close of the last, as a fraction; NaN: it cannot be said."""
    known = [row for row in rows if not int(row[8]) & MISSING]
    return known[-1][4] / known[0][1] - 1 if known and known[0][1] else math.nan


class Bars:
    """The klines of one symbol and interval.

    `last` and `previous` are the open times of the newest two periods; -1: there is none. `revision` is another number
    after each change of what lies before those; no two of these objects ever have the same.

    Args:
        interval: Such as `1m`.
        interval_us: Its length.
        size: How many periods are shown.
    """

    def __init__(self, interval: str, interval_us: int, size: int) -> None:
        self.interval = interval
        self.interval_us = interval_us
        self.size = size
        self.last = self.previous = -1
        self.revision = next(_revisions)
        self._klines: dict[int, Kline] = {}
        self._healed: set[int] = set()

    def add(self, kline: Kline) -> bool:
        """Take a kline; returns whether it was better than what was known of its period."""
        time = kline.open_time
        known = self._klines.get(time)
        if known is not None and not better(kline, known):
            return False
        self._klines[time] = kline
        if time > self.last:
            self.last, self.previous = time, self.before(time)
            self._prune()
        elif time < self.previous:
            self.revise()
        return True

    def put(self, kline: Kline) -> None:
        """Take the newest state of the running period, whatever was known of it unless that is closed."""
        if self.add(kline) or self.is_closed(kline.open_time):
            return
        self._klines[kline.open_time] = kline

    def heal(self, start: int, end: int) -> None:
        """Something from `start` until before `end` was missing and is there now."""
        start = max(start, self.last - (self.size + LEAD) * self.interval_us)
        while start < end:
            opened, start = self.period(start)
            self._healed.add(opened)
        self.revise()

    def revise(self) -> None:
        """The picture as a whole is another one."""
        self.revision = next(_revisions)

    def get(self, time: int) -> Kline | None:
        """The kline of the period that opens at a time."""
        return self._klines.get(time)

    def is_closed(self, time: int) -> bool:
        """Whether the kline of a period is known for good."""
        known = self._klines.get(time)
        return known is not None and known.closed

    def mark(self, time: int) -> int:
        """What is remarkable about a period."""
        known = self._klines.get(time)
        if known is None:
            return MISSING
        partial = PARTIAL if time < self.last and not known.closed else 0
        return partial | (HEALED if time in self._healed else 0)

    def row(self, time: int) -> Row:
        """A period in numbers; what nobody knows is NaN."""
        known = self._klines.get(time)
        return (time, *_UNKNOWN, MISSING) if known is None else row_of(known, self.mark(time))

    def first(self) -> int:
        """The open time of the window's first bar; -1 where there is none."""
        start = self.start(self.last, self.size)
        # Where something is known of before, nothing of the window is before its time.
        return max(min(self._klines), start) if self._klines else -1

    def first_known(self) -> int:
        """The open time of the window's first bar that is known; -1 where there is none."""
        return next((time for time in self.times() if time in self._klines), -1)

    def times(self) -> Iterator[int]:
        """The open times of all periods of the window, the oldest first."""
        time = self.first()
        while 0 <= time <= self.last:
            yield time
            time = self.period(time)[1]

    def rows(self) -> list[Row]:
        """The window in numbers, the oldest first."""
        return [self.row(time) for time in self.times()]

    def anchor(self) -> Anchor:
        """Where the window's volume weighted average begins: at its day's first bar, if all since then is known."""
        time = first = self.first()
        day = first - first % DAY
        quote_volume = volume = 0.0
        while time > day and (known := self._klines.get(self.before(time))) is not None:
            time = known.open_time
            quote_volume += known.quote_volume
            volume += known.volume
        return Anchor(time, quote_volume, volume)

    def missing(self, start: int, end: int) -> int:
        """The open time of the first period from `start` on that is not known for good; `end` where all before it are."""
        time = self.period(start)[0]
        while time < end and self.is_closed(time):
            time = self.period(time)[1]
        return min(time, end)

    def period(self, time: int) -> tuple[int, int]:
        """The period that holds a moment: its first microsecond and that of the next one."""
        return period(self.interval, self.interval_us, time)

    def before(self, time: int) -> int:
        """The open time of the period before the one that opens at a time."""
        return self.period(time - 1)[0]

    def start(self, last: int, count: int) -> int:
        """The open time of the first of `count` periods of which the last one opens at a time."""
        if not self.interval.endswith("M"):
            return last - (count - 1) * self.interval_us
        for _ in range(count - 1):
            last = self.before(last)
        return last

    def lead(self, start: int) -> int:
        """From where on klines are wanted for a window that begins at `start`."""
        day = start - start % DAY
        return day if start - day <= LEAD * self.interval_us and self.interval_us < DAY else start

    def _prune(self) -> None:
        klines = self._klines
        if len(klines) > self.size:
            oldest = self.lead(self.start(self.last, self.size))
            for time in _until(klines, oldest):
                del klines[time]
                self._healed.discard(time)


def _until(times: Iterable[int], oldest: int) -> list[int]:
    return [time for time in times if time < oldest]
