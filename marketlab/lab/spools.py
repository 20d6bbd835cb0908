"""What waits in spools: told, handed over, or thrown away. What a living collector holds is never touched."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import msgspec

from marketlab import tables
from marketlab.clock import SystemClock
from marketlab.config import without_secrets
from marketlab.errors import MissingDependency
from marketlab.lab.opening import batching, require_answers
from marketlab.stores.dead_letters import DeadLetters, Letter, content_of, letters, taken_out
from marketlab.stores.open import open_sink
from marketlab.stores.retrying import needs_somebody
from marketlab.stores.spool import Spool, owners, read_segment
from marketlab.stores.spool_places import place_of, places
from marketlab.stores.writer import Report, Writer

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = [
    "Dead",
    "HandedOver",
    "Left",
    "Place",
    "SpoolState",
    "emptied",
    "found",
    "hand_over",
    "look",
    "not_handed_over",
]

_TRIES = 3
_LOOK_S = 0.1
_STOPPED_S = 5.0
_SPOOLED_LOOKS = 600
_PIECE = 1_000


class Place(msgspec.Struct, frozen=True):
    """A store or queue, and the folder where records wait for it."""

    store: str
    folder: Path


class Left(msgspec.Struct, frozen=True):
    """What one writer has in its part of a spool; `locked` while it lives.

    `records` are counted by table; `oldest` and `newest` are when they were received, in microseconds since 1970 UTC.
    """

    writer: str
    locked: bool
    segments: int
    bytes: int
    records: dict[str, int]
    unreadable: int
    oldest: int | None
    newest: int | None


class Dead(msgspec.Struct, frozen=True):
    """How many records a store has refused, and what it said the last time."""

    count: int = 0
    at: int | None = None
    reason: str = ""


class SpoolState(msgspec.Struct, frozen=True):
    """One spool."""

    store: str
    folder: str
    writers: list[Left]
    dead_letters: Dead


class HandedOver(msgspec.Struct, frozen=True):
    """What became of a spool: `rows` that the store has acknowledged, `segments` that still wait, and why."""

    store: str
    rows: dict[str, int]
    changed: dict[str, int]
    segments: int
    pending: int
    dead_letters: int
    failure: str
    dead_letter_file: str = ""


def found(settings: "Settings", url: str | None = None) -> list[Place]:
    """The spools of the store that is set and of all that have one below the setting `spool`; or of one store.

    Raises:
        UsageError: a URL that no store answers to.
    """
    if url is not None:
        with open_sink(url, settings) as sink:
            folder = place_of(sink, settings.spool)
            return [] if folder is None else [Place(url, folder)]
    known = [Place(url, folder) for url, folder in places(settings.spool)]
    try:
        with open_sink(settings.store, settings) as sink:
            if sink.spool is not None and sink.spool not in [place.folder for place in known]:
                known.insert(0, Place(sink.url, sink.spool))
    except MissingDependency:
        # Its spool, if it has one, is among the others.
        pass
    return known


def look(place: Place) -> SpoolState:
    """What waits there; every segment is read, one at a time."""
    writers = [_left(directory, locked=lives) for directory, lives in owners(place.folder)]
    return SpoolState(
        _shown(place), str(place.folder), [left for left in writers if left.segments], _dead(place.folder)
    )


def hand_over(
    place: Place,
    settings: "Settings",
    *,
    dead_letters: bool = False,
    look: Callable[[Report], None] = lambda report: None,
    stopping: Callable[[], bool] = lambda: False,
) -> HandedOver:
    """Store what waits there and nobody holds; on demand also what the store has refused before.

    `look` is called ten times a second. Ends when everything is stored, when `stopping` says so, or when the store fails
    three times in a row; what is not stored then waits on.

    Raises:
        StoreUnavailable: the store does not answer, or does not let us in.
    """
    with open_sink(place.store, settings) as sink:
        require_answers([sink], settings, patient=False)
        # Nothing more comes that a batch could wait for.
        at_once = msgspec.structs.replace(batching(sink, settings), seconds=_LOOK_S)
        with Writer(sink, spool=place.folder, batching=at_once) as writer:
            if dead_letters:
                _accept_again(place.folder, writer)
            while not stopping():
                report = writer.stats
                look(report)
                gone_wrong = report.tries >= _TRIES or needs_somebody(writer.failed)
                if gone_wrong or writer.has_stopped or not (report.segments or report.pending):
                    break
                sleep(_LOOK_S)
            report = writer.close(_STOPPED_S if stopping() else 60.0)
    return HandedOver(
        store=sink.url,
        rows=report.rows,
        changed=report.changed,
        segments=report.segments,
        pending=report.pending,
        dead_letters=report.dead_letters,
        failure=report.failure,
        dead_letter_file=str(writer.dead_letter_file) if report.dead_letters else "",
    )


def not_handed_over(state: SpoolState, why: str) -> HandedOver:
    """The account of a spool whose store could not be asked."""
    segments = sum(left.segments for left in state.writers if not left.locked)
    return HandedOver(state.store, {}, {}, segments, pending=0, dead_letters=0, failure=why)


@contextmanager
def emptied(place: Place, *, dead_letters: bool = False) -> Iterator[tuple[SpoolState, Callable[[], None]]]:
    """What nobody holds there, held by us as long as this lasts, and what throws it away."""
    spools = Spool.adopt(place.folder)
    state = SpoolState(
        _shown(place),
        str(place.folder),
        [_left(spool.directory, locked=False) for spool in spools],
        _dead(place.folder) if dead_letters else Dead(),
    )

    def throw_away() -> None:
        for spool in spools:
            for number in spool.numbers():
                spool.discard(number)
        if dead_letters:
            with taken_out(place.folder) as files:
                for file in files:
                    file.unlink()

    try:
        yield state, throw_away
    finally:
        for spool in spools:
            spool.release()


def _accept_again(folder: Path, writer: Writer) -> None:
    kept = DeadLetters(folder, SystemClock())
    with taken_out(folder) as files:
        for file in files:
            with file.open("rb") as lines:
                while piece := list(islice(lines, _PIECE)):
                    records = [(line, content_of(line)) for line in piece]
                    writer.accept([record for _, record in records if record is not None])
                    # What cannot be read back stays where it is.
                    kept.put_back([line for line, record in records if record is None])
            if _is_spooled(writer):
                file.unlink()


def _is_spooled(writer: Writer) -> bool:
    for _ in range(_SPOOLED_LOOKS):
        if not writer.stats.unspooled:
            return True
        if writer.has_stopped:
            return False
        sleep(_LOOK_S)
    return False


def _shown(place: Place) -> str:
    return without_secrets(place.store, options=True)


def _left(directory: Path, *, locked: bool) -> Left:
    counts: Counter[str] = Counter()
    times: list[int] = []
    unreadable = size = segments = 0
    for path in sorted(directory.glob("*.segment")):
        try:
            contents, size = read_segment(path), size + path.stat().st_size
        except FileNotFoundError:
            # It has got where it was going.
            continue
        segments += 1
        unreadable += len(contents.unreadable)
        counts.update(tables.table_of(record) for record in contents.records)
        received = [record.received for record in contents.records]
        times += [min(received), max(received)] if received else []
    oldest, newest = (min(times), max(times)) if times else (None, None)
    return Left(directory.name, locked, segments, size, dict(counts), unreadable, oldest, newest)


def _dead(folder: Path) -> Dead:
    count, last = 0, Letter(0, None, "")
    for letter in letters(folder):
        count += 1
        last = max(last, letter, key=lambda letter: letter.at)
    return Dead(count, last.at or None, last.reason)
