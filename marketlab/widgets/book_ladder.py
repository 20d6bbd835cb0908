"""The order book as a ladder, live in a notebook."""

from itertools import islice
from math import isfinite
from typing import Any

import traitlets as t

from marketlab.widgets.book_scene import TRADES, BookScene
from marketlab.widgets.contract import Scene
from marketlab.widgets.live import LiveWidget
from marketlab.widgets.past import past_trades

__all__ = ["BookLadder"]

_NEARLY = 1e-9


class BookLadder(LiveWidget):
    """The best levels of an order book: sizes, cumulative depth, spread, imbalance and the newest trades.

    Asks are above and bids below. A level under the mouse says what it costs to reach it. Keys: up and down move along
    the levels, + and - join them by larger and smaller price steps, the space bar pauses.

    Args:
        feed: What `live` returned; the book, quotes and trades are subscribed to where it lacks them.
        symbol: In any spelling.
        traits: Options, such as `depth=30`, or `group=10` to join levels by steps of 10.

    Raises:
        UsageError: not a feed, or a wrong option.
        UnknownSymbol: the exchange lists no such symbol.
    """

    module = "book_ladder"
    depth = t.Int(15, min=1, max=200, help="Levels a side.").tag(sync=True)
    group = t.Float(0.0, help="Join levels by this price step, a multiple of the tick; 0: do not.").tag(sync=True)
    height = t.Int(660, min=120, max=4_000, help="Pixels; the width is the cell's.").tag(sync=True)
    instrument = t.Dict(read_only=True).tag(sync=True)

    def scene(self) -> Scene:
        """A book."""
        past = past_trades(self.feed, self.symbol, lambda newest: islice(newest, TRADES))
        return BookScene(self.feed.inner, self.symbol, self.depth, self.group, palette=self.palette, past=past)

    @t.validate("group")
    def _possible_group(self, proposal: Any) -> float:
        group = float(proposal["value"])
        found = self.feed.inner.instrument(self.symbol) if self.symbol else None
        tick = found.tick if found is not None else 0.0
        ticks = group / tick if tick else 1.0
        possible = isfinite(group) and group > 0 and round(ticks) and abs(ticks - round(ticks)) <= _NEARLY * ticks
        if group and not possible:
            rule = f"a multiple of {tick:g}, the tick of {self.symbol}" if tick else "a price step"
            raise t.TraitError(f"group is {group:g}; give {rule}, or 0 to show every level.")
        return group

    @t.observe("depth", "group", "palette")
    def _options_changed(self, _: Any) -> None:
        seat = self._seat
        if seat is None:
            return
        depth, group, palette = self.depth, self.group, self.palette

        def change() -> None:
            scene = seat.scene
            if not isinstance(scene, BookScene):
                return
            scene.depth, scene.palette = depth, palette
            if group != scene.group:
                scene.regroup(group)

        self._pump.run(change)
        self._pump.refresh(seat, whole=True)

    def _fit_decimals(self) -> None:
        super()._fit_decimals()
        if self._seat is not None:
            self.group = 0.0  # a step for one symbol's prices is none for another's
        found = self.feed.inner.instrument(self.symbol) if self.symbol else None
        if found is not None:
            facts = {"base": found.base, "quote": found.quote, "tick": found.tick}
            self.set_trait("instrument", facts)

    @classmethod
    def _options(cls) -> set[str]:
        return super()._options() - {"instrument"}
