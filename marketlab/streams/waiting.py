"""What somebody waits for, and what of it is still missing."""

from collections.abc import Iterable

import msgspec

from marketlab.market.market import Market
from marketlab.records import Quote, Trade
from marketlab.streams.board import Board

__all__ = ["Wish"]


class Wish(msgspec.Struct, frozen=True):
    """Data to wait for since the feed was started, of one symbol or of all; all of it has to come.

    `klines` are closed ones; `update_id` is an update that the book contains, verified; `idle` is fulfilled when some
    record has come and then none for so many seconds.
    """

    trades: int | None = None
    klines: int | None = None
    quotes: int | None = None
    records: int | None = None
    update_id: int | None = None
    idle: float | None = None
    symbol: str | None = None

    def missing(self, board: Board, market: Market, books: Iterable[str], quiet_s: float) -> list[str]:
        """What has not come yet, in words; empty: the wish is fulfilled. `books` are the symbols with a book."""
        counts = (
            ("trades", self.trades, board.count(Trade, self.symbol)),
            ("closed klines", self.klines, board.closed(self.symbol)),
            ("quotes", self.quotes, board.count(Quote, self.symbol)),
            ("records", self.records, board.total(self.symbol)),
        )
        missing = [f"{have:,} of {want:,} {what}" for what, want, have in counts if want is not None and have < want]
        if self.update_id is not None:
            missing += [self._late(name, market) for name in books if self.symbol in (None, name)]
        if self.idle is not None and (quiet_s < self.idle or not board.records):
            missing.append(f"{'no' if board.records else 'not one record and no'} {self.idle:g} s of silence")
        return [words for words in missing if words]

    def _late(self, name: str, market: Market) -> str:
        book = market.book(name)
        if book.verified and book.id >= (self.update_id or 0):
            return ""
        return f"update {book.id} of {self.update_id} in {'the' if book.verified else 'an unverified'} book of {name}"
