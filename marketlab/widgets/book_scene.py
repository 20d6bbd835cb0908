"""An order book as a scene: its best levels, and the newest trade."""

from collections.abc import Sequence

from marketlab.records import BookUpdate, Record, Trade
from marketlab.streams.feed import Feed
from marketlab.widgets.contract import Flag, Frame, Kind, Need
from marketlab.widgets.picture import Sheet

__all__ = ["BookScene"]


class BookScene:
    """The best `depth` levels a side of a feed's book.

    Args:
        feed: Where the book is kept; used in its thread.
        symbol: A canonical symbol.
        depth: Levels a side.
    """

    def __init__(self, feed: Feed, symbol: str, depth: int = 20) -> None:
        self.symbol = symbol
        self.depth = depth
        self._feed = feed
        self._last: Trade | None = None

    def needs(self) -> Sequence[Need]:
        """The book, quotes that prove it, and trades."""
        return [Need(self.symbol, channel) for channel in ("book", "quote", "trade")]

    async def prepare(self) -> None:
        """Nothing lies before the streams."""

    def take(self, record: Record) -> bool:
        """A trade or an update of the book is news."""
        if isinstance(record, Trade):
            self._last = record
            return True
        return isinstance(record, BookUpdate)

    def frames(self, *, whole: bool) -> Sequence[Frame]:
        """One BOOK frame; nothing before the first snapshot."""
        book = self._feed.book(self.symbol, self.depth)
        if not book.bids and not book.asks:
            return []
        last = self._last
        trade = (0.0, 0.0, 0.0)
        if last is not None:
            trade = (last.price, last.size if last.side == "buy" else -last.size, float(last.time))
        columns = [[level[part] for level in side] for side in (book.bids, book.asks) for part in (0, 1)]
        flags = (Flag.VERIFIED if book.verified else Flag(0)) | (Flag.PARTIAL if book.known is None else Flag(0))
        proof = (float(book.compared), float(book.equal), 0.0)
        return [Frame(Kind.BOOK, (len(book.bids), len(book.asks)), [*columns, trade, proof], book.id, flags)]

    def svg(self) -> str:
        """The ladder as a picture."""
        sheet = Sheet(640, 420, f"Order book of {self.symbol}")
        sheet.header([self._feed.exchange.name, self.symbol], "waiting")
        return sheet.svg()
