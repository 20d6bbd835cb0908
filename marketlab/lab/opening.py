"""Opens stores and queues with their writers, as the settings say."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast

from marketlab.errors import StoreDenied, StoreUnavailable
from marketlab.lab.keeping import Keeper, RunningKlines, can_be_read, overwrites
from marketlab.lab.questions import answers
from marketlab.stores.contract import Batching, Queue, Sink
from marketlab.stores.open import open_sink
from marketlab.stores.spool_places import place_of, prepared
from marketlab.stores.writer import Writer

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["batching", "keeping", "require_answers"]

_log = logging.getLogger(__name__)

_ANSWER_S = 20.0  # a store may take minutes for a large answer, but not for this one


def batching(sink: Sink, settings: "Settings") -> Batching:
    """When a batch is due: as the settings say, else as the store prefers."""
    own = sink.batching
    seconds = own.seconds if settings.flush_ms is None else settings.flush_ms / 1000
    return Batching(rows=settings.flush_rows or own.rows, seconds=seconds, bytes=own.bytes, most=own.most)


@contextmanager
def keeping(places: Iterable[str | Sink], settings: "Settings", *, patient: bool = True) -> Iterator[Keeper]:
    """A keeper for stores and queues, or for those at these URLs.

    On the way out everything is flushed, and what it opened closed.

    Args:
        places: where everything goes, each with a writer and a spool of its own.
        settings: everything else.
        patient: begin though a server does not answer just now, since what comes waits in the spool.

    Raises:
        UsageError: a URL that no store answers to.
        StoreDenied: a wrong token, a missing database and the like.
        StoreUnavailable: a spool cannot be made, or a server does not answer and nobody is patient.
    """
    limit = None if settings.spool_limit_mb is None else settings.spool_limit_mb * 1_000_000
    running = RunningKlines()
    with ExitStack() as stack:
        distinct = dict.fromkeys(places)
        sinks = [stack.enter_context(open_sink(at, settings)) if isinstance(at, str) else at for at in distinct]
        require_answers(sinks, settings, patient=patient)
        writers = []
        for at, sink in zip(distinct, sinks, strict=True):
            writer = Writer(
                sink,
                spool=prepared(sink, settings.spool, at if isinstance(at, str) else ""),
                batching=batching(sink, settings),
                spool_bytes=limit,
                when_full=settings.spool_when_full,
                running=running if overwrites(sink) else tuple,
            )
            writers.append((sink, stack.enter_context(writer)))
        keeper = Keeper(writers, running if any(map(overwrites, sinks)) else None)
        try:
            yield keeper
        finally:
            keeper.close()


def require_answers(sinks: Sequence[Sink], settings: "Settings", *, patient: bool, within: float = _ANSWER_S) -> None:
    """That every server is there and lets us in, asked at once; local stores are not asked.

    One that has not said so `within` so many seconds does not answer.

    Raises:
        StoreDenied: a wrong token, a missing database and the like.
        StoreUnavailable: a server does not answer, and nobody is patient.
    """
    served = [sink for sink in sinks if sink.spool is None and place_of(sink, settings.spool) is not None]
    asked = answers([partial(_failure, sink) for sink in served], within)
    found = [
        answer.result() if answer.done() else StoreUnavailable(f"{sink.url} does not answer within {within:g} s.")
        for sink, answer in zip(served, asked, strict=True)
    ]
    failures = [failure for failure in found if failure is not None]
    for failure in failures:
        if isinstance(failure, StoreDenied) or not patient:
            raise failure
    for failure in failures:
        _log.warning("%s What comes waits in the spool meanwhile.", failure)


def _failure(sink: Sink) -> StoreUnavailable | None:
    """Why a server does not answer."""
    try:
        if not can_be_read(sink):
            cast("Queue", sink).waiting()
        elif not sink.exists:
            # Nothing stored yet, or no place to store it: only a question tells.
            sink.coverage("gaps")
    except StoreUnavailable as error:
        return error
    return None
