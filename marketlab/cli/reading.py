"""Opens a store to read what a command was asked for, and says what cannot be answered instead of showing nothing."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from marketlab.errors import UsageError

if TYPE_CHECKING:
    from marketlab.config import Settings
    from marketlab.stores.contract import Store

__all__ = ["existing", "lasting", "opened", "require_time_between"]


def opened(settings: "Settings", *, interval: str | None, start: str | None, end: str | None) -> "Store":
    """The store that is set, which is there, for a span of time that is one.

    Raises:
        UsageError: no store is there or it ends with its process, no such interval, or no time between start and end.
    """
    from marketlab.analysis.intervals import interval as parsed

    if interval is not None:
        parsed(interval)
    require_time_between(start, end)
    return existing(settings.store, settings, "marketlab collect makes one, and --store names another")


def require_time_between(start: str | None, end: str | None) -> None:
    """That some time lies between the two.

    Raises:
        UsageError: none does, or one of them is not a time.
    """
    from marketlab.stores.selection import instant

    since, until = instant(start), instant(end)
    if since is not None and until is not None and since >= until:
        raise UsageError(f"Nothing lies between {start} and {end}; --start has to be before --end.")


def existing(url: str, settings: "Settings", otherwise: str) -> "Store":
    """The store at a URL, which is there; `otherwise` says what to do where it is not.

    Raises:
        UsageError: no store is there, or it ends with its process.
    """
    store = lasting(url, settings)
    with ExitStack() as ending:
        ending.enter_context(store)
        if not store.exists:
            raise UsageError(f"There is no store at {store.url} yet; {otherwise}.")
        ending.pop_all()
    return store


def lasting(url: str, settings: "Settings") -> "Store":
    """The store at a URL, which may come into being with the first write but outlasts this program.

    Raises:
        UsageError: it does not.
    """
    from marketlab.stores.open import open_store

    store = open_store(url, settings)
    if store.scheme == "memory":
        raise UsageError("memory:// ends with the program that filled it; name a store that stays.")
    return store
