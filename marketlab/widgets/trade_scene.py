"""Trades as a scene: the newest of a symbol, how fast they come and which of them are large."""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence

from marketlab.records import Record, Trade
from marketlab.streams.feed import Feed
from marketlab.streams.recent import rank
from marketlab.widgets.contract import Frame, Kind, Need
from marketlab.widgets.picture import state_word
from marketlab.widgets.trade_picture import TradePicture

__all__ = ["KEPT", "TradeScene", "rank"]

KEPT = 1_000
"""Trades that can be scrolled through."""

_LATELY_US = 10_000_000
_FIRST_US = 1_000_000
_FEW = 50
_LARGE_SHARE = 0.02
_RANKED_AGAIN_AFTER = 20
_PICTURED = 20


class TradeScene:
    """The newest trades of a symbol, by time and id.

    Args:
        feed: Where they come from; used in its thread.
        symbol: A canonical symbol.
        rows: How many are sent with each picture; all that are kept are only sent where a view opens or asks.
        least: Leave out what is smaller.
        large: The size from which on a trade stands out; 0: that of the largest fiftieth of those that are kept.
        past: Gives the newest `KEPT` of such trades that came before, by time and id; called in the feed's thread.
        decimals: Of prices and sizes in the static picture.
        palette: Its colours.
    """

    def __init__(
        self,
        feed: Feed,
        symbol: str,
        rows: int = 40,
        least: float = 0.0,
        large: float = 0.0,
        past: Callable[[], Sequence[Trade]] = tuple,
        decimals: tuple[int, int] = (2, 5),
        palette: str = "default",
    ) -> None:
        self.symbol = symbol
        self._feed = feed
        self._rows = rows
        self._least = least
        self._large = large
        self._past = past
        self._decimals = decimals
        self._palette = palette
        self._kept: list[Trade] = []
        self._arrivals: deque[int] = deque()
        self._since = 0
        self._total = 0
        self._sizes = (float("inf"), 0.0)
        self._ranked = -1
        self._prepared = False

    @property
    def trades(self) -> Sequence[Trade]:
        """What is kept, the newest last."""
        return self._kept[-KEPT:]

    def needs(self) -> Sequence[Need]:
        """Trades."""
        return [Need(self.symbol, "trade")]

    def look(self, rows: int, large: float, palette: str) -> None:
        """Show the same trades otherwise from now on; in the feed's thread."""
        self._rows, self._large, self._palette = rows, large, palette
        self._ranked = -1

    def leave_out(self, least: float, past: Callable[[], Sequence[Trade]]) -> None:
        """Leave out other trades from now on, and take what came before out of `past`; in the feed's thread."""
        self._least, self._past = least, past
        self._kept = list(past())[-KEPT:] or [trade for trade in self._kept if trade.size >= least]
        self._total = len(self._kept)
        self._ranked = -1

    async def prepare(self) -> None:
        """Take what the feed has kept from before; it holds what was taken since then too."""
        taken, self._kept = self._kept, list(self._past())[-KEPT:]
        total, self._total = self._total, len(self._kept)
        for trade in taken:
            self._keep(trade)
        self._total = max(total, self._total)
        self._ranked = -1
        self._prepared = True

    def take(self, record: Record) -> bool:
        """Every trade is news, also for the rate; of those that are too small nothing else is kept."""
        if not isinstance(record, Trade):
            return False
        self._since = self._since or record.received
        self._arrivals.append(record.received)
        self._forget(record.received)
        if record.size >= self._least:
            self._keep(record)
        return True

    def _keep(self, trade: Trade) -> None:
        kept = self._kept
        if not kept or rank(kept[-1]) < rank(trade):
            kept.append(trade)
        else:  # one that was missed and fetched back, or comes again
            place = bisect_left(kept, rank(trade), key=rank)
            again = place < len(kept) and kept[place].trade_id == trade.trade_id
            if again or (place == 0 and len(kept) >= KEPT):  # what is older than all may have been kept before
                return
            kept.insert(place, trade)
        self._total += 1
        if len(kept) > 2 * KEPT:
            del kept[:KEPT]

    def _forget(self, now: int) -> None:
        arrivals = self._arrivals
        while arrivals and arrivals[0] < now - _LATELY_US:
            arrivals.popleft()

    def frames(self, *, whole: bool) -> Sequence[Frame]:
        """The newest rows; where `whole`, also all that are kept."""
        if not self._prepared and len(self._kept) < self._rows:
            return []
        now = time.time_ns() // 1000
        self._forget(now)
        shown = [self._frame(Kind.TRADES, self._kept[-self._rows :], now)]
        return [self._frame(Kind.TRADES_KEPT, self.trades, now), *shown] if whole else shown

    def _frame(self, kind: Kind, trades: Sequence[Trade], now: int) -> Frame:
        newest_first = trades[::-1]
        columns = [
            [float(trade.time) for trade in newest_first],
            [trade.price for trade in newest_first],
            [trade.size if trade.side == "buy" else -trade.size for trade in newest_first],
            [float(self._total), self._rate(now), *self._ranks()],
        ]
        id = newest_first[0].trade_id if newest_first else ""
        counts = (len(trades), len(columns[-1]))
        return Frame(kind, counts, columns, int(id) if id.isdecimal() else 0, origin=self._origin)

    @property
    def _origin(self) -> str:
        return self._kept[-1].origin if self._kept else ""

    def _rate(self, now: int) -> float:
        if not self._arrivals:
            return 0.0
        # What has just begun is judged by the time that it had.
        seconds = min(max(now - self._since, _FIRST_US), _LATELY_US) / 1_000_000
        return len(self._arrivals) / seconds

    def _ranks(self) -> tuple[float, float]:
        """From which size on a trade is large, and the largest one; looked at anew after some trades only."""
        if self._ranked < 0 or self._total - self._ranked >= _RANKED_AGAIN_AFTER:
            sizes = sorted(trade.size for trade in self.trades)
            large = sizes[-max(1, int(len(sizes) * _LARGE_SHARE))] if len(sizes) >= _FEW else float("inf")
            self._sizes = (self._large or large, sizes[-1] if sizes else 0.0)
            self._ranked = self._total
        large, largest = self._sizes
        return large, max(largest, self._kept[-1].size) if self._kept else largest

    def svg(self) -> str:
        """The newest trades as a picture."""
        large, largest = self._ranks()
        picture = TradePicture(
            self._feed.exchange.name,
            self.symbol,
            state_word(self._origin, running=self._feed.running, connected=self._feed.connected),
            self._least,
            self._decimals,
            self._palette,
        )
        return picture.svg(self._kept[: -_PICTURED - 1 : -1], large, largest)
