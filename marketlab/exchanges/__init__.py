"""An exchange session turns frames into records and commands; one module per exchange, no I/O.

An exchange is found, never registered: a module of this folder that bears its name, or an entry point of the group
`marketlab.exchanges` in any installed package.
"""

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import Any

from marketlab.errors import UnknownExchange
from marketlab.exchanges.contract import Exchange

__all__ = ["find", "names"]

_GROUP = "marketlab.exchanges"


def names() -> list[str]:
    """The names of all exchanges that are installed, sorted."""
    return sorted({*_own(), *(entry.name for entry in entry_points(group=_GROUP))})


def find(name: str, **options: Any) -> Exchange:
    """The exchange of this name, in any spelling of its case, made with options of its own.

    Raises:
        UnknownExchange: there is none; the error lists those that are.
    """
    name = name.strip().lower()
    if name in _own():
        found = _of_module(name)
    elif entries := entry_points(group=_GROUP, name=name):
        found = next(iter(entries)).load()
    else:
        raise UnknownExchange(name, names())
    exchange: Exchange = found(**options)
    return exchange


def _own() -> list[str]:
    return [module.name for module in iter_modules(__path__) if module.name != "contract"]


def _of_module(name: str) -> type:
    members = vars(import_module(f"{__name__}.{name}")).values()
    return next(member for member in members if isinstance(member, type) and getattr(member, "name", None) == name)
