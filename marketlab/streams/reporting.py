"""Puts together what a feed is doing."""

from collections.abc import Sequence

from marketlab.exchanges.contract import Subscription
from marketlab.market.market import Market
from marketlab.streams.book import copy_of
from marketlab.streams.connections import Connections
from marketlab.streams.intake import Intake
from marketlab.streams.rest import Rest
from marketlab.streams.status import BookStatus, FeedStatus

__all__ = ["report"]


def report(
    exchange: str,
    intake: Intake,
    connections: Connections,
    rest: Rest,
    *,
    streams: Sequence[Subscription],
    running: bool,
    failure: BaseException | None,
) -> FeedStatus:
    """The status of a feed that has these streams."""
    board = intake.board
    errors = [failure, intake.last_error, *(runner.last_error for runner in connections.runners)]
    return FeedStatus(
        exchange=exchange,
        url=connections.url,
        running=running,
        origins=tuple(sorted(board.origins)),
        connections=len(connections.runners),
        reconnects=connections.reconnects,
        frames=intake.frames,
        records=board.records,
        unreadable=intake.unreadable_count,
        gaps=board.gaps,
        healed=board.healed,
        errors=intake.mishaps + rest.failures + connections.failures,
        last_error=next((str(error) or type(error).__name__ for error in errors if error is not None), None),
        requests=rest.requests,
        used_weight=rest.budget.used,
        waiting=intake.hub.waiting,
        dropped=intake.hub.dropped,
        last_received=board.last_received,
        streams=tuple(map(board.status, streams)),
        books=_books(intake.market, [stream.symbol for stream in streams if stream.channel == "book"]),
    )


def _books(market: Market, symbols: Sequence[str]) -> tuple[BookStatus, ...]:
    running = [market.book(symbol) for symbol in symbols]
    counts = market.counts()
    books = [copy_of(book, counts[book.symbol], 1) for book in running]
    return tuple(
        BookStatus(
            book.symbol,
            book.id,
            book.verified,
            book.best_bid,
            book.best_ask,
            book.spread_bps,
            book.compared,
            book.equal,
        )
        for book in books
    )
