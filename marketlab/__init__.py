"""marketlab: the market-data lab for notebooks.

Verified streams, history that loses nothing, and the same data back in the notebook, live, in charts and in tests.
A public name is imported when it is first used, so that `import marketlab` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marketlab import charts
    from marketlab.analysis import price_change, resample, summary
    from marketlab.errors import (
        ConnectionLost,
        ExchangeError,
        MarketlabError,
        MissingDependency,
        RateLimited,
        Rejected,
        StoreError,
        StoreUnavailable,
        TapeError,
        UnknownExchange,
        UnknownSymbol,
        UnreadableFrame,
        Unsupported,
        UsageError,
        WriteRejected,
    )
    from marketlab.lab import dashboard, live, local_exchange, open_store
    from marketlab.records import AggTrade, BookSnapshot, BookUpdate, Gap, Kline, Quote, Ticker, Trade
    from marketlab.streams.feed import Feed
    from marketlab.widgets import BookLadder, KlineChart, TimeAndSales, Watchlist

__version__ = "0.1.0"

__all__ = [
    "AggTrade",
    "BookLadder",
    "BookSnapshot",
    "BookUpdate",
    "ConnectionLost",
    "ExchangeError",
    "Feed",
    "Gap",
    "Kline",
    "KlineChart",
    "MarketlabError",
    "MissingDependency",
    "Quote",
    "RateLimited",
    "Rejected",
    "StoreError",
    "StoreUnavailable",
    "TapeError",
    "Ticker",
    "TimeAndSales",
    "Trade",
    "UnknownExchange",
    "UnknownSymbol",
    "UnreadableFrame",
    "Unsupported",
    "UsageError",
    "Watchlist",
    "WriteRejected",
    "__version__",
    "charts",
    "dashboard",
    "live",
    "local_exchange",
    "open_store",
    "price_change",
    "resample",
    "summary",
]

_PLACES = {
    "marketlab.analysis": "price_change resample summary",
    "marketlab.charts": "charts",
    "marketlab.errors": (
        "ConnectionLost ExchangeError MarketlabError MissingDependency RateLimited Rejected StoreError StoreUnavailable "
        "TapeError UnknownExchange UnknownSymbol UnreadableFrame Unsupported UsageError WriteRejected"
    ),
    "marketlab.lab": "dashboard live local_exchange open_store",
    "marketlab.records": "AggTrade BookSnapshot BookUpdate Gap Kline Quote Ticker Trade",
    "marketlab.streams.feed": "Feed",
    "marketlab.widgets": "BookLadder KlineChart TimeAndSales Watchlist",
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    place = _PLACE_OF.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(place)
    except ModuleNotFoundError as error:
        from marketlab.extras import missing

        raise missing(error, f"{__name__}.{name}") or error from None
    value = module if place == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
