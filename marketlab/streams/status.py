"""What a feed is doing, as frozen values that print well."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

__all__ = ["BookStatus", "FeedStatus", "StreamStatus"]


class StreamStatus(msgspec.Struct, frozen=True):
    """One channel of one symbol. Times are microseconds; `lag_s` is how far `received` was behind `time` at the last
    record, and null where the data is replayed or simulated, or carries no time of its own."""

    symbol: str
    channel: str
    records: int
    last_time: int | None
    last_received: int | None
    lag_s: float | None


class BookStatus(msgspec.Struct, frozen=True):
    """One order book. `compared` and `equal`: how often it was held against the exchange's own quotes, and agreed."""

    symbol: str
    id: int
    verified: bool
    best_bid: float | None
    best_ask: float | None
    spread_bps: float | None
    compared: int
    equal: int


class FeedStatus(msgspec.Struct, frozen=True):
    """A feed at one moment. `connections` are open, of `connections_wanted`; `down_since` is the microsecond since
    which one of them is not, and null where all are. `waiting` records lie in queues; `dropped` ones were replaced by newer ones unseen."""

    exchange: str
    url: str
    running: bool
    origins: tuple[str, ...]
    connections: int
    connections_wanted: int
    down_since: int | None
    reconnects: int
    frames: int
    records: int
    unreadable: int
    gaps: int
    healed: int
    errors: int
    last_error: str | None
    requests: int
    used_weight: int
    waiting: int
    dropped: int
    last_received: int | None
    streams: tuple[StreamStatus, ...]
    books: tuple[BookStatus, ...]

    def __repr__(self) -> str:
        all_open = self.connections == self.connections_wanted
        of_wanted = "" if all_open else f" of {self.connections_wanted:,}"
        head = [
            f"{self.exchange}: {self._state} ({', '.join(self.origins) or 'no data yet'})",
            f"  {self.frames:,} frames, {self.records:,} records, {self.unreadable:,} unreadable, "
            f"{self.gaps:,} gaps ({self.healed:,} healed)",
            f"  {self.connections:,}{of_wanted} connections, {self.reconnects:,} reconnects, {self.errors:,} errors"
            + (f"; last: {self.last_error}" if self.last_error else ""),
        ]
        streams = [("symbol", "channel", "records"), *((s.symbol, s.channel, f"{s.records:,}") for s in self.streams)]
        books = [
            ("book", "best bid", "best ask", "spread bps", "verified", "equal"),
            *(
                (
                    book.symbol,
                    _number(book.best_bid),
                    _number(book.best_ask),
                    "-" if book.spread_bps is None else f"{book.spread_bps:.3f}",
                    "yes" if book.verified else "no",
                    f"{book.equal:,} of {book.compared:,}",
                )
                for book in self.books
            ),
        ]
        return "\n".join(head + _columns(streams) + (_columns(books) if self.books else []))

    @property
    def _state(self) -> str:
        if not self.running:
            return "stopped"
        if self.down_since is None:
            return "running"
        return f"reconnecting since {datetime.fromtimestamp(self.down_since / 1_000_000, UTC):%H:%M:%S} UTC"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.12g}"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
