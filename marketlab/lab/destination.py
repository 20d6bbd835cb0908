"""One of the stores that batches go to from a queue.

1. Batches of one table are joined into pieces, up to what the store likes to take at once.
2. A piece that failed several times is cut into halves, so that a batch which the store never takes ends up alone; it is
   tried last, and a turn ends at its second failure, so that neither it nor a dead store holds up the rest for long.
3. Pieces are written without a `Commit`: several flushers share the segments of one writer, out of order, and a store
   may take a lower segment for one that it has. The rows' keys keep them from being there twice.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from marketlab.clock import SystemClock
from marketlab.errors import StoreUnavailable
from marketlab.lab.opening import batching, require_answers
from marketlab.stores.contract import USUAL_TRIES, Batching, Sink, Taken
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.delivery import Delivery
from marketlab.stores.open import open_store
from marketlab.stores.retrying import Caught, Patience, backoff
from marketlab.stores.spool import Contents
from marketlab.stores.spool_places import prepared

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["Destination", "Stored", "destinations"]

_log = logging.getLogger(__name__)

_DENIED_S = 30.0
_PATIENT_TRIES = 3
_FAILURES_A_TURN = 2


class Stored(msgspec.Struct, frozen=True):
    """The account of one store.

    `rows` by table are acknowledged by the store, `changed` of them were new or better than what it had; `failure` says
    why something is not there yet, "" while all is well.
    """

    store: str
    rows: dict[str, int]
    changed: dict[str, int]
    dead_letters: int
    failure: str
    dead_letter_file: str = ""


@contextmanager
def destinations(urls: Iterable[str], settings: "Settings") -> Iterator[list["Destination"]]:
    """The stores at these URLs, each with the dead-letter file where its spool is; closed on the way out.

    Raises:
        UsageError: a URL that no store answers to.
        StoreUnavailable: a server does not answer, or the folder of the dead letters cannot be made.
    """
    with ExitStack() as stack:
        stores = [(url, stack.enter_context(open_store(url, settings))) for url in dict.fromkeys(urls)]
        require_answers([store for _, store in stores], settings, patient=False)
        found = []
        for url, store in stores:
            # A store that ends with the process has no place, and what it refuses need not outlive it either.
            place = prepared(store, settings.spool, url) or Path(stack.enter_context(TemporaryDirectory()))
            found.append(Destination(store, batching(store, settings), DeadLetters(place, SystemClock())))
        yield found


class _Piece(msgspec.Struct):
    name: str
    batches: list[Taken]
    delivery: Delivery
    failures: int = 0
    setbacks: int = 0
    """Failures in turns in which the store took something else."""


class Destination:
    """A store and what it still has to get. Not to be used by two threads at once.

    Args:
        store: is written to, and not closed.
        batching: how it likes its batches.
        dead_letters: where rows go that it refuses.
        delays: pauses between tries.
    """

    def __init__(
        self,
        store: Sink,
        batching: Batching,
        dead_letters: DeadLetters,
        *,
        delays: Callable[[], Iterator[float]] = backoff,
    ) -> None:
        self.batching = batching
        self.failure: StoreUnavailable | None = None
        self.failures = 0
        self.url = store.url
        self._store = store
        self._dead_letters = dead_letters
        self._patience = Patience(delays, _DENIED_S)
        self._hopeless: set[str] = set()
        self._pieces: list[_Piece] = []
        self._next_try = 0.0
        self._rows: dict[str, int] = {}
        self._changed: dict[str, int] = {}

    @property
    def most(self) -> int:
        """How many rows it takes at once."""
        return max(self.batching.rows, self.batching.most)

    @property
    def is_ready(self) -> bool:
        """Whether there is something to write, and no pause to wait for."""
        return bool(self._pieces) and monotonic() >= self._next_try

    @property
    def is_done(self) -> bool:
        """Whether it has everything."""
        return not self._pieces

    @property
    def account(self) -> Stored:
        """What it has got so far."""
        count, file = self._dead_letters.count, str(self._dead_letters.path)
        failure = str(self.failure or "")
        return Stored(self.url, dict(self._rows), dict(self._changed), count, failure, file if count else "")

    def add(self, batches: Iterable[Taken]) -> None:
        """It is to get these."""
        kinds = sorted(batches, key=_kind)
        for (is_apart, name), group in groupby(kinds, key=_kind):
            joined: list[Taken] = []
            for batch in group:
                if joined and (is_apart or sum(one.rows for one in joined) + batch.rows > self.most):
                    self._pieces.append(self._piece(name, joined))
                    joined = []
                joined.append(batch)
            self._pieces.append(self._piece(name, joined))

    def hurry(self) -> None:
        """Wait for no pause that was begun."""
        self._next_try = 0.0
        self._patience.renew()

    def run(self) -> tuple[list[Taken], list[Taken]]:
        """One turn: the batches that it has now, and those that it takes no longer part in: it took others, never these."""
        done: list[Taken] = []
        failed: list[_Piece] = []
        failure: StoreUnavailable | None = None
        for piece in sorted(self._pieces, key=lambda piece: piece.failures):
            with Caught(self.url) as caught:
                piece.delivery.run()
            if caught.error is not None:
                piece.failures += 1
                failed.append(piece)
                failure = caught.error
                if len(failed) == _FAILURES_A_TURN:
                    break
                continue
            done += piece.batches
            self._pieces.remove(piece)
            _add(self._rows, piece.delivery.rows)
            _add(self._changed, piece.delivery.changed)
        self._note(failed, failure, is_alive=bool(done))
        return done, self._part_with(failed) if done else []

    def _note(self, failed: list[_Piece], error: StoreUnavailable | None, *, is_alive: bool) -> None:
        if is_alive:
            self._patience.renew()
        if error is None:
            if self.failure is not None:
                _log.info("%s takes batches again.", self.url)
            self.failure = None
            return
        if self.failure is None:
            _log.warning("%s", error)
        self.failure = error
        self.failures += 1
        self._next_try = monotonic() + self._patience.pause(error)
        for piece in failed:
            if piece.failures >= _PATIENT_TRIES and len(piece.batches) > 1:
                half = len(piece.batches) // 2
                self._pieces.remove(piece)
                for batches in (piece.batches[:half], piece.batches[half:]):
                    part = self._piece(piece.name, batches, piece.failures)
                    part.delivery.set_aside = piece.delivery.set_aside
                    self._pieces.append(part)

    def _part_with(self, failed: list[_Piece]) -> list[Taken]:
        stuck = []
        for piece in failed:
            piece.setbacks += 1
            if piece.setbacks >= _PATIENT_TRIES and len(piece.batches) == 1:
                self._pieces.remove(piece)
                stuck += piece.batches
        return stuck

    def _piece(self, name: str, batches: list[Taken], failures: int = 0) -> _Piece:
        found = [batch.table for batch in batches if batch.table is not None]
        store, letters = self._store, self._dead_letters
        if found:
            delivery = Delivery.of_tables(store, {name: pl.concat(found)}, letters, self._hopeless)
        else:
            contents = Contents([], [batch.content for batch in batches])
            delivery = Delivery(store, contents, None, letters, self._hopeless)
        is_suspect = any(batch.tries > USUAL_TRIES for batch in batches)
        return _Piece(name, batches, delivery, max(failures, is_suspect), _PATIENT_TRIES * is_suspect)


def _kind(batch: Taken) -> tuple[bool, str]:
    return batch.table is None or batch.tries > USUAL_TRIES, batch.name


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
