"""One order book that judges its own updates, by one rule for every exchange.

Rules that hold in this file (`id` is the last update id that the book contains):

1. Without a snapshot there is no book: updates are held, the newest `HELD` of them, until `load` brings one.
2. An update applies if its `previous_id` is `id`. Otherwise it is old or doubled, and ignored, if its `last_id` is
   not above `id`. Otherwise it applies if it begins no later than `id + 1` and either carries no `previous_id` or
   is the first after a snapshot. Anything else is a hole.
3. A hole ends the book: every level is thrown away, so that none outlives its removal, and rule 1 holds again,
   with the update that showed the hole as the first one held.
4. A snapshot that does not reach the first held update is stale: another one is needed. An older snapshot than the
   book itself changes nothing.
5. Sizes are absolute; 0 removes a level, and removing an absent one is no error.
6. A snapshot tells of prices between its worst bid and its worst ask: the `known` range. Levels beyond it exist
   unseen until they change. An empty snapshot knows no price at all.
7. A side's window holds, sorted, every price of that side that is not worse than its bound. So the best prices
   are at hand while updates far from them touch nothing but the dictionary of sizes.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf

from marketlab.records import BookSnapshot, BookUpdate, Levels, Origin

__all__ = ["HELD", "OrderBook", "Outcome"]

HELD = 2_000
"""Updates that a book without a snapshot keeps: over three minutes at ten a second."""

_WIDTH = 96  # measured with top-20 after each update: narrower ones are filled more often, wider ones shift more
_WIDEST = 160


class Outcome(Enum):
    """What became of an update or a snapshot."""

    APPLIED = "applied"
    IGNORED = "ignored"
    """Old or doubled; the book has it already."""
    HELD = "held"
    """Kept until a snapshot comes."""
    HOLE = "hole"
    """Something is missing: the book is empty and needs a new snapshot."""
    STALE = "stale"
    """The snapshot is older than the first held update: fetch another one."""


class _Bids:
    __slots__ = ("bound", "sizes", "window")

    def __init__(self, levels: Levels) -> None:
        self.sizes = {price: size for price, size in levels if size}
        self.fill(_WIDTH)

    def fill(self, n: int) -> None:
        self.window = sorted(self.sizes)[-n:]
        self.bound = self.window[0] if len(self.window) < len(self.sizes) else -inf

    def apply(self, levels: Levels) -> None:
        sizes, window, bound = self.sizes, self.window, self.bound
        for price, size in levels:
            if price < bound:
                if size:
                    sizes[price] = size
                else:
                    sizes.pop(price, None)
            elif size:
                if price not in sizes:
                    insort(window, price)
                sizes[price] = size
            elif price in sizes:
                del sizes[price]
                del window[bisect_left(window, price)]
        if len(window) > _WIDEST:
            del window[:-_WIDTH]
            self.bound = window[0]

    def best(self) -> float | None:
        if not self.window:
            if not self.sizes:
                return None
            self.fill(_WIDTH)
        return self.window[-1]

    def top(self, n: int) -> Levels:
        if len(self.window) < n and len(self.window) < len(self.sizes):
            self.fill(max(n, _WIDTH))
        sizes = self.sizes
        return [(price, sizes[price]) for price in self.window[: -n - 1 : -1]]


class _Asks:
    __slots__ = ("bound", "sizes", "window")

    def __init__(self, levels: Levels) -> None:
        self.sizes = {price: size for price, size in levels if size}
        self.fill(_WIDTH)

    def fill(self, n: int) -> None:
        self.window = sorted(self.sizes)[:n]
        self.bound = self.window[-1] if len(self.window) < len(self.sizes) else inf

    def apply(self, levels: Levels) -> None:
        sizes, window, bound = self.sizes, self.window, self.bound
        for price, size in levels:
            if price > bound:
                if size:
                    sizes[price] = size
                else:
                    sizes.pop(price, None)
            elif size:
                if price not in sizes:
                    insort(window, price)
                sizes[price] = size
            elif price in sizes:
                del sizes[price]
                del window[bisect_left(window, price)]
        if len(window) > _WIDEST:
            del window[_WIDTH:]
            self.bound = window[-1]

    def best(self) -> float | None:
        if not self.window:
            if not self.sizes:
                return None
            self.fill(_WIDTH)
        return self.window[0]

    def top(self, n: int) -> Levels:
        if len(self.window) < n and len(self.window) < len(self.sizes):
            self.fill(max(n, _WIDTH))
        sizes = self.sizes
        return [(price, sizes[price]) for price in self.window[:n]]


class OrderBook:
    """The book of one symbol.

    `id` and `time` are those of the last update or snapshot taken, `verified` says that the levels follow from a
    snapshot without a hole, `known` is the range of prices of rule 6 (None: no price is known), and `held` are the
    updates of rule 1, to be read only: a snapshot has to reach `held[0].first_id`, less one.
    """

    def __init__(self, exchange: str, symbol: str) -> None:
        self.exchange = exchange
        self.symbol = symbol
        self.id = 0
        self.time = 0
        self.verified = False
        self.known: tuple[float, float] | None = None
        self._fresh = False
        self._bids = _Bids([])
        self._asks = _Asks([])
        self.held: deque[BookUpdate] = deque(maxlen=HELD)

    def apply(self, update: BookUpdate) -> Outcome:
        """Take an update: APPLIED, IGNORED, HELD, or HOLE."""
        if not self.verified:
            self.held.append(update)
            return Outcome.HELD
        last = self.id
        if update.previous_id != last:
            if update.last_id <= last:
                return Outcome.IGNORED
            if update.first_id > last + 1 or not (self._fresh or update.previous_id is None):
                self.discard()
                self.held.append(update)
                return Outcome.HOLE
        self._fresh = False
        self._bids.apply(update.bids)
        self._asks.apply(update.asks)
        self.id = update.last_id
        self.time = update.time
        return Outcome.APPLIED

    def load(self, snapshot: BookSnapshot, each: Callable[[BookUpdate], None] | None = None) -> Outcome:
        """Take a snapshot and then the held updates that follow it, calling `each` after every one that applied.

        APPLIED; STALE, where another snapshot must be fetched and the held updates stay; IGNORED, where the book is
        newer; or HOLE, where ids are missing among the held updates, so that a snapshot from beyond is needed.
        """
        if self.verified and snapshot.update_id < self.id:
            return Outcome.IGNORED
        held = deque(update for update in self.held if update.last_id > snapshot.update_id)
        if held and held[0].first_id > snapshot.update_id + 1 and held[0].previous_id != snapshot.update_id:
            return Outcome.STALE
        self._bids, self._asks = _Bids(snapshot.bids), _Asks(snapshot.asks)
        self.id, self.time = snapshot.update_id, snapshot.time
        self.known = _range(snapshot)
        self.verified = self._fresh = True
        self.held.clear()
        while held:
            update = held.popleft()
            outcome = self.apply(update)
            if outcome is Outcome.HOLE:
                self.held.extend(held)
                return outcome
            if outcome is Outcome.APPLIED and each is not None:
                each(update)
        return Outcome.APPLIED

    def discard(self) -> None:
        """Forget every level and held update and wait for a snapshot, as after a hole."""
        self._bids, self._asks = _Bids([]), _Asks([])
        self.held.clear()
        self.verified = False
        self.known = None

    @property
    def best_bid(self) -> float | None:
        """The highest bid price; None on an empty side."""
        return self._bids.best()

    @property
    def best_ask(self) -> float | None:
        """The lowest ask price; None on an empty side."""
        return self._asks.best()

    def best(self) -> tuple[float, float, float, float] | None:
        """Bid price, bid size, ask price, ask size; None while a side is empty."""
        bid, ask = self._bids.best(), self._asks.best()
        if bid is None or ask is None:
            return None
        return bid, self._bids.sizes[bid], ask, self._asks.sizes[ask]

    def top(self, n: int) -> tuple[Levels, Levels]:
        """The best `n` levels a side, at most: bids falling, asks rising."""
        return self._bids.top(n), self._asks.top(n)

    def within(self, *, distance: float = 0.0, fraction: float = 0.0) -> tuple[Levels, Levels]:
        """Levels no further from the middle of the best prices than `distance`, or than `fraction` of that middle.

        The larger of both counts. Without a best price on each side there is no middle, and nothing is returned.
        """
        best = self.best()
        if best is None:
            return [], []
        middle = (best[0] + best[2]) / 2
        reach = max(distance, fraction * middle)
        bids = sorted((level for level in self._bids.sizes.items() if level[0] >= middle - reach), reverse=True)
        asks = sorted(level for level in self._asks.sizes.items() if level[0] <= middle + reach)
        return bids, asks

    def knows(self, price: float) -> bool:
        """Whether the book can tell the size at a price: it is in the known range or has a level that was seen."""
        if self.known is not None and self.known[0] <= price <= self.known[1]:
            return True
        return price in self._bids.sizes or price in self._asks.sizes

    def to_snapshot(self, depth: int, *, received: int, origin: Origin) -> BookSnapshot:
        """The best `depth` levels a side as a record of now (`id` and `time` of the book)."""
        bids, asks = self.top(depth)
        return BookSnapshot(
            self.exchange, self.symbol, self.id, self.time, bids, asks, depth, self.verified, received, origin
        )

    def __len__(self) -> int:
        return len(self._bids.sizes) + len(self._asks.sizes)


def _range(snapshot: BookSnapshot) -> tuple[float, float] | None:
    prices = [price for side in (snapshot.bids, snapshot.asks) for price, _ in side]
    return (min(prices), max(prices)) if prices else None
