"""Opens a store to read what a command was asked for, and says what cannot be answered instead of showing nothing."""

from typing import TYPE_CHECKING

from marketlab.errors import UsageError

if TYPE_CHECKING:
    from marketlab.stores.contract import Store

__all__ = ["opened"]


def opened(url: str, *, interval: str | None, start: str | None, end: str | None) -> "Store":
    """The store, which is there, for a span of time that is one.

    Raises:
        UsageError: no store is there or it ends with its process, no such interval, or no time between start and end.
    """
    from marketlab.analysis.intervals import interval as parsed
    from marketlab.stores.open import open_store
    from marketlab.stores.selection import instant

    if interval is not None:
        parsed(interval)
    since, until = instant(start), instant(end)
    if since is not None and until is not None and since >= until:
        raise UsageError(f"Nothing lies between {start} and {end}; --start has to be before --end.")
    store = open_store(url)
    if store.scheme == "memory":
        raise UsageError("memory:// ends with the program that filled it; name a store that stays, as with --store.")
    if not store.exists:
        raise UsageError(
            f"There is no store at {store.url} yet; marketlab collect makes one, and --store names another."
        )
    return store
