"""Segments on their way to the store: the open one, and the closed ones that wait, oldest first.

Nothing here knows threads; whoever shares these objects between threads holds a lock around each call.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from marketlab.clock import Clock
from marketlab.errors import StoreUnavailable
from marketlab.records import Kline, Record
from marketlab.stores import crashpoints
from marketlab.stores.contract import Batching, Commit
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.spool import Contents, Spool

__all__ = ["Intake", "Load", "Segment", "Waiting"]

_UNPACKABLE = (TypeError, ValueError, OverflowError)
_IN_MEMORY = 2  # closed segments whose records are kept; what waits behind them is read back from the disk


class Segment(msgspec.Struct):
    """A closed segment. `own` records of it were accepted by this writer (0: adopted); `contents` if still in memory."""

    spool: Spool
    number: int
    own: int
    size: int
    contents: Contents | None


class Intake:
    """The open segment. Used by the spool's thread alone.

    `running` gives the klines that are not closed yet as they stand now; those that changed go to the end of each
    segment. Nobody waits for them, so they count neither as accepted nor as settled.
    """

    def __init__(
        self,
        spool: Spool,
        batching: Batching,
        clock: Clock,
        dead_letters: DeadLetters,
        running: Callable[[], Iterable[Kline]] = tuple,
    ) -> None:
        self.records: list[Record] = []
        self._spool = spool
        self._batching = batching
        self._clock = clock
        self._dead_letters = dead_letters
        self._running = running
        self._added: list[Record] = []
        self._known: dict[tuple[str, str, str], Kline] = {}
        self._began = clock.monotonic()

    @property
    def size(self) -> int:
        """Bytes in the open segment."""
        return self._spool.size

    @property
    def is_due(self) -> bool:
        """Whether the store's batch is full or old enough."""
        limits = self._batching
        is_old = self._clock.monotonic() - self._began >= limits.seconds
        if not self.records:
            return is_old and bool(self._changed())
        return is_old or len(self.records) >= limits.rows or self.size >= limits.bytes

    def take(self, records: Sequence[Record]) -> int:
        """Records onto the disk; returns how many went to the dead letters instead, being nothing that can be packed.

        Raises:
            StoreUnavailable: the disk refused; none of them counts as taken.
        """
        kept = self._append(records)
        if not self.records:
            self._began = self._clock.monotonic()
        self.records += kept
        return len(records) - len(kept)

    def complete(self) -> None:
        """Add the running klines that have changed; where the disk refuses them, the next segment has newer ones."""
        changed = self._changed()
        if changed:
            with suppress(StoreUnavailable):
                self._added = self._append(changed)
                self._known |= {_series(kline): kline for kline in changed}

    def close(self) -> Segment | None:
        """Ends the open segment; None when there is none."""
        size = self.size
        number = self._spool.close_segment()
        if number is None:
            return None
        records, self.records = self.records, []
        added, self._added = self._added, []
        self._began = self._clock.monotonic()
        return Segment(self._spool, number, len(records), size, Contents([*records, *added], []))

    def _changed(self) -> list[Kline]:
        return [kline for kline in self._running() if self._known.get(_series(kline)) is not kline]

    def _append(self, records: Sequence[Record]) -> list[Record]:
        try:
            self._spool.append(records)
        except _UNPACKABLE as error:
            if len(records) == 1:
                self._dead_letters.keep(None, f"This cannot be packed: {error}", records)
                return []
            half = len(records) // 2
            return self._append(records[:half]) + self._append(records[half:])
        return list(records)


def _series(kline: Kline) -> tuple[str, str, str]:
    return kline.exchange, kline.symbol, kline.interval


class Load:
    """Segments that are handed over together: consecutive ones of one writer, up to `most` rows of any table.

    The commit is that of the last one. A store that has it has all segments up to it, as each load is handed over in
    full before the next one. After a crash the same segments may be loaded otherwise; then a store that has only some
    of them does not know the commit, and what it has is the same by key.
    """

    def __init__(self, most: int) -> None:
        self.segments: list[Segment] = []
        self._most = most
        self._parts: list[Contents] = []
        self._rows: Counter[type[Any]] = Counter()

    @property
    def commit(self) -> Commit:
        """What names it for good."""
        last = self.segments[-1]
        return Commit(last.spool.writer, last.number)

    @property
    def contents(self) -> Contents:
        """The records of all segments, in their order."""
        records = [record for part in self._parts for record in part.records]
        return Contents(records, [payload for part in self._parts for payload in part.unreadable])

    def fits(self, segment: Segment) -> bool:
        """Whether it may come next, as far as can be told without its contents."""
        if not self.segments:
            return True
        last = self.segments[-1]
        follows = segment.spool is last.spool and segment.number == last.number + 1
        return follows and max(self._rows.values(), default=0) < self._most

    def add(self, segment: Segment) -> bool:
        """One more, with its contents from the disk; says whether there was room for it.

        Raises:
            StoreUnavailable: the disk does not give it.
        """
        contents = segment.contents or segment.spool.read(segment.number)
        rows = self._rows + Counter(map(type, contents.records))
        if self.segments and max(rows.values(), default=0) > self._most:
            # Its turn comes next.
            segment.contents = contents
            return False
        self.segments.append(segment)
        self._parts.append(contents)
        self._rows = rows
        return True


class Waiting:
    """Closed segments. `settled` of the writer's own records are with the store (or in the dead letters, or dropped)."""

    def __init__(self, spool: Spool) -> None:
        self.bytes = 0
        self.settled = 0
        self.dropped = 0
        self._own = spool
        self._segments: deque[Segment] = deque()
        self._leaving = 0

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def adopted(self) -> int:
        """How many of the segments were left by writers that are gone."""
        return sum(segment.spool is not self._own for segment in self._segments)

    @property
    def in_memory(self) -> int:
        """How many of the segments still have their records in memory."""
        return sum(segment.contents is not None for segment in self._segments)

    def adopt(self, spools: Sequence[Spool]) -> None:
        """What writers that are gone have left, in their order."""
        for spool in spools:
            for number in spool.numbers():
                self.add(Segment(spool, number, 0, spool.path(number).stat().st_size, None))

    def add(self, segment: Segment) -> None:
        """One more at the end."""
        if len(self._segments) >= _IN_MEMORY:
            segment.contents = None
        self._segments.append(segment)
        self.bytes += segment.size

    def next_for(self, load: Load) -> Segment | None:
        """The segment whose turn it is after those of a load, if it may join them; it is not dropped from here on."""
        place = len(load.segments)
        if place >= len(self._segments) or not load.fits(self._segments[place]):
            return None
        self._leaving = place + 1
        return self._segments[place]

    def done(self, load: Load) -> None:
        """The store has all of a load, which are the first ones."""
        self._leaving = 0
        for _ in load.segments:
            self._forget(self._segments.popleft())
            crashpoints.reach("between-segments")

    def drop(self) -> int | None:
        """Give up the oldest one that is not on its way; returns how many records it held, None: there is none."""
        place = max(1, self._leaving)
        if len(self._segments) <= place:
            return None
        oldest = self._segments[place]
        del self._segments[place]
        count = oldest.own
        if not count:
            # Left by another writer: only the disk knows.
            with suppress(StoreUnavailable):
                count = len((oldest.contents or oldest.spool.read(oldest.number)).records)
        self.dropped += count
        self._forget(oldest)
        return count

    def release(self) -> None:
        """Leave the rest to the next writer."""
        for spool in {id(segment.spool): segment.spool for segment in self._segments}.values():
            spool.release()
        self._own.release()

    def _forget(self, segment: Segment) -> None:
        segment.spool.discard(segment.number)
        self.bytes -= segment.size
        self.settled += segment.own
        if segment.spool is not self._own and not any(other.spool is segment.spool for other in self._segments):
            segment.spool.release()
