"""What came over each stream: how many records, and the newest one."""

from collections.abc import Hashable, Iterator
from typing import Any

from marketlab.exchanges.contract import Subscription
from marketlab.records import AggTrade, BookSnapshot, BookUpdate, Gap, Kline, Quote, Record, Ticker, Trade
from marketlab.streams.hub import channel_of
from marketlab.streams.status import StreamStatus

__all__ = ["Board", "Entry"]


class Entry:
    """One stream's count and newest record. `closed` counts closed klines."""

    __slots__ = ("channel", "closed", "count", "last")

    def __init__(self, record: Record) -> None:
        self.channel = channel_of(record)
        self.count = 0
        self.closed = 0
        self.last = record


_KINDS: dict[str, type[Any]] = {"trade": Trade, "agg_trade": AggTrade, "quote": Quote, "book": BookUpdate}


class Board:
    """Counts records by stream. Snapshots of books and gaps are counted apart from the streams."""

    def __init__(self) -> None:
        self.records = 0
        self.gaps = 0
        self.healed = 0
        self.snapshots = 0
        self.last_received: int | None = None
        self.origins: set[str] = set()
        self._entries: dict[Hashable, Entry] = {}

    def add(self, records: list[Record]) -> None:
        """Count a batch."""
        entries = self._entries
        for record in records:
            kind = type(record)
            key = (record.symbol, _part(record) if kind in _DIVIDED else kind)
            entry = entries.get(key)
            if entry is None:
                if kind in _APART:
                    self._add_apart(record)
                    continue
                entry = entries[key] = Entry(record)
            entry.count += 1
            entry.last = record
            if kind is Kline and isinstance(record, Kline) and record.closed:
                entry.closed += 1
        self.records += len(records)
        if records:
            # One batch comes from one place, but for what it heals.
            self.origins.update((records[0].origin, records[-1].origin))
            self.last_received = records[-1].received

    def entry(self, stream: Subscription) -> Entry | None:
        """What came over a stream; None: nothing yet."""
        channel = stream.channel
        part = channel if channel in ("ticker", "mini_ticker") else channel.removeprefix("kline_")
        return self._entries.get((stream.symbol, _KINDS.get(channel, part)))

    def last_seen(self, stream: Subscription) -> int | None:
        """The microsecond of a stream's last record."""
        entry = self.entry(stream)
        return None if entry is None else entry.last.received

    def count(self, kind: type[Any], symbol: str | None = None) -> int:
        """Records of a type, of one symbol or of all."""
        return sum(entry.count for entry in self._of(kind, symbol))

    def total(self, symbol: str | None = None) -> int:
        """Records of streams, of one symbol or of all."""
        return sum(entry.count for entry in self._entries.values() if symbol in (None, entry.last.symbol))

    def closed(self, symbol: str | None = None) -> int:
        """Closed klines of one symbol or of all."""
        return sum(entry.closed for entry in self._of(Kline, symbol))

    def status(self, stream: Subscription) -> StreamStatus:
        """A stream's figures."""
        entry = self.entry(stream)
        if entry is None:
            return StreamStatus(stream.symbol, stream.channel, 0, None, None, None)
        last = entry.last
        time = _time(last)
        lag = None if last.origin in _UNTIMED or time == last.received else (last.received - time) / 1_000_000
        return StreamStatus(stream.symbol, stream.channel, entry.count, time, last.received, lag)

    def _of(self, kind: type[Any], symbol: str | None) -> Iterator[Entry]:
        return (
            entry
            for entry in self._entries.values()
            if type(entry.last) is kind and (symbol is None or entry.last.symbol == symbol)
        )

    def _add_apart(self, record: Record) -> None:
        if isinstance(record, Gap):
            if record.healed_at is None:
                self.gaps += 1
            else:
                self.healed += 1
        else:
            self.snapshots += 1


_DIVIDED = frozenset({Kline, Ticker})
_UNTIMED = frozenset({"replay", "simulated"})  # where the exchange's time is not ours
_APART = frozenset({Gap, BookSnapshot})


def _part(record: Record) -> str:
    return record.interval if isinstance(record, Kline) else channel_of(record)


def _time(record: Record) -> int:
    if isinstance(record, Kline):
        return min(record.received, record.close_time)
    return record.start if isinstance(record, Gap) else record.time
