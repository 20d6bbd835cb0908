"""From a URL to a store. Stores are found by their module, never registered.

A module of this package that names `SCHEMES` and has `from_url(url)` is a store. One whose own packages are absent
raises `MissingDependency` when it is imported, so that the others stay usable.
"""

import importlib
import pkgutil
from importlib.util import find_spec
from types import ModuleType

from marketlab import stores
from marketlab.errors import MissingDependency, UsageError
from marketlab.stores.contract import Store

__all__ = ["open_store", "schemes"]


def schemes() -> tuple[str, ...]:
    """The URL schemes that stores exist for, those with an absent dependency too."""
    found: set[str] = set()
    for name in _modules():
        try:
            found.update(_schemes_of(_load(name)))
        except MissingDependency:
            found.add(name)
        except ModuleNotFoundError:
            # A part of such a store, not a store.
            continue
    return tuple(sorted(found))


def open_store(url: str) -> Store:
    """The store at a URL: `memory://`, `delta://relative/path`, `delta:///absolute/path`.

    Opening makes nothing: tables come into being with the first write.

    Raises:
        UsageError: the URL has no scheme, or one that no store answers to; the error names those that exist.
        MissingDependency: the store needs a package that is not installed.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise UsageError(f"{url!r} is not a store's URL; write it like delta://{url or 'marketdata'}.")
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
        if scheme in _schemes_of(module):
            store: Store = module.from_url(url)
            return store
    raise UsageError(f"No store answers to {scheme}://. There are: {', '.join(f'{known}://' for known in schemes())}.")


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(stores.__path__)]


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{stores.__name__}.{name}")


def _schemes_of(module: ModuleType) -> tuple[str, ...]:
    return tuple(getattr(module, "SCHEMES", ()))
