"""From a URL to a store or a queue. Both are found by their module, never registered.

A module of this package that names `SCHEMES` and has `from_url(url, settings)` is a store; one that names
`QUEUE_SCHEMES` instead is a queue. One whose own packages are absent raises `MissingDependency` when it is imported, so
that the others stay usable.
"""

import importlib
import pkgutil
import re
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

from marketlab import stores
from marketlab.errors import MissingDependency, UsageError
from marketlab.stores.contract import Queue, Sink, Store

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["open_queue", "open_sink", "open_store", "queue_schemes", "schemes"]

_KINDS = {"SCHEMES": "store", "QUEUE_SCHEMES": "queue"}


def schemes() -> tuple[str, ...]:
    """The URL schemes that stores exist for; those with an absent dependency go by the name of their module."""
    return _all_schemes("SCHEMES")


def queue_schemes() -> tuple[str, ...]:
    """The URL schemes that queues exist for."""
    return _all_schemes("QUEUE_SCHEMES")


def open_store(url: str, settings: "Settings | None" = None) -> Store:
    """The store at a URL: `memory://`, `delta://relative/path`, `influxdb://host:8086/database`, `postgresql://...`.

    Opening makes nothing: tables come into being with the first write. What the URL does not say, such as a token, comes
    from the settings.

    Raises:
        UsageError: the URL has no scheme, or one that no store answers to; the error names those that exist.
        MissingDependency: the store needs a package that is not installed.
    """
    store: Store = _module_for(url, "SCHEMES").from_url(url, settings)
    return store


def open_queue(url: str, settings: "Settings | None" = None) -> Queue:
    """The queue at a URL, such as `redis://host:6379/0`; otherwise as `open_store`."""
    queue: Queue = _module_for(url, "QUEUE_SCHEMES").from_url(url, settings)
    return queue


def open_sink(url: str, settings: "Settings | None" = None) -> Sink:
    """Whatever may be written to at a URL, a store or a queue; otherwise as `open_store`."""
    sink: Sink = _module_for(url, *_KINDS).from_url(url, settings)
    return sink


def _module_for(url: str, *kinds: str) -> ModuleType:
    scheme, separator, _ = url.partition("://")
    if not separator:
        # Where a URL is misspelt, what looks like a password may be one: only a bare name is said again.
        name = url if re.fullmatch(r"[\w.-]+", url) else "marketdata"
        raise UsageError(
            f"A store's URL has :// after its kind; write it like delta://{name} or influxdb://host/database."
        )
    if find_spec("polars") is None:
        raise MissingDependency("polars", "history", "A store")
    names = _modules()
    # The module of the same name first, so that opening one store does not load the others.
    for name in sorted(names, key=lambda name: name != scheme):
        try:
            module = _load(name)
        except MissingDependency:
            if name == scheme:
                raise
            continue
        except ModuleNotFoundError:
            continue
        for kind in _KINDS:
            if scheme in getattr(module, kind, ()):
                if kind in kinds:
                    return module
                raise UsageError(f"{scheme}:// is a {_KINDS[kind]}, and a {_KINDS[kinds[0]]} is wanted here.")
    known = ", ".join(f"{found}://" for kind in kinds for found in _all_schemes(kind))
    raise UsageError(f"No {_KINDS[kinds[0]]} answers to {scheme}://. There are: {known}.")


def _all_schemes(kind: str) -> tuple[str, ...]:
    found: set[str] = set()
    for name in _modules():
        try:
            found.update(getattr(_load(name), kind, ()))
        except MissingDependency:
            if kind == "SCHEMES":
                found.add(name)
        except ModuleNotFoundError:
            # A part of such a store, not a store.
            continue
    return tuple(sorted(found))


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(stores.__path__)]


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{stores.__name__}.{name}")
