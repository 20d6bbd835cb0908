"""Segments on their way to the store: the open one, and the closed ones that wait, oldest first.

Nothing here knows threads; whoever shares these objects between threads holds a lock around each call.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from marketlab.clock import Clock
from marketlab.records import Record
from marketlab.stores.contract import Batching
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.spool import Contents, Spool

__all__ = ["Intake", "Segment", "Waiting"]

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
    """The open segment. Used by the spool's thread alone."""

    def __init__(self, spool: Spool, batching: Batching, clock: Clock, dead_letters: DeadLetters) -> None:
        self.records: list[Record] = []
        self._spool = spool
        self._batching = batching
        self._clock = clock
        self._dead_letters = dead_letters
        self._opened_at = 0.0

    @property
    def size(self) -> int:
        """Bytes in the open segment."""
        return self._spool.size

    @property
    def is_due(self) -> bool:
        """Whether the store's batch is full or old enough."""
        if not self.records:
            return False
        limits = self._batching
        age = self._clock.monotonic() - self._opened_at
        return len(self.records) >= limits.rows or age >= limits.seconds or self.size >= limits.bytes

    def take(self, records: Sequence[Record]) -> int:
        """Records onto the disk; returns how many went to the dead letters instead, being nothing that can be packed.

        Raises:
            StoreUnavailable: the disk refused; none of them counts as taken.
        """
        kept = self._append(records)
        if not self.records:
            self._opened_at = self._clock.monotonic()
        self.records += kept
        return len(records) - len(kept)

    def close(self) -> Segment | None:
        """Ends the open segment; None when there is none."""
        size = self.size
        number = self._spool.close_segment()
        if number is None:
            return None
        records, self.records = self.records, []
        return Segment(self._spool, number, len(records), size, Contents(records, []))

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


class Waiting:
    """Closed segments. `settled` of the writer's own records are with the store (or in the dead letters, or dropped)."""

    def __init__(self, spool: Spool) -> None:
        self.bytes = 0
        self.settled = 0
        self.dropped = 0
        self._own = spool
        self._segments: deque[Segment] = deque()

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

    @property
    def first(self) -> Segment:
        """The segment whose turn it is."""
        return self._segments[0]

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

    def done(self) -> None:
        """The store has all of the first one."""
        self._forget(self._segments.popleft())

    def drop(self) -> bool:
        """Give up the oldest one that cannot be on its way just now; says whether there was one."""
        if len(self._segments) < 2:
            return False
        oldest = self._segments[1]
        del self._segments[1]
        self.dropped += oldest.own
        self._forget(oldest)
        return True

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
