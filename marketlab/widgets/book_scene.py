"""An order book as a scene: its best levels, joined by a price step where that is wished for, and the newest trades."""

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from marketlab.errors import UsageError
from marketlab.records import BookUpdate, Record, Trade
from marketlab.streams.book import Book
from marketlab.streams.feed import Feed
from marketlab.streams.recent import rank
from marketlab.widgets.book_groups import Groups
from marketlab.widgets.book_picture import BookPicture
from marketlab.widgets.contract import Flag, Frame, Kind, Need
from marketlab.widgets.picture import state_word

__all__ = ["TRADES", "BookScene"]

TRADES = 8
"""How many of the newest trades are shown at their prices."""


class BookScene:
    """The best `depth` levels a side of a feed's book; the last good ones while there are none.

    `depth` and `palette` may be changed in the feed's thread; `group` is the price step.

    Args:
        feed: Where the book is kept; used in its thread.
        symbol: A canonical symbol.
        depth: Levels or groups a side.
        group: Join levels by this price step; 0: do not.
        palette: Of the static picture.
        past: Gives the newest trades that the feed has kept, by time and id; called in the feed's thread.
    """

    def __init__(
        self,
        feed: Feed,
        symbol: str,
        depth: int = 20,
        group: float = 0.0,
        *,
        palette: str = "default",
        past: Callable[[], Sequence[Trade]] = tuple,
    ) -> None:
        self.symbol = symbol
        self.depth = depth
        self.palette = palette
        self._feed = feed
        self._past = past
        self._origin = ""
        self._trades: deque[Trade] = deque(maxlen=TRADES)
        self._good: Frame | None = None
        self.regroup(group)

    def regroup(self, group: float) -> None:
        """Join levels by another price step; 0: not at all."""
        self.group = group
        self._groups = Groups(group) if group else None

    def needs(self) -> Sequence[Need]:
        """The book, quotes that prove it, and trades."""
        return [Need(self.symbol, channel) for channel in ("book", "quote", "trade")]

    async def prepare(self) -> None:
        """Take what the feed has kept from before; it holds what was taken since then too."""
        for trade in self._past()[-TRADES:]:
            self._keep(trade)
        quote = self._feed.quote(self.symbol)
        if not self._origin and quote is not None:
            self._origin = quote.origin

    def take(self, record: Record) -> bool:
        """A trade or an update of the book is news."""
        self._origin = record.origin
        if isinstance(record, BookUpdate):
            if self._groups is not None:
                self._groups.follow(record)
            return True
        if isinstance(record, Trade):
            self._keep(record)
            return True
        return False

    def _keep(self, trade: Trade) -> None:
        trades = self._trades
        if not trades or rank(trades[0]) < rank(trade):
            trades.appendleft(trade)
        else:  # one that was missed and fetched back, or comes again
            others = [known for known in trades if known.trade_id != trade.trade_id]
            newest_first = sorted([*others, trade], key=rank, reverse=True)
            self._trades = deque(newest_first[:TRADES], maxlen=TRADES)

    def frames(self, *, whole: bool) -> Sequence[Frame]:
        """One BOOK frame; nothing before the first snapshot."""
        try:
            book = self._feed.book(self.symbol, 1 if self._groups else self.depth)
        except UsageError:  # it is not streamed yet, or not any more
            return self._last_good(Flag(0))
        if not self._feed.market.book(self.symbol).verified:
            return self._last_good(Flag.LOADING)
        flags = (Flag.VERIFIED if book.verified else Flag(0)) | (Flag.PARTIAL if book.known is None else Flag(0))
        best = (*(book.bids[0] if book.bids else (0.0, 0.0)), *(book.asks[0] if book.asks else (0.0, 0.0)))
        facts = (*best, float(book.compared), float(book.equal), self.group, *(book.known or (0.0, 0.0)))
        bids, asks = self._levels(book)
        # The price, the size and, of groups, the value: each in a column of its own.
        falling, rising = (tuple(zip(*side, strict=True)) or ((), (), ()) for side in (bids, asks))
        columns = [*falling[:2], *rising[:2], facts, *falling[2:], *rising[2:], self._newest_trades()]
        self._good = Frame(Kind.BOOK, (len(bids), len(asks)), columns, book.id, flags, self._origin)
        return [self._good]

    def _levels(self, book: Book) -> tuple[Sequence[tuple[float, ...]], Sequence[tuple[float, ...]]]:
        if self._groups is None:
            return book.bids, book.asks
        return self._groups.top(self._feed.market.book(self.symbol), self.depth)

    def _newest_trades(self) -> list[float]:
        numbers: list[float] = []
        for trade in self._trades:
            numbers += (trade.price, trade.size if trade.side == "buy" else -trade.size, trade.time)
        return numbers

    def _last_good(self, flags: Flag) -> Sequence[Frame]:
        if self._good is None:
            return []
        partial = self._good.flags & Flag.PARTIAL
        return [msgspec.structs.replace(self._good, flags=partial | flags)]

    def svg(self) -> str:
        """The ladder as a picture."""
        frames = self.frames(whole=True)
        return BookPicture(
            self._feed.exchange.name,
            self.symbol,
            state_word(self._origin, running=self._feed.running, connected=self._feed.connected),
            frames[0] if frames else None,
            self._feed.instrument(self.symbol),
            self.palette,
        ).svg()
