"""The order book as a ladder, live in a notebook."""

import traitlets as t

from marketlab.widgets.book_scene import BookScene
from marketlab.widgets.contract import Scene
from marketlab.widgets.live import LiveWidget

__all__ = ["BookLadder"]


class BookLadder(LiveWidget):
    """The best levels of an order book: sizes, cumulative depth, spread, imbalance and the newest trades.

    Args:
        feed: What `live` returned; the book, quotes and trades are subscribed to where it lacks them.
        symbol: In any spelling.
        traits: Options, such as `depth=30`.

    Raises:
        UsageError: not a feed, or a wrong option.
        UnknownSymbol: the exchange lists no such symbol.
    """

    module = "book_ladder"
    depth = t.Int(20, min=1, max=200, help="Levels a side.").tag(sync=True)

    def scene(self) -> Scene:
        """A book."""
        return BookScene(self.feed.inner, self.symbol, self.depth)

    def rebuilt_by(self) -> set[str]:
        """The symbol and the depth."""
        return {"symbol", "depth"}
