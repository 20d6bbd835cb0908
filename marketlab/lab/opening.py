"""Opens stores with their writers, as the settings say."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from marketlab.lab.keeping import Keeper
from marketlab.stores.contract import Batching, Store
from marketlab.stores.open import open_store
from marketlab.stores.writer import Writer

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["batching", "keeping"]


def batching(store: Store, settings: "Settings") -> Batching:
    """When a batch is due: as the settings say, else as the store prefers."""
    own = store.batching
    seconds = own.seconds if settings.flush_ms is None else settings.flush_ms / 1000
    return Batching(rows=settings.flush_rows or own.rows, seconds=seconds, bytes=own.bytes)


@contextmanager
def keeping(places: Iterable[str | Store], settings: "Settings") -> Iterator[Keeper]:
    """A keeper for stores, or for those at these URLs; on the way out everything is flushed, and what it opened closed.

    Raises:
        UsageError: a URL that no store answers to.
        StoreUnavailable: a spool cannot be made.
    """
    limit = None if settings.spool_limit_mb is None else settings.spool_limit_mb * 1_000_000
    with ExitStack() as stack:
        writers = []
        for place in dict.fromkeys(places):
            store = stack.enter_context(open_store(place)) if isinstance(place, str) else place
            writer = Writer(
                store,
                spool=settings.spool,
                batching=batching(store, settings),
                spool_bytes=limit,
                when_full=settings.spool_when_full,
            )
            writers.append((store, stack.enter_context(writer)))
        yield Keeper(writers)
