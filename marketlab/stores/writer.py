"""Makes sure that a store gets every record, whatever happens to the store, the disk or this process.

1. `accept` takes records into memory and returns; it never waits for the store.
2. A thread writes them to the spool every 100 ms and waits for the disk: a kill loses at most what came after that.
3. A segment is closed when the store's batch is due (rows, age or bytes); a second thread hands closed segments to
   the store, oldest first, and removes each only after the store has acknowledged all of it.
   Under backlog, segments are handed over together, up to what the store likes at most.
4. What can be tried again is tried again, at the pace that the kind of failure asks for (`retrying`); what the store
   refuses goes to the dead letters (`delivery`).
5. When the spool's disk fails, records wait in memory up to `backlog`, and no longer than `_DISK_S`: then `accept`
   raises and takes nothing, until the disk has taken what waits.
6. Batches reach the store in the order in which their records were accepted, so every series does.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Thread
from time import monotonic
from types import TracebackType
from typing import Literal, Self

import msgspec

from marketlab.clock import Clock, SystemClock
from marketlab.errors import StoreUnavailable
from marketlab.records import Kline, Record
from marketlab.stores.contract import Batching, Sink
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.delivery import Delivery
from marketlab.stores.retrying import Caught, Patience, backoff, needs_somebody
from marketlab.stores.spool import Spool
from marketlab.stores.waiting import Intake, Load, Waiting

__all__ = ["Report", "Writer", "backoff"]

_PIECE = 10_000  # records that are written to the spool at once
_LEAST = 100  # a piece that is not tried in halves when the disk refuses it
_TRIES = 3  # failures after which flush and close say so instead of waiting on
_TICK_S = 0.1  # how often a pause looks at the clock
_DISK_S = 10.0  # somebody may be making room, or the disk is waking up; what only memory holds is gone with a kill

_log = logging.getLogger(__name__)


class Report(msgspec.Struct, frozen=True):
    """What a writer has done so far.

    `rows` are acknowledged by the store, `changed` of them were new or better than what it had; `pending` records are
    not there yet (of adopted segments only `segments` is known), `unspooled` of them are in memory alone; `dropped`
    ones were given up at the spool's limit. `failure` says why, "" while all is well; `tries` failed in a row.
    """

    accepted: int
    pending: int
    unspooled: int
    segments: int
    adopted: int
    flushes: int
    seconds: float
    dead_letters: int
    dropped: int
    rows: dict[str, int]
    changed: dict[str, int]
    failure: str
    tries: int = 0


class Writer:
    """Batches records into one store. A context manager; leaving it is `close`.

    Args:
        store: where the records go. The writer does not close it.
        spool: the folder for the spool; by default the store's own, else a temporary one that does not outlive the
            process.
        clock: tells the age of a batch and the length of a pause.
        batching: when a batch is due, instead of the store's own preference.
        delays: pauses between tries, anew for each failure.
        denied: seconds between tries where the store says no to who asks.
        sync_seconds: how much received time a kill may lose.
        backlog: records that may wait in memory while the spool's disk fails.
        spool_bytes: disk limit of the segments that wait; None for none.
        when_full: at that limit "stop" takes nothing more (see `accept`), "drop" removes the oldest segment.
        running: gives the klines that are not closed yet, to be stored as they stand with each batch.

    Raises:
        StoreUnavailable: the spool's folder cannot be made.
    """

    def __init__(
        self,
        store: Sink,
        *,
        spool: Path | None = None,
        clock: Clock | None = None,
        batching: Batching | None = None,
        delays: Callable[[], Iterator[float]] = backoff,
        denied: float = 30.0,
        sync_seconds: float = 0.1,
        backlog: int = 200_000,
        spool_bytes: int | None = None,
        when_full: Literal["stop", "drop"] = "stop",
        running: Callable[[], Iterable[Kline]] = tuple,
    ) -> None:
        batching = batching or store.batching
        self._store = store
        self._clock = clock or SystemClock()
        self._many, self._most = batching.rows, batching.most
        self._patience = Patience(delays, denied)
        self._hopeless: set[str] = set()
        self._sync_seconds = sync_seconds
        self._backlog = backlog
        self._limit = spool_bytes
        self._when_full = when_full
        self._temporary = TemporaryDirectory(prefix="marketlab-spool-") if (spool or store.spool) is None else None
        self.spool = spool or store.spool or Path(self._temporary.name if self._temporary else "")
        spool_of_mine = Spool.create(self.spool)
        self._dead_letters = DeadLetters(self.spool, self._clock)
        self._intake = Intake(spool_of_mine, batching, self._clock, self._dead_letters, running)
        self._state = Condition()
        self._pending: list[Record] = []
        self._waiting = Waiting(spool_of_mine)
        self._waiting.adopt(Spool.adopt(self.spool))
        self._accepted = self._in_hand = self._unpackable = self._flushes = self._failures = self._tries = 0
        self._seconds = self._next_try = 0.0
        self._rows: dict[str, int] = {}
        self._changed: dict[str, int] = {}
        self._hurry = self._at_once = self._stopping = self._abandoned = self._closed = self._over_limit = False
        self._broken: BaseException | None = None
        self._disk_failure: StoreUnavailable | None = None
        self._disk_failed_at: float | None = None
        self._store_failure: StoreUnavailable | None = None
        self._threads = [
            Thread(target=self._guarded, args=(self._keep_syncing,), name="marketlab-spool", daemon=True),
            Thread(target=self._guarded, args=(self._keep_delivering,), name="marketlab-store", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def failed(self) -> StoreUnavailable | None:
        """Why records are not getting on just now; None again as soon as they are."""
        if self._broken is not None:
            return StoreUnavailable(f"The writer has stopped on an internal error: {self._broken!r}.")
        return self._disk_failure or self._store_failure

    @property
    def has_stopped(self) -> bool:
        """Whether it does nothing any more: closed, or ended by an error of its own."""
        return self._closed or self._broken is not None

    @property
    def dead_letter_file(self) -> Path:
        """Where the rows are that the store refuses, if there are any."""
        return self._dead_letters.path

    @property
    def stats(self) -> Report:
        """What has been done so far."""
        with self._state:
            return self._report()

    def accept(self, records: Iterable[Record]) -> None:
        """Take records, in order. Returns at once; only a spool that cannot keep up makes it wait, a second at most.

        Raises:
            StoreUnavailable: the spool's disk fails and the backlog is full, or it has failed for ten seconds; or the
                writer is closed. None of these records was taken; the same call works again as soon as there is room.
        """
        taken = records if isinstance(records, list) else list(records)
        with self._state:
            if len(self._pending) >= self._backlog:
                self._hurry = True
                self._state.notify_all()
                patience = 2 * self._sync_seconds if self.failed else 1.0
                self._state.wait_for(lambda: len(self._pending) < self._backlog, patience)
            if self._stopping or self._broken or self._is_lost or len(self._pending) >= self._backlog:
                words = "The writer is closed." if self._stopping else f"The disk of {self.spool} is too slow."
                raise StoreUnavailable(str(self.failed or words))
            self._pending += taken
            self._accepted += len(taken)
            if len(self._pending) > self._many:
                self._state.notify_all()

    def flush(self, timeout: float = 60.0) -> Report:
        """Everything accepted so far is in the store (or in the dead letters) when this returns.

        Raises:
            StoreUnavailable: it is not, after three failed tries or `timeout` seconds, or at once where the store denies
                it or wants to be left alone for longer; the error says how much is missing and why. Nothing is lost:
                the writer goes on trying.
        """
        with self._state:
            mark, give_up = self._accepted, self._giving_up(timeout)
            self._state.wait_for(
                lambda: self._settled >= mark or self._broken or give_up() or self._closed,
                timeout,
            )
            if self._settled < mark:
                why = str(self.failed) if self.failed else f"It took longer than {timeout:g} s."
                raise StoreUnavailable(f"{mark - self._settled} records are not in {self._store.url} yet. {why}")
            return self._report()

    def close(self, timeout: float = 60.0) -> Report:
        """Flush, stop both threads and let go of the spool; twice is once.

        Tries at once and waits as long as `flush` does. What is not in the store then stays in the spool for the next
        writer, but for what the spool's disk refused; the report says how much, and why.
        """
        deadline = monotonic() + timeout
        with self._state:
            if self._closed:
                return self._report()
            self._stopping = True
            give_up = self._giving_up(timeout)
            self._state.wait_for(lambda: self._is_done() or give_up(), timeout)
            self._abandoned = True
            self._state.notify_all()
        for thread in self._threads:
            thread.join(max(0.2, deadline - monotonic()))
        with self._state:
            self._closed = True
            self._state.notify_all()
            report = self._report()
        if not any(thread.is_alive() for thread in self._threads):
            self._waiting.release()
            if self._temporary is not None:
                self._temporary.cleanup()
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _report(self) -> Report:
        return Report(
            self._accepted,
            self._accepted - self._settled,
            len(self._pending) + self._in_hand,
            len(self._waiting),
            self._waiting.adopted,
            self._flushes,
            self._seconds,
            self._dead_letters.count,
            self._waiting.dropped,
            dict(self._rows),
            dict(self._changed),
            str(self.failed or ""),
            self._tries,
        )

    @property
    def _settled(self) -> int:
        return self._waiting.settled + self._unpackable

    def _giving_up(self, timeout: float) -> Callable[[], bool]:
        """Let everything be tried now; the answer says when it is not worth waiting any more."""
        failures, until = self._failures, self._clock.monotonic() + timeout
        self._hurry = self._at_once = True
        self._state.notify_all()
        return lambda: self._failures - failures >= _TRIES or self._next_try > until

    @property
    def _is_lost(self) -> bool:
        began = self._disk_failed_at
        return began is not None and self._clock.monotonic() - began > _DISK_S

    def _is_done(self) -> bool:
        return self._broken is not None or (self._settled >= self._accepted and not self._waiting)

    def _guarded(self, work: Callable[[], None]) -> None:
        done = False
        try:
            work()
            done = True
        finally:
            if not done:
                with self._state:
                    self._broken = sys.exception()
                    self._state.notify_all()

    # The spool's thread

    def _keep_syncing(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._hurry or len(self._pending) > self._many, self._sync_seconds)
                taken, self._pending = self._pending, []
                self._in_hand = len(taken)
                hurry, self._hurry = self._hurry, False
            rest = self._sync(taken)
            with self._state:
                is_full = self._is_full()
            # What the disk did take goes on its way, since only that makes room again.
            is_due = self._intake.size > 0 if rest else hurry or is_full or self._intake.is_due
            if is_due and not rest and not is_full:
                self._intake.complete()
            segment = None
            with self._state:
                if is_due:
                    segment = self._intake.close()
                    if segment is not None:
                        self._waiting.add(segment)
                if rest:
                    self._pending = rest + self._pending
                    self._in_hand = 0
                    # Somebody may have asked for it meanwhile.
                    self._hurry = self._hurry or hurry
                self._state.notify_all()
                if self._abandoned if rest else self._stopping and not self._pending and not self._intake.records:
                    return
                if rest and segment is None:
                    self._state.wait_for(lambda: self._abandoned, self._sync_seconds)

    def _sync(self, taken: list[Record]) -> list[Record]:
        # In pieces, so that a kill tears little and a disk that is nearly full takes what it can; returns the rest.
        done, size = 0, _PIECE
        while done < len(taken):
            piece = taken[done : done + size]
            try:
                self._make_room()
                unpackable = self._intake.take(piece)
            except StoreUnavailable as error:
                if len(piece) > _LEAST:
                    size = len(piece) // 2
                    continue
                with self._state:
                    self._disk_failure = error
                    self._note_disk(error)
                    # Where it is only full, it is the store that fails, if anything does; and a segment that has taken
                    # something makes way for the next one.
                    self._failures += not (self._is_full() or self._intake.size)
                    self._state.notify_all()
                return taken[done:]
            done += len(piece)
            with self._state:
                self._disk_failure = None
                self._in_hand -= len(piece)
                self._unpackable += unpackable
        if taken:
            with self._state:
                self._note_disk(None)
        return []

    def _note_disk(self, error: StoreUnavailable | None) -> None:
        # A segment that cannot grow any more is no failure, nor is a limit that was set: a new segment that takes nothing.
        if error is None and self._disk_failed_at is not None:
            self._disk_failed_at = None
            _log.warning("The disk of %s takes records again.", self.spool)
        elif error is not None and self._disk_failed_at is None and not self._intake.size and not self._is_full():
            self._disk_failed_at = self._clock.monotonic()
            _log.warning("%s What comes waits in memory alone, for %g s at most.", error, _DISK_S)

    def _make_room(self) -> None:
        words = f"The spool {self.spool} has reached its limit of {self._limit or 0:,} bytes"
        with self._state:
            if not self._is_full():
                return
            first, self._over_limit = not self._over_limit, True
            if self._when_full == "drop" and self._waiting.drop() is not None:
                if first:
                    _log.warning("%s: the oldest records are given up.", words)
                return
        if first:
            _log.warning("%s: nothing more is taken.", words)
        raise StoreUnavailable(f"{words}: bring the store back or raise the limit.")

    def _is_full(self) -> bool:
        return self._limit is not None and self._waiting.bytes + self._intake.size >= self._limit

    # The store's thread

    def _keep_delivering(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._waiting or self._abandoned)
                if self._abandoned:
                    return
            if not self._deliver():
                return

    def _deliver(self) -> bool:
        load, delivery = Load(self._most), None
        began = monotonic()
        self._patience.renew()
        while True:
            with Caught(self._store.url) as caught:
                if delivery is None:
                    self._fill(load)
                    delivery = Delivery(self._store, load.contents, load.commit, self._dead_letters, self._hopeless)
                delivery.run()
            if caught.error is None and delivery is not None:
                break
            if caught.error is not None and not self._pause(caught.error):
                return False
        with self._state:
            if self._store_failure is not None:
                _log.info("%s takes records again.", self._store.url)
            self._store_failure, self._tries, self._over_limit = None, 0, False
            self._waiting.done(load)
            self._flushes += 1
            self._seconds += monotonic() - began
            _add(self._rows, delivery.rows)
            _add(self._changed, delivery.changed)
            self._state.notify_all()
        return True

    def _fill(self, load: Load) -> None:
        while True:
            with self._state:
                segment = self._waiting.next_for(load)
            try:
                if segment is None or not load.add(segment):
                    return
            except StoreUnavailable:
                if load.segments:
                    # What is there goes now; this one is told of when its turn comes.
                    return
                raise

    def _pause(self, error: StoreUnavailable) -> bool:
        """Wait as long as this kind of failure asks for; says whether to try again."""
        with self._state:
            if type(self._store_failure) is not type(error):
                _log.warning("%s It will be tried again; what comes waits in the spool.", error)
            self._store_failure = error
            self._tries += 1
            self._failures += _TRIES if needs_somebody(error) else 1
            end = self._clock.monotonic() + self._patience.pause(error)
            self._next_try = end if error.retry_after else 0.0
            self._state.notify_all()
            while not self._abandoned and (left := end - self._clock.monotonic()) > 0:
                if self._at_once and not error.retry_after:
                    self._patience.renew()
                    break
                self._state.wait(min(left, _TICK_S))
            self._at_once, self._next_try = False, 0.0
            return not self._abandoned


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
