"""Puts together what a feed is doing."""

from collections.abc import Mapping, Sequence

from marketlab.exchanges.contract import Subscription
from marketlab.streams.board import Board
from marketlab.streams.book import copy_of
from marketlab.streams.connections import Connections
from marketlab.streams.intake import Intake
from marketlab.streams.rest import Rest
from marketlab.streams.status import BookStatus, FeedStatus

__all__ = ["is_current", "report"]


def is_current(stream: Subscription, board: Board, up_since: Mapping[Subscription, int]) -> bool:
    """Whether a stream's connection is up and the stream has been heard of since it is."""
    up, seen = up_since.get(stream), board.last_seen(stream)
    return up is not None and seen is not None and seen >= up


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
    down = [runner.last_error for runner in connections.runners if runner.down_since is not None]
    past = [runner.last_error for runner in connections.runners]
    errors = [failure, *down, intake.last_error, *past]
    return FeedStatus(
        exchange=exchange,
        url=connections.url,
        running=running,
        origins=tuple(sorted(board.origins)),
        connections=connections.open_count,
        connections_wanted=len(connections.runners),
        down_since=connections.down_since,
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
        books=_books(intake, connections, [stream for stream in streams if stream.channel == "book"]),
    )


def _books(intake: Intake, connections: Connections, streams: Sequence[Subscription]) -> tuple[BookStatus, ...]:
    running = [(stream, intake.market.book(stream.symbol)) for stream in streams]
    counts, up_since = intake.market.counts(), connections.up_since()
    books = [
        copy_of(book, counts[book.symbol], 1, current=is_current(stream, intake.board, up_since))
        for stream, book in running
    ]
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
