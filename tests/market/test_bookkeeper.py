"""Books compared with the exchange's own quotes, on real frames and case by case."""

from collections.abc import Callable, Iterator

import pytest

from marketlab.market.bookkeeper import QUOTES, BookKeeper
from marketlab.market.orderbook import Outcome
from marketlab.records import BookSnapshot, BookUpdate, Levels, Quote, Record


def quote(id: int, bid: float = 99.0, ask: float = 101.0, size: float = 1.0) -> Quote:
    return Quote("binance", "BTCUSDT", id, id, bid, size, ask, size, id, "stream")


def update(id: int, bids: Levels | None = None, asks: Levels | None = None) -> BookUpdate:
    return BookUpdate("binance", "BTCUSDT", id, id, None, id, bids or [], asks or [], id, "stream")


def snapshot(id: int) -> BookSnapshot:
    return BookSnapshot("binance", "BTCUSDT", id, 0, [(99.0, 1.0)], [(101.0, 1.0)], 5000, True, 0, "rest")


def keeper(id: int = 10) -> BookKeeper:
    made = BookKeeper("binance", "BTCUSDT")
    assert made.load(snapshot(id), lambda update: None) is Outcome.APPLIED
    return made


def counts(keeper: BookKeeper) -> tuple[int, int]:
    return keeper.compared, keeper.equal


def test_compared_with_the_newest_quote_that_the_update_holds() -> None:
    books = keeper()
    for id, bid in ((9, 99.0), (11, 98.5), (12, 98.0), (13, 97.0)):
        books.quote(quote(id, bid))
    books.apply(update(11, [(99.0, 0.0), (98.5, 1.0)]))
    books.apply(update(12, [(98.5, 0.0), (98.0, 1.0)]))
    assert counts(books) == (2, 2)
    books.apply(update(13, [(98.0, 0.0), (96.0, 1.0)]))
    books.quote(quote(14))
    assert counts(books) == (3, 2)


def test_nothing_to_compare_without_a_quote_or_a_best_price() -> None:
    books = keeper()
    books.apply(update(11))
    books.quote(quote(15))
    books.apply(update(12))
    assert counts(books) == (0, 0)
    books.apply(BookUpdate("binance", "BTCUSDT", 13, 16, None, 16, [(99.0, 0.0)], [], 16, "stream"))
    assert counts(books) == (0, 0)


def test_what_is_not_applied_is_not_compared() -> None:
    books = keeper()
    books.quote(quote(9))
    assert books.apply(update(10)) is Outcome.IGNORED
    assert books.apply(update(12)) is Outcome.HOLE
    assert counts(books) == (0, 0)


def test_held_updates_are_compared_when_the_snapshot_comes() -> None:
    books = BookKeeper("binance", "BTCUSDT")
    for id in (11, 12, 13):
        books.quote(quote(id, 90.0 + id))
        assert books.apply(update(id, [(90.0 + id, 1.0)], [(101.0, 1.0)])) is Outcome.HELD
    seen: list[int] = []
    books.load(snapshot(11), lambda update: seen.append(update.last_id))
    assert seen == [12, 13]
    assert counts(books) == (2, 2)


def test_a_quote_may_come_after_the_update_that_holds_it() -> None:
    books = keeper()
    books.quote(quote(9))
    books.apply(update(11, [(99.5, 1.0)]))
    assert counts(books) == (1, 0)
    books.quote(quote(10, 99.2))
    books.quote(quote(11, 99.5))
    assert counts(books) == (1, 1)
    books.apply(update(12, [(99.7, 1.0)]))
    books.quote(quote(13, 99.7))
    assert counts(books) == (2, 1)


def test_a_difference_counts_at_once_when_later_quotes_are_known() -> None:
    books = keeper()
    books.quote(quote(9))
    books.quote(quote(12, 99.5))
    books.apply(update(11, [(99.5, 1.0)]))
    books.quote(quote(13, 99.5))
    assert counts(books) == (1, 0)


@pytest.mark.parametrize("with_updates", [False, True])
def test_the_quote_history_is_bounded(with_updates: bool) -> None:
    books = BookKeeper("binance", "BTCUSDT")
    if with_updates:
        books.apply(update(1))
    extra = 5
    for id in range(1, QUOTES + extra + 1):
        books.quote(quote(id))
    books.load(snapshot(0), lambda update: None)
    # Of what has been let go only the newest is known, so an update from before it cannot be judged.
    kept_from = extra if with_updates else QUOTES + extra - 100
    books.apply(BookUpdate("binance", "BTCUSDT", 1, kept_from - 1, None, 0, [], [], 0, "stream"))
    assert counts(books) == (0, 0)
    books.apply(update(kept_from))
    assert counts(books) == (1, 1)


@pytest.mark.parametrize(
    ("names", "compared", "equal"),
    [
        (["btcusdt_20240809"], 3043, 3041),
        (["ethusdt_20240809"], 3034, 3034),
        (["ethusdt_20240808"], 3432, 3432),
        (["ethusdt_20240808", "ethusdt_20240809"], 6468, 6468),
    ],
)
def test_the_book_proves_itself_on_real_frames(
    records_of: Callable[[str], Iterator[Record]], names: list[str], compared: int, equal: int
) -> None:
    books = BookKeeper("binance", "")
    outcomes = set()
    for name in names:
        for record in records_of(name):
            if isinstance(record, Quote):
                books.quote(record)
            elif isinstance(record, BookSnapshot):
                outcomes.add(books.load(record, lambda update: None))
            elif isinstance(record, BookUpdate):
                if not books.book.held and not books.book.verified and names[0] != "ethusdt_20240808":
                    books.load(BookSnapshot("", "", record.first_id - 1, 0, [], [], 0, True, 0, "rest"), lambda u: None)
                outcomes.add(books.apply(record))
    assert counts(books) == (compared, equal)
    assert outcomes <= {Outcome.APPLIED, Outcome.HELD}
