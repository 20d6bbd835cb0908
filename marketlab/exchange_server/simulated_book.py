"""The book of a simulated symbol: prices in ticks, sizes in units of 1e-8, every change numbered."""

import bisect

__all__ = ["SimulatedBook"]

_Levels = list[tuple[int, int]]


class SimulatedBook:
    """Both sides of a book; `buy` says which one is meant. Neither may be emptied."""

    def __init__(self, symbol: str, update_id: int) -> None:
        self.symbol = symbol
        self.update_id = update_id
        # Prices rise; the best bid is the last of its side and the best ask the first.
        self._prices: dict[bool, list[int]] = {True: [], False: []}
        self._sizes: dict[bool, dict[int, int]] = {True: {}, False: {}}
        self._changed: dict[bool, dict[int, int]] = {True: {}, False: {}}

    def best(self, buy: bool) -> int:
        """The best price of a side."""
        return self._prices[buy][-1 if buy else 0]

    def size(self, buy: bool, price: int) -> int:
        """How much there is at a price."""
        return self._sizes[buy].get(price, 0)

    def count(self, buy: bool) -> int:
        """How many levels a side has."""
        return len(self._prices[buy])

    def at(self, buy: bool, depth: float) -> int:
        """The price of a level: 0 is the deepest, towards 1 the best."""
        prices = self._prices[buy]
        position = int(depth * len(prices))
        return prices[position] if buy else prices[-1 - position]

    def set(self, buy: bool, price: int, size: int) -> bool:
        """Set the size at a price, 0 to remove it; whether the side's best price or its size has changed."""
        prices, sizes = self._prices[buy], self._sizes[buy]
        before = self._top(buy)
        if size and price not in sizes:
            bisect.insort(prices, price)
        if size:
            sizes[price] = size
        elif price in sizes:
            del sizes[price]
            del prices[bisect.bisect_left(prices, price)]
        self._changed[buy][price] = size
        self.update_id += 1
        return self._top(buy) != before

    def changes(self) -> tuple[_Levels, _Levels]:
        """What has changed since the last call: bids falling, asks rising."""
        bids = sorted(self._changed[True].items(), reverse=True)
        asks = sorted(self._changed[False].items())
        self._changed = {True: {}, False: {}}
        return bids, asks

    def levels(self) -> tuple[_Levels, _Levels]:
        """The whole book: bids falling, asks rising."""
        bids = [(price, self._sizes[True][price]) for price in reversed(self._prices[True])]
        return bids, [(price, self._sizes[False][price]) for price in self._prices[False]]

    def _top(self, buy: bool) -> tuple[int, int] | None:
        return (self.best(buy), self._sizes[buy][self.best(buy)]) if self._prices[buy] else None
