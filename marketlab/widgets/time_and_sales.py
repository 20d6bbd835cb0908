"""Newest trades, live in a notebook."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import isfinite
from typing import Any

import traitlets as t

from marketlab.records import Trade
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Scene
from marketlab.widgets.live import LiveWidget
from marketlab.widgets.past import past_trades
from marketlab.widgets.trade_scene import KEPT, TradeScene

__all__ = ["TimeAndSales"]


class TimeAndSales(LiveWidget):
    """The newest trades of a symbol, the newest first: time, price, size with its bar, side; large ones stand out.

    A thousand are kept to scroll through. Trades that the feed had before come first.

    Args:
        feed: What `live` returned; trades are subscribed to where it lacks them.
        symbol: In any spelling.
        rows: How many rows are shown at most; the height says how many fit.
        least: Leave out trades that are smaller.
        traits: More options, such as `large=5.0`.

    Raises:
        UsageError: not a feed, or a wrong option.
        UnknownSymbol: the exchange lists no such symbol.
    """

    module = "time_and_sales"
    rows = t.Int(40, min=1, max=500, help="Rows at most.").tag(sync=True)
    least = t.Float(0.0, min=0.0, help="Leave out trades that are smaller.").tag(sync=True)
    large = t.Float(0.0, min=0.0, help="The size from which on a trade stands out; 0: the largest fiftieth.").tag(
        sync=True
    )
    bars = t.Enum(("log", "linear"), default_value="log", help="Scale of the size bars.").tag(sync=True)

    def __init__(self, feed: LiveFeed, symbol: str, rows: int = 40, least: float = 0.0, **traits: Any) -> None:
        super().__init__(feed, symbol, rows=rows, least=least, **traits)

    def scene(self) -> Scene:
        """Its trades."""
        return TradeScene(
            self.feed.inner,
            self.symbol,
            self.rows,
            self.least,
            self.large,
            past=self._past(),
            decimals=(self.price_decimals, self.size_decimals),
            palette=self.palette,
        )

    @t.observe("rows", "large", "palette")
    def _look_changed(self, _: Any) -> None:
        rows, large, palette = self.rows, self.large, self.palette
        self._change(lambda scene: scene.look(rows, large, palette))

    @t.observe("least")
    def _least_changed(self, _: Any) -> None:
        least, past = self.least, self._past()
        self._change(lambda scene: scene.leave_out(least, past))

    def _change(self, how: Callable[[TradeScene], None]) -> None:
        seat = self._seat
        if seat is None:
            return

        def change() -> None:
            if isinstance(seat.scene, TradeScene):
                how(seat.scene)

        self._pump.run(change)
        self._pump.refresh(seat, whole=True)

    @t.validate("least", "large")
    def _finite(self, proposal: Any) -> float:
        size = float(proposal["value"])
        if not isfinite(size):
            raise t.TraitError(f"{proposal['trait'].name} is a size, not {size:g}.")
        return size

    def _past(self) -> Callable[[], Sequence[Trade]]:
        least = self.least

        def chosen(newest: Iterator[Trade]) -> Iterator[Trade]:
            return islice((trade for trade in newest if trade.size >= least), KEPT)

        return past_trades(self.feed, self.symbol, chosen)
