"""From a queue into stores, until somebody says stop.

1. A batch is acknowledged when every store has it; until then it is in the queue, whatever happens to this process.
2. What is being worked on is held in the queue, so that a slow store does not make another flusher take it over.
3. A store that does not answer is asked again, with growing pauses. Meanwhile a little more is taken, which shows
   whether it is the store that fails or one batch; then nothing, and the rest waits in the queue.
4. A batch that a store never takes though it takes others is left in the queue, where it becomes idle, comes last, and
   comes alone.
"""

import logging
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from socket import gethostname
from time import monotonic, sleep

import msgspec

from marketlab.errors import StoreUnavailable
from marketlab.lab.destination import Destination, Stored
from marketlab.stores.contract import USUAL_TRIES, Queue, Taken
from marketlab.stores.retrying import Patience, backoff

__all__ = ["Flushed", "Flusher", "consumer_name"]

_log = logging.getLogger(__name__)

_LOOK_S = 0.2
_SHARE = 5_000  # rows that are taken at once, so that others get some too
_LAST_TRIES = 3
_LAST_S = 60.0
_DENIED_S = 30.0
_STATISTICS_S = 30.0


class Flushed(msgspec.Struct, frozen=True):
    """What a flusher did. `ended` says why: duration, idle, or stopped.

    `batches` were stored and acknowledged, `taken_over` batches had been another flusher's; `unfinished` ones it had
    taken and gave back, and `failure` says why. `waiting` batches are in the queue still (None: it does not answer).
    """

    queue: str
    consumer: str
    ended: str
    seconds: float
    batches: int
    taken_over: int
    unfinished: int
    waiting: int | None
    stores: list[Stored]
    failure: str


def consumer_name() -> str:
    """A name that no other flusher has: of this host, this process and chance."""
    return f"{gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


class Flusher:
    """Takes batches from a queue and stores them.

    Args:
        queue: where they wait.
        stores: each gets every batch.
        consumer: this flusher's name in the queue, unlike that of any other.
        idle: seconds after which a batch that somebody has taken and not acknowledged is taken over.
        duration: ends after so many seconds.
        until_idle: ends after so many seconds without a batch; where others have taken some and not acknowledged them,
            it stays until those would have been taken over.
        stopping: asked now and then whether to end.
        look: called with each increase of acknowledged rows.
    """

    def __init__(
        self,
        queue: Queue,
        stores: Sequence[Destination],
        *,
        consumer: str,
        idle: float = 60.0,
        duration: float | None = None,
        until_idle: float | None = None,
        stopping: Callable[[], bool] = lambda: False,
        look: Callable[[int], None] = lambda more: None,
    ) -> None:
        self._queue = queue
        self._stores = list(stores)
        self._consumer = consumer
        self._idle = idle
        self._duration = duration
        self._until_idle = until_idle
        self._stopping = stopping
        self._look = look
        self._rows = max(store.batching.rows for store in stores)
        self._most = max(store.most for store in stores)
        self._seconds = max(store.batching.seconds for store in stores)
        self._began = self._busy_at = self._held_at = self._told_at = self._gathered_at = monotonic()
        self._gathered: list[Taken] = []
        self._held: dict[str, Taken] = {}
        self._owing: dict[str, set[Destination]] = {}
        self._stored: dict[str, Taken] = {}
        self._batches = self._taken_over = self._queue_failures = 0
        self._queue_failure: StoreUnavailable | None = None
        self._patience = Patience(backoff, _DENIED_S)
        self._next_question = 0.0
        self._is_drained = False

    def run(self) -> Flushed:
        """Work until the end; then store and acknowledge what is in hand, or give it back after three failed tries, or a minute."""
        with ThreadPoolExecutor(len(self._stores), thread_name_prefix="marketlab-store") as pool:
            while not (ended := self._end()):
                self._take()
                if self._is_due():
                    self._hand_out()
                self._work(pool)
                self._tell()
            self._hand_out()
            self._finish(pool)
        unfinished = self._give_back()
        return Flushed(
            queue=self._queue.url,
            consumer=self._consumer,
            ended=ended,
            seconds=round(monotonic() - self._began, 3),
            batches=self._batches,
            taken_over=self._taken_over,
            unfinished=unfinished,
            waiting=self._waiting(),
            stores=[store.account for store in self._stores],
            failure=self._failure() if unfinished else "",
        )

    def _end(self) -> str:
        now = monotonic()
        if self._stopping():
            return "stopped"
        if self._duration is not None and now - self._began >= self._duration:
            return "duration"
        if self._until_idle is None or now - self._busy_at < self._until_idle:
            return ""
        if now - self._busy_at < self._until_idle + self._idle and self._waiting() != len(self._held):
            return ""
        return "idle" if self._queue_failure is None else ""

    def _waiting(self) -> int | None:
        try:
            return self._queue.waiting()
        except StoreUnavailable:
            return None

    # What comes

    def _take(self) -> None:
        room = 2 * self._most - sum(batch.rows for batch in self._held.values())
        if room <= 0 or monotonic() < self._next_question:
            sleep(_LOOK_S)
            return
        try:
            found = self._queue.take(self._consumer, rows=min(room, _SHARE), wait=self._patience_now(), idle=self._idle)
        except StoreUnavailable as error:
            self._fail(error)
            return
        self._recover()
        self._is_drained = sum(batch.rows for batch in found) < min(room, _SHARE)
        if found and not self._gathered:
            self._gathered_at = monotonic()
        for batch in found:
            self._taken_over += batch.tries > 1
            # One that was lost to another and comes back is on its way already.
            if batch.id not in self._held:
                self._gathered.append(batch)
            self._held[batch.id] = batch
        if any(batch.tries <= USUAL_TRIES for batch in found):
            self._busy_at = monotonic()

    def _patience_now(self) -> float:
        return 0.0 if any(store.is_ready for store in self._stores) else _LOOK_S

    def _is_due(self) -> bool:
        rows = sum(batch.rows for batch in self._gathered)
        if rows >= self._most or (self._gathered and monotonic() - self._gathered_at >= self._seconds):
            return True
        if any(batch.tries > USUAL_TRIES for batch in self._gathered):
            # Who knows what it does: nothing else is to be in hand then.
            return True
        # Under backlog, more than a batch is stored at once.
        return rows >= self._rows and self._is_drained

    def _hand_out(self) -> None:
        for store in self._stores:
            store.add(self._gathered)
        self._owing.update((batch.id, set(self._stores)) for batch in self._gathered)
        self._gathered = []

    # What goes

    def _work(self, pool: ThreadPoolExecutor) -> None:
        running = {pool.submit(store.run): store for store in self._stores if store.is_ready}
        unfinished: set[Future[tuple[list[Taken], list[Taken]]]] = set(running)
        while unfinished:
            ready, unfinished = wait(unfinished, timeout=_LOOK_S)
            self._hold()
            for future in ready:
                done, stuck = future.result()
                self._note(done, stuck, running[future])
        self._hold()
        self._acknowledge()

    def _note(self, done: Iterable[Taken], stuck: Iterable[Taken], store: Destination) -> None:
        for batch in done:
            lacking = self._owing.get(batch.id, set())
            if store in lacking:
                lacking.remove(store)
                if not lacking:
                    del self._owing[batch.id]
                    self._stored[batch.id] = batch
        for batch in stuck:
            if self._owing.pop(batch.id, None) is not None:
                del self._held[batch.id]
                _log.warning(
                    "%s takes others, but not batch %s of %s: left in the queue.", store.url, batch.id, batch.name
                )

    def _acknowledge(self) -> None:
        if not self._stored or monotonic() < self._next_question:
            return
        try:
            self._queue.acknowledge(self._stored.values())
        except StoreUnavailable as error:
            self._fail(error)
            return
        self._recover()
        self._batches += len(self._stored)
        self._look(sum(batch.rows for batch in self._stored.values()))
        for id in self._stored:
            del self._held[id]
        self._stored = {}
        self._busy_at = monotonic()

    def _hold(self) -> None:
        if not self._held or monotonic() - self._held_at < self._idle / 4 or monotonic() < self._next_question:
            return
        try:
            self._queue.hold(self._held.values())
        except StoreUnavailable as error:
            self._fail(error)
            return
        self._held_at = monotonic()

    def _finish(self, pool: ThreadPoolExecutor) -> None:
        for store in self._stores:
            store.hurry()
        self._next_question = 0.0
        self._patience.renew()
        before = {store: store.failures for store in self._stores}
        queue_before = self._queue_failures
        deadline = monotonic() + _LAST_S
        while self._held and monotonic() < deadline:
            self._work(pool)
            has_hope = any(not store.is_done and store.failures - before[store] < _LAST_TRIES for store in self._stores)
            can_say_so = self._stored and self._queue_failures - queue_before < _LAST_TRIES
            if not has_hope and not can_say_so:
                return
            if not any(store.is_ready for store in self._stores):
                sleep(_LOOK_S / 4)

    def _give_back(self) -> int:
        if self._held:
            try:
                self._queue.give_back(self._held.values())
            except StoreUnavailable as error:
                self._queue_failure = error
        return len(self._held)

    # What is told

    def _fail(self, error: StoreUnavailable) -> None:
        if self._queue_failure is None:
            _log.warning("%s", error)
        self._queue_failure = error
        self._queue_failures += 1
        self._next_question = monotonic() + self._patience.pause(error)

    def _recover(self) -> None:
        if self._queue_failure is not None:
            _log.info("%s answers again.", self._queue.url)
        self._queue_failure = None
        self._patience.renew()

    def _failure(self) -> str:
        failures = [store.failure for store in self._stores if store.failure is not None]
        failures += [self._queue_failure] if self._queue_failure else []
        return " ".join(map(str, failures)) or "It took too long."

    def _tell(self) -> None:
        if monotonic() - self._told_at < _STATISTICS_S:
            return
        self._told_at = monotonic()
        _log.info("%d batches stored, %d in hand, %s waiting.", self._batches, len(self._held), self._waiting())
        for store in self._stores:
            if store.failure is not None:
                _log.warning("%s", store.failure)
