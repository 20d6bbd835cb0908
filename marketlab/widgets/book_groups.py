"""Levels of a book joined by a price step, kept up to date update by update.

Rules that hold in this file:

1. Bids are rounded down and asks up to a multiple of the step, so that a group never looks better than its levels.
2. A group is summed when it is looked at, over what is in it then: nothing is added to former sums, so no error grows.
3. Whoever has missed an update sees it by the id, and starts again from the whole book.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from math import ceil, fsum

from marketlab.market.orderbook import OrderBook
from marketlab.records import BookUpdate, Levels
from marketlab.widgets.picture import decimals_of

__all__ = ["Group", "Groups"]

Group = tuple[float, float, float]
"""Price, size, and price times size of all levels in it."""

_EVERYTHING = 1_000_000
_NOISE = 1e-12  # 0.3 / 0.1 is 2.9999999999999996; prices have fewer than 12 digits


class _Side:
    """Keys count steps away from the best price: bids have negative ones, so that both sides begin with the least."""

    def __init__(self, levels: Levels, step: float, sign: int) -> None:
        self._step = step
        self._sign = sign
        self._decimals = decimals_of(step)
        self._levels: dict[int, dict[float, float]] = {}
        self._sums: dict[int, Group] = {}
        for price, size in levels:
            self._levels.setdefault(self._key(price), {})[price] = size
        self._order = sorted(self._levels)

    def _key(self, price: float) -> int:
        steps = self._sign * price / self._step
        return ceil(steps - abs(steps) * _NOISE)

    def apply(self, levels: Levels) -> None:
        for price, size in levels:
            key = self._key(price)
            self._sums.pop(key, None)
            group = self._levels.get(key)
            if size:
                if group is None:
                    insort(self._order, key)
                    group = self._levels[key] = {}
                group[price] = size
            elif group is not None:
                group.pop(price, None)
                if not group:
                    del self._levels[key]
                    del self._order[bisect_left(self._order, key)]

    def top(self, n: int) -> list[Group]:
        sums = self._sums
        for key in self._order[:n]:
            if key not in sums:
                group = self._levels[key]
                price = round(self._sign * key * self._step, self._decimals)
                sums[key] = (price, fsum(group.values()), fsum(level * size for level, size in group.items()))
        return [sums[key] for key in self._order[:n]]


class Groups:
    """A book's levels by a price step.

    Args:
        step: How far apart the groups are, above 0.
    """

    def __init__(self, step: float) -> None:
        self.step = step
        self._id = -1
        self._known: tuple[float, float] | None = None
        self._bids = _Side([], step, -1)
        self._asks = _Side([], step, 1)

    def follow(self, update: BookUpdate) -> None:
        """Take an update that the book has taken, or will have when it is next looked at."""
        follows = update.previous_id == self._id or (update.previous_id is None and update.first_id <= self._id + 1)
        if follows and update.last_id > self._id:
            self._bids.apply(update.bids)
            self._asks.apply(update.asks)
            self._id = update.last_id

    def top(self, book: OrderBook, n: int) -> tuple[Sequence[Group], Sequence[Group]]:
        """The best `n` groups a side of a verified book: bids falling, asks rising."""
        # A new snapshot brings a new range; by its identity, since levels may be others where the prices are the same.
        if book.id != self._id or book.known is not self._known:
            bids, asks = book.top(_EVERYTHING)
            self._bids, self._asks = _Side(bids, self.step, -1), _Side(asks, self.step, 1)
            self._id, self._known = book.id, book.known
        return self._bids.top(n), self._asks.top(n)
