"""Trades that a feed has kept from before somebody looked."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

from marketlab.records import Trade
from marketlab.streams.live import LiveFeed

__all__ = ["past_trades"]


def past_trades(
    feed: LiveFeed, symbol: str, chosen: Callable[[Iterator[Trade]], Iterable[Trade]]
) -> Callable[[], Sequence[Trade]]:
    """What gives the trades that `chosen` takes of those that a feed has kept, which come the newest first.

    It gives them by time and id, the newest last. It does not keep the feed alive; without it there are none.
    """
    # A scene that held the feed would keep it alive after the last one who refers to it.
    seen = weakref.ref(feed)

    def trades() -> Sequence[Trade]:
        found = seen()
        return () if found is None else list(chosen(found.newest_trades(symbol)))[::-1]

    return trades
