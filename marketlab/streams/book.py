"""A book as it was at one moment, for people to look at."""

import msgspec

from marketlab.market.market import Counts
from marketlab.market.orderbook import OrderBook
from marketlab.records import Levels

__all__ = ["Book", "copy_of"]


class Book(msgspec.Struct, frozen=True):
    """The best levels of an order book: bids falling, asks rising. A copy; it does not change any more.

    `verified` says that the levels follow from a snapshot of the exchange without a hole, and are `current`: the
    connection is up, and the book has been heard of since it is. `known` is the range of prices whose levels are all
    known; None: the exchange's snapshot was empty, and levels are there that have not been seen yet. `compared` and `equal` say how often the best prices were held against the
    exchange's own quotes, and agreed.
    """

    exchange: str
    symbol: str
    id: int
    time: int
    verified: bool
    known: tuple[float, float] | None
    bids: Levels
    asks: Levels
    compared: int
    equal: int
    current: bool = True

    @property
    def best_bid(self) -> float | None:
        """The highest bid price; None on an empty side."""
        return self.bids[0][0] if self.bids else None

    @property
    def best_ask(self) -> float | None:
        """The lowest ask price; None on an empty side."""
        return self.asks[0][0] if self.asks else None

    @property
    def middle(self) -> float | None:
        """Half way between the best prices."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else (bid + ask) / 2

    @property
    def spread(self) -> float | None:
        """Best ask less best bid."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else ask - bid

    @property
    def spread_bps(self) -> float | None:
        """The spread in hundredths of a percent of the middle."""
        spread, middle = self.spread, self.middle
        return None if spread is None or not middle else spread / middle * 10_000

    def __repr__(self) -> str:
        state = (
            "verified"
            if self.verified
            else "not verified"
            if self.current
            else "not verified, no news since the connection was lost"
        )
        if self.verified and self.known is None:
            state = "verified, but for levels from before it began"
        bid, ask = _first(self.bids), _first(self.asks)
        return f"<Book {self.symbol} on {self.exchange}: bid {bid}, ask {ask}, id {self.id}, {state}>"


def copy_of(book: OrderBook, counts: Counts, levels: int, *, current: bool, within: float | None = None) -> Book:
    """A copy of the best levels of a running book, or of those within a fraction of the middle."""
    bids, asks = book.top(levels) if within is None else book.within(fraction=within)
    return Book(
        book.exchange,
        book.symbol,
        book.id,
        book.time,
        book.verified and current,
        book.known,
        bids,
        asks,
        counts.compared,
        counts.equal,
        current,
    )


def _first(levels: Levels) -> str:
    return f"{levels[0][1]:g} @ {levels[0][0]:.12g}" if levels else "-"
