"""An order book that is proven by the exchange's own quotes.

After each applied update, held ones too, the book's best prices and sizes are compared with the newest quote whose
id is not above the update's. Quotes are therefore kept until an update has passed them. A quote may reach us after
the update that holds it, so a difference counts only once a quote from beyond that update has been seen.
"""

from collections import deque
from collections.abc import Callable

from marketlab.market.orderbook import OrderBook, Outcome
from marketlab.records import BookSnapshot, BookUpdate, Quote

__all__ = ["QUOTES", "BookKeeper"]

QUOTES = 20_000
"""Quotes kept while updates are held; without any update only the last hundred are."""

_WITHOUT_UPDATES = 100

_Best = tuple[float, float, float, float]


class BookKeeper:
    """A book, its quotes, and how often they were `compared` and `equal`."""

    def __init__(self, exchange: str, symbol: str) -> None:
        self.book = OrderBook(exchange, symbol)
        self.compared = 0
        self.equal = 0
        self._quotes: deque[Quote] = deque()
        self._limit = _WITHOUT_UPDATES
        self._newest: Quote | None = None
        self._doubts: list[tuple[int, _Best]] = []

    def quote(self, quote: Quote) -> None:
        """Take the next quote; quotes come in the order of their ids, without doubles."""
        quotes = self._quotes
        if len(quotes) >= self._limit:
            self._newest = quotes.popleft()
        quotes.append(quote)
        if self._doubts:
            self._settle(quote)

    def apply(self, update: BookUpdate) -> Outcome:
        """Give an update to the book and compare."""
        self._limit = QUOTES
        outcome = self.book.apply(update)
        if outcome is Outcome.APPLIED:
            self._compare(update)
        return outcome

    def load(self, snapshot: BookSnapshot, each: Callable[[BookUpdate], None]) -> Outcome:
        """Give a snapshot to the book and compare after each held update, then call `each` with it."""

        def applied(update: BookUpdate) -> None:
            self._compare(update)
            each(update)

        return self.book.load(snapshot, applied)

    def _compare(self, update: BookUpdate) -> None:
        id, quotes = update.last_id, self._quotes
        while quotes and quotes[0].update_id <= id:
            self._newest = quotes.popleft()
        newest = self._newest
        best = self.book.best()
        if newest is None or best is None or newest.update_id > id:
            return
        self.compared += 1
        if best == (newest.bid_price, newest.bid_size, newest.ask_price, newest.ask_size):
            self.equal += 1
        elif not quotes:
            self._doubts.append((id, best))

    def _settle(self, quote: Quote) -> None:
        told = quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size
        waiting = [(id, best) for id, best in self._doubts if quote.update_id <= id]
        self._doubts = [(id, best) for id, best in waiting if best != told]
        self.equal += len(waiting) - len(self._doubts)
