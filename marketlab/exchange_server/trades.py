"""The trades of one symbol so far, in columns, and the aggregate trades that they make.

Frames are kept undecoded until somebody asks; most plays of a tape never do.
"""

import bisect
from array import array
from collections.abc import Callable

import msgspec

from marketlab.exchange_server.frames import number, to_micros, units

__all__ = ["MANY", "Aggregates", "Trades"]

MANY = 4096
"""So many undecoded frames are kept at most, give or take what comes between two looks."""


class _Trade(msgspec.Struct):
    t: int
    p: str
    q: str
    T: int
    m: bool


class _TradeFrame(msgspec.Struct):
    data: _Trade


_DECODER = msgspec.json.Decoder(_TradeFrame)


class Trades:
    """Columns that grow together: id, time (microseconds), price and size (units of 1e-8), whether the buyer was the
    maker. Ids rise; a doubled or unreadable trade is left out."""

    def __init__(self) -> None:
        self.ids = array("q")
        self.times = array("q")
        self.prices = array("q")
        self.sizes = array("q")
        self.makers = array("b")
        self._pending: list[bytes] = []
        self.keep: Callable[[bytes], None] = self._pending.append
        """Take a combined trade frame."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pending(self) -> int:
        """How many frames wait undecoded."""
        return len(self._pending)

    def settle(self) -> None:
        """Decode what has come since the last time."""
        for frame in self._pending:
            try:
                trade = _DECODER.decode(frame).data
            except msgspec.DecodeError:
                continue
            if self.ids and trade.t <= self.ids[-1]:
                continue
            self.ids.append(trade.t)
            self.times.append(to_micros(trade.T))
            self.prices.append(units(trade.p))
            self.sizes.append(units(trade.q))
            self.makers.append(trade.m)
        self._pending.clear()

    def from_id(self, trade_id: int) -> int:
        """The position of the first trade whose id is at least this."""
        return bisect.bisect_left(self.ids, trade_id)

    def row(self, at: int, *, micros: bool) -> dict[str, object]:
        """The trade at a position as REST gives it."""
        price, size = self.prices[at], self.sizes[at]
        return {
            "id": self.ids[at],
            "price": number(price),
            "qty": number(size),
            "quoteQty": number(price * size // 100_000_000),
            "time": self.times[at] if micros else self.times[at] // 1000,
            "isBuyerMaker": bool(self.makers[at]),
            "isBestMatch": True,
        }


class Aggregates:
    """Aggregate trades built from trades, since a tape of trades has none.

    The rule: trades whose ids follow one another belong together while taker side, price and time (to the
    millisecond) stay the same. Aggregate ids count from 1 at the start of the source.
    """

    def __init__(self, trades: Trades) -> None:
        self.trades = trades
        self.firsts = array("q")
        """Position of each aggregate's first trade; it ends before the next one's."""
        self._taken = 0

    def __len__(self) -> int:
        return len(self.firsts)

    def settle(self) -> None:
        """Take in the trades that have come since the last time."""
        trades = self.trades
        for at in range(self._taken, len(trades)):
            if not at or not self._joins(at):
                self.firsts.append(at)
        self._taken = len(trades)

    def _joins(self, at: int) -> bool:
        trades = self.trades
        before = at - 1
        return (
            trades.ids[at] == trades.ids[before] + 1
            and trades.prices[at] == trades.prices[before]
            and trades.makers[at] == trades.makers[before]
            and trades.times[at] // 1000 == trades.times[before] // 1000
        )

    def row(self, at: int, *, micros: bool) -> dict[str, object]:
        """The aggregate at a position as REST gives it, and as the stream does between its head and its tail."""
        trades = self.trades
        first = self.firsts[at]
        last = (self.firsts[at + 1] if at + 1 < len(self.firsts) else len(trades)) - 1
        return {
            "a": at + 1,
            "p": number(trades.prices[first]),
            "q": number(sum(trades.sizes[first : last + 1])),
            "f": trades.ids[first],
            "l": trades.ids[last],
            "T": trades.times[first] if micros else trades.times[first] // 1000,
            "m": bool(trades.makers[first]),
            "M": True,
        }

    def time(self, at: int) -> int:
        """When the aggregate at a position traded, in microseconds."""
        return self.trades.times[self.firsts[at]]
