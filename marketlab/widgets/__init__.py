"""Live views of a feed in a notebook."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketlab.widgets.book_ladder import BookLadder
    from marketlab.widgets.kline_chart import KlineChart
    from marketlab.widgets.time_and_sales import TimeAndSales
    from marketlab.widgets.watchlist import Watchlist

__all__ = ["BookLadder", "KlineChart", "TimeAndSales", "Watchlist"]

# Each on first use: scenes and frames need no ipywidgets.
_MODULES = {
    "BookLadder": "book_ladder",
    "KlineChart": "kline_chart",
    "TimeAndSales": "time_and_sales",
    "Watchlist": "watchlist",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
