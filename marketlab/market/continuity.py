"""What is missing: trade ids and kline times judged as they come, and what would fill the holes.

Rules that hold in this file:

1. A record whose id or open time was seen is a double and is dropped, wherever it came from.
2. A step over ids, or over whole kline periods, opens a hole: a `Gap` says what is missing and a `Need` what to
   fetch. What comes later is not held up by it.
3. A record that falls into an open hole is passed on, however late it comes. When nothing is missing any more, the
   same gap is given again, healed. What cannot be fetched leaves the gap as it is.
4. A kline period counts as missing once a later one has closed, or has been seen running twice: with overlapping
   connections, the first sight of a period may come before the end of the one before it.
5. Ids that are not numbers are passed on unjudged. An id below the last one with a time above it begins a new series.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from marketlab.records import AggTrade, Gap, Kline, Record, Trade

__all__ = ["HOLES", "Counts", "IdContinuity", "KlineContinuity", "Need", "Output"]

HOLES = 1_000
"""Open holes of one symbol and channel that are remembered; beyond them the oldest can no longer heal."""


class Need(msgspec.Struct, frozen=True):
    """Something to fetch over REST: a book snapshot, trades by id (both inclusive), or klines by open time.

    A book's `from_id` is the first update that the snapshot has to reach: its id must be at least that, less one.
    Klines are asked for from `start` until before `end`, which lies beyond the hole: a kline of an answer is known
    to be closed by the one that follows it.
    """

    kind: Literal["book", "trades", "agg_trades", "klines"]
    symbol: str
    interval: str = ""
    from_id: str | None = None
    to_id: str | None = None
    start: int | None = None
    end: int | None = None


Output: TypeAlias = Record | Need
_Judged: TypeAlias = Trade | AggTrade | Kline


class Counts(msgspec.Struct):
    """What happened to one symbol. `gaps` were found, `healed` of them filled; `resyncs` are books loaded anew."""

    messages: int = 0
    doubles: int = 0
    gaps: int = 0
    healed: int = 0
    compared: int = 0
    equal: int = 0
    resyncs: int = 0


class _Hole:
    def __init__(self, gap: Gap, missing: range) -> None:
        self.gap = gap
        self.missing = [missing]

    def fill(self, start: int, end: int) -> bool:
        for position, part in enumerate(self.missing):
            if start in part:
                self.missing[position : position + 1] = filter(None, (range(part.start, start), range(end, part.stop)))
                return True
        return False


class _Holes:
    """The open holes of one symbol and channel, as half-open ranges of ids or times."""

    def __init__(self, exchange: str, symbol: str, channel: str, reason: str, counts: Counts) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.channel = channel
        self.reason = reason
        self.counts = counts
        self.open: list[_Hole] = []
        self._last_start = -1

    def add(self, missing: range, start: int, end: int, by: _Judged, ids: tuple[str, str] | None = None) -> Gap:
        # Gaps are told apart by their start, and several holes may begin in one microsecond.
        self._last_start = start = max(start, self._last_start + 1)
        from_id, to_id = ids or (None, None)
        gap = Gap(
            self.exchange,
            self.symbol,
            self.channel,
            start,
            max(end, start + 1),
            from_id,
            to_id,
            self.reason,
            None,
            None,
            by.received,
            by.origin,
        )
        self.open.append(_Hole(gap, missing))
        del self.open[:-HOLES]
        self.counts.gaps += 1
        return gap

    def resume(self, gap: Gap, missing: range) -> None:
        self._last_start = max(self._last_start, gap.start)
        if gap.healed_at is None:
            self.open.append(_Hole(gap, missing))

    def fill(self, start: int, end: int, by: _Judged) -> Sequence[Output]:
        for hole in self.open:
            if hole.fill(start, end):
                if hole.missing:
                    return (by,)
                self.open.remove(hole)
                self.counts.healed += 1
                return by, msgspec.structs.replace(hole.gap, healed_at=by.received, healed_from=by.origin)
        return ()


class IdContinuity:
    """Judges the trades, or the aggregate trades, of one symbol by their ids."""

    def __init__(self, exchange: str, symbol: str, kind: Literal["trades", "agg_trades"], counts: Counts) -> None:
        self._kind: Literal["trades", "agg_trades"] = kind
        self._counts = counts
        self._symbol = symbol
        channel = "trade" if kind == "trades" else "agg_trade"
        self._holes = _Holes(exchange, symbol, channel, "missing trade ids", counts)
        self._last = -1
        self._time = 0

    def resume(self, id: str, time: int) -> None:
        """Start behind a record that is already kept, so that what was missed since then is found."""
        if id.isdecimal():
            self._last, self._time = int(id), time

    def resume_gap(self, gap: Gap) -> None:
        """Take up a gap of before, to be filled if it is still open."""
        if gap.from_id is not None and gap.to_id is not None:
            self._holes.resume(gap, range(int(gap.from_id), int(gap.to_id) + 1))

    def accept(self, id: str, record: Trade | AggTrade) -> Sequence[Output]:
        """The record unless it is a double, behind a new gap and need, or before a healed gap."""
        last, time = self._last, record.time
        if not id.isdecimal():
            return (record,)
        number = int(id)
        if number != last + 1 and last >= 0:
            if number > last:
                return self._hole(number, record)
            if time <= self._time:
                found = self._holes.fill(number, number + 1, record)
                self._counts.doubles += not found
                return found
        self._last = number
        if time > self._time:
            self._time = time
        return (record,)

    def needs(self) -> list[Need]:
        """What is still missing."""
        return [self._need(missing) for hole in self._holes.open for missing in hole.missing]

    def _hole(self, number: int, record: Trade | AggTrade) -> Sequence[Output]:
        missing = range(self._last + 1, number)
        ids = str(missing[0]), str(missing[-1])
        gap = self._holes.add(missing, self._time, record.time + 1, record, ids)
        self._last = number
        self._time = max(self._time, record.time)
        return gap, self._need(missing), record

    def _need(self, missing: range) -> Need:
        return Need(self._kind, self._symbol, from_id=str(missing[0]), to_id=str(missing[-1]))


class KlineContinuity:
    """Judges the klines of one symbol and interval by their open times. Only closed ones can be missing."""

    def __init__(self, exchange: str, symbol: str, interval: str, counts: Counts) -> None:
        self._symbol = symbol
        self._interval = interval
        self._counts = counts
        self._holes = _Holes(exchange, symbol, f"kline_{interval}", "missing klines", counts)
        self._expected: int | None = None
        self._last_closed = -1
        self._newest: Kline | None = None
        self._suspected = -1

    def resume(self, kline: Kline) -> None:
        """Start behind a closed kline that is already kept."""
        self._expected = kline.close_time + 1
        self._last_closed = kline.open_time

    def resume_gap(self, gap: Gap) -> None:
        """Take up a gap of before, to be filled if it is still open."""
        self._holes.resume(gap, range(gap.start, gap.end))

    def accept(self, kline: Kline) -> Sequence[Output]:
        """The kline unless it is a double, behind a new gap and need, or before a healed gap."""
        if kline.closed:
            return self._closed(kline)
        newest = self._newest
        if newest is not None and (kline.open_time, kline.trade_count) < (newest.open_time, newest.trade_count):
            self._counts.doubles += 1
            return ()
        if kline.open_time <= self._last_closed:
            self._counts.doubles += 1
            return ()
        self._newest = kline
        if self._expected is None:
            # A period that was seen running will close, whatever happens to the connection until then; but a tape that
            # begins in the middle of a period never closes it.
            self._expected = kline.close_time + 1 if kline.origin == "replay" else kline.open_time
        elif kline.open_time > self._expected:
            if self._suspected == kline.open_time:
                return self._hole(self._expected, kline)
            self._suspected = kline.open_time
        return (kline,)

    def needs(self) -> list[Need]:
        """What is still missing."""
        return [self._need(missing) for hole in self._holes.open for missing in hole.missing]

    def _closed(self, kline: Kline) -> Sequence[Output]:
        time, expected = kline.open_time, self._expected
        if expected is not None and time < expected:
            found = self._holes.fill(time, kline.close_time + 1, kline)
            if not found and time > self._last_closed:
                self._last_closed = time
                return (kline,)
            self._counts.doubles += not found
            return found
        found = (kline,) if expected is None or time == expected else self._hole(expected, kline)
        self._expected, self._last_closed = kline.close_time + 1, time
        return found

    def _hole(self, expected: int, kline: Kline) -> Sequence[Output]:
        missing = range(expected, kline.open_time)
        gap = self._holes.add(missing, missing.start, missing.stop, kline)
        self._expected = kline.open_time
        return gap, self._need(missing), kline

    def _need(self, missing: range) -> Need:
        return Need("klines", self._symbol, self._interval, start=missing.start, end=missing.stop + 1)
