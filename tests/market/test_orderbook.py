"""The book against its rules, against real frames, and against a naive book under random updates."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab.market.orderbook import HELD, OrderBook, Outcome
from marketlab.records import BookSnapshot, BookUpdate, Levels


def update(
    first: int, last: int, bids: Levels | None = None, asks: Levels | None = None, previous: int | None = None
) -> BookUpdate:
    return BookUpdate("binance", "BTCUSDT", first, last, previous, last * 10, bids or [], asks or [], last, "stream")


def snapshot(id: int, bids: Levels | None = None, asks: Levels | None = None) -> BookSnapshot:
    return BookSnapshot("binance", "BTCUSDT", id, 0, bids or [], asks or [], 5000, True, id, "rest")


def loaded(id: int = 10, bids: Iterable[float] = (99.0, 98.0), asks: Iterable[float] = (101.0, 102.0)) -> OrderBook:
    book = OrderBook("binance", "BTCUSDT")
    assert book.load(snapshot(id, [(p, 1.0) for p in bids], [(p, 1.0) for p in asks])) is Outcome.APPLIED
    return book


def test_updates_are_held_until_the_snapshot() -> None:
    book = OrderBook("binance", "BTCUSDT")
    for id in (9, 10, 11, 12):
        assert book.apply(update(id, id, [(90.0 + id, 1.0)])) is Outcome.HELD
    assert (book.verified, book.best(), len(book), book.held[0].first_id) == (False, None, 0, 9)
    applied: list[int] = []
    assert book.load(snapshot(10, [(99.0, 2.0)], [(110.0, 1.0)]), lambda u: applied.append(u.last_id)) is (
        Outcome.APPLIED
    )
    assert applied == [11, 12]
    assert (book.verified, book.id, book.time) == (True, 12, 120)
    assert book.top(5) == ([(102.0, 1.0), (101.0, 1.0), (99.0, 2.0)], [(110.0, 1.0)])


def test_held_updates_need_nobody_who_listens() -> None:
    book = OrderBook("binance", "BTCUSDT")
    book.apply(update(11, 11, [(99.0, 1.0)]))
    assert book.load(snapshot(10)) is Outcome.APPLIED
    assert book.best_bid == 99.0


def test_a_snapshot_older_than_the_first_held_update_is_stale() -> None:
    book = OrderBook("binance", "BTCUSDT")
    book.apply(update(12, 14))
    assert book.load(snapshot(10)) is Outcome.STALE
    assert not book.verified
    assert book.load(snapshot(11)) is Outcome.APPLIED
    assert book.id == 14


def test_the_hold_is_bounded_and_then_a_newer_snapshot_is_needed() -> None:
    book = OrderBook("binance", "BTCUSDT")
    for id in range(1, HELD + 3):
        book.apply(update(id, id))
    assert book.load(snapshot(0)) is Outcome.STALE
    assert book.load(snapshot(2)) is Outcome.APPLIED
    assert book.id == HELD + 2


@pytest.mark.parametrize(
    ("first", "last", "previous", "outcome"),
    [
        (11, 12, None, Outcome.APPLIED),
        (8, 11, None, Outcome.APPLIED),
        (5, 10, None, Outcome.IGNORED),
        (5, 9, None, Outcome.IGNORED),
        (12, 13, None, Outcome.HOLE),
        (15, 20, 10, Outcome.APPLIED),
        (8, 12, 7, Outcome.APPLIED),  # the first after a snapshot may overlap it
        (12, 13, 11, Outcome.HOLE),
        (9, 10, 8, Outcome.IGNORED),
        (10, 10, 10, Outcome.APPLIED),  # OKX says "no change" so
    ],
)
def test_the_one_rule_right_after_a_snapshot(first: int, last: int, previous: int | None, outcome: Outcome) -> None:
    assert loaded().apply(update(first, last, previous=previous)) is outcome


@pytest.mark.parametrize(
    ("first", "last", "previous", "outcome"),
    [
        (11, 13, None, Outcome.APPLIED),
        (13, 13, 12, Outcome.APPLIED),
        (11, 13, 10, Outcome.HOLE),
        (14, 15, None, Outcome.HOLE),
        (11, 12, 10, Outcome.IGNORED),
    ],
)
def test_the_one_rule_later_on(first: int, last: int, previous: int | None, outcome: Outcome) -> None:
    book = loaded()
    assert book.apply(update(11, 12)) is Outcome.APPLIED
    assert book.apply(update(first, last, previous=previous)) is outcome


def test_nothing_outlives_a_hole() -> None:
    book = loaded()
    assert book.apply(update(13, 14, [(95.0, 1.0)])) is Outcome.HOLE
    assert (book.verified, book.known, len(book), book.best_bid, book.best_ask) == (False, None, 0, None, None)
    assert book.held[0].first_id == 13
    assert book.load(snapshot(13, [(97.0, 1.0)], [(103.0, 1.0)])) is Outcome.APPLIED
    assert book.top(9) == ([(97.0, 1.0), (95.0, 1.0)], [(103.0, 1.0)])


def test_a_hole_among_held_updates_needs_a_snapshot_from_beyond() -> None:
    book = OrderBook("binance", "BTCUSDT")
    for first in (11, 12, 20, 21):
        book.apply(update(first, first))
    assert book.load(snapshot(10)) is Outcome.HOLE
    assert (book.id, [held.first_id for held in book.held]) == (12, [20, 21])
    assert book.load(snapshot(15)) is Outcome.STALE
    assert book.load(snapshot(19)) is Outcome.APPLIED
    assert book.id == 21


def test_doubles_among_held_updates_are_ignored() -> None:
    book = OrderBook("binance", "BTCUSDT")
    for first in (11, 11, 12, 11, 13):
        book.apply(update(first, first))
    assert book.load(snapshot(10)) is Outcome.APPLIED
    assert book.id == 13


def test_a_held_update_may_follow_by_its_previous_id() -> None:
    book = OrderBook("binance", "BTCUSDT")
    book.apply(update(15, 16, previous=10))
    assert book.load(snapshot(10)) is Outcome.APPLIED
    assert book.id == 16


def test_a_later_snapshot_replaces_the_book_and_an_older_one_does_not() -> None:
    book = loaded(10)
    book.apply(update(11, 20, [(99.5, 1.0)]))
    assert book.load(snapshot(15)) is Outcome.IGNORED
    assert book.best_bid == 99.5
    assert book.load(snapshot(25, [(50.0, 1.0)])) is Outcome.APPLIED
    assert (book.id, book.best_bid, book.best_ask) == (25, 50.0, None)


def test_best_prices_with_their_sizes() -> None:
    book = loaded()
    assert book.best() == (99.0, 1.0, 101.0, 1.0)
    book.apply(update(11, 11, [(99.0, 0.0), (98.0, 3.0)], [(100.5, 2.0), (77.0, 0.0)]))
    assert book.best() == (98.0, 3.0, 100.5, 2.0)
    book.apply(update(12, 12, [(98.0, 0.0)]))
    assert (book.best(), book.best_bid, book.best_ask) == (None, None, 100.5)


def test_levels_by_distance_and_by_fraction() -> None:
    book = loaded(10, (99.0, 98.0, 90.0), (101.0, 102.0, 120.0))
    assert book.within(distance=2.0) == ([(99.0, 1.0), (98.0, 1.0)], [(101.0, 1.0), (102.0, 1.0)])
    assert book.within(fraction=0.01) == ([(99.0, 1.0)], [(101.0, 1.0)])
    assert book.within(distance=1.0, fraction=0.5)[0] == [(99.0, 1.0), (98.0, 1.0), (90.0, 1.0)]
    assert OrderBook("binance", "BTCUSDT").within(distance=1e9) == ([], [])


def test_the_known_price_range() -> None:
    book = loaded(10, (99.0, 98.0), (101.0, 102.0))
    assert book.known == (98.0, 102.0)
    assert [book.knows(price) for price in (97.9, 98.0, 100.0, 102.0, 102.1)] == [False, True, True, True, False]
    book.apply(update(11, 11, [(50.0, 1.0)], [(200.0, 1.0)]))
    assert (book.knows(50.0), book.knows(200.0), book.knows(51.0)) == (True, True, False)
    empty = OrderBook("binance", "BTCUSDT")
    empty.load(snapshot(10))
    assert (empty.verified, empty.known, empty.knows(100.0)) == (True, None, False)
    assert loaded(10, (), (101.0, 102.0)).known == (101.0, 102.0)


def test_a_record_of_the_book() -> None:
    book = loaded()
    book.apply(update(11, 11, [(97.0, 2.0)]))
    assert book.to_snapshot(1, received=7, origin="replay") == BookSnapshot(
        "binance", "BTCUSDT", 11, 110, [(99.0, 1.0)], [(101.0, 1.0)], 1, True, 7, "replay"
    )
    assert len(book) == 5


def test_deep_books_keep_their_order_while_the_price_runs_through_them() -> None:
    bids, asks = [1000.0 - n for n in range(900)], [1001.0 + n for n in range(900)]
    book = loaded(10, bids, asks)
    for id, price in enumerate(bids[:880], 11):
        assert book.best_bid == price
        book.apply(update(id, id, [(price, 0.0)], [(price, 1.0)]))
    assert book.top(1000)[0] == [(price, 1.0) for price in bids[880:]]
    assert book.best_ask == 121.0
    assert len(book.top(5000)[1]) == 1780
    for id, price in enumerate(reversed(bids[:880]), 891):
        book.apply(update(id, id, [(price, 1.0)], [(price, 0.0)]))
        assert book.best_bid == price
    assert book.top(2000) == ([(price, 1.0) for price in bids], [(price, 1.0) for price in asks])
    for id, price in enumerate(asks, 1771):
        assert book.best_ask == price
        book.apply(update(id, id, [], [(price, 0.0)]))
    assert book.best_ask is None


class NaiveBook:
    """What a book is, said as plainly as possible."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}

    def apply(self, bids: Levels, asks: Levels) -> None:
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size in levels:
                side[price] = size
                if not size:
                    del side[price]

    def top(self, n: int) -> tuple[Levels, Levels]:
        return sorted(self.bids.items(), reverse=True)[:n], sorted(self.asks.items())[:n]


levels = st.lists(st.tuples(st.integers(1, 60).map(float), st.sampled_from((0.0, 0.0, 1.0, 2.5))), max_size=12)
changes = st.lists(st.tuples(levels, levels, st.integers(1, 3)), max_size=12)
faults = st.lists(st.sampled_from(("", "", "double", "old", "hole", "split")), min_size=12, max_size=12)


@given(levels, levels, changes, faults, st.integers(0, 12))
def test_random_updates_doubles_splits_and_holes(
    bids: Levels, asks: Levels, drawn: list[tuple[Levels, Levels, int]], faulty: list[str], arrives: int
) -> None:
    naive, book = NaiveBook(), OrderBook("binance", "BTCUSDT")
    naive.apply(bids, asks)
    id, sent = 100, 0
    for (bid_changes, ask_changes, span), fault in zip(drawn, faulty, strict=False):
        if sent == arrives:
            book.load(snapshot(id, *naive.top(9999)))
        sent += 1
        naive.apply(bid_changes, ask_changes)
        whole = update(id + 1, id + span, bid_changes, ask_changes)
        id += span
        if fault == "hole":
            continue
        if fault == "split" and span > 1:
            book.apply(update(id - span + 1, id - 1, bid_changes, []))
            book.apply(update(id, id, [], ask_changes))
        else:
            outcome = book.apply(whole)
            if outcome is Outcome.HOLE:
                assert len(book) == 0
                assert book.load(snapshot(id, *naive.top(9999))) is Outcome.APPLIED
        if fault == "double":
            assert book.apply(whole) is (Outcome.IGNORED if book.verified else Outcome.HELD)
        if fault == "old" and book.verified:
            assert book.apply(update(id - 50, id - 40, [(1.0, 9.0)])) is Outcome.IGNORED
        if book.verified and book.id == id:
            best = naive.top(1)
            assert book.best() == ((*best[0][0], *best[1][0]) if best[0] and best[1] else None)
            assert book.top(5) == naive.top(5)
    if book.load(snapshot(id, *naive.top(9999))) is not Outcome.IGNORED:
        assert book.top(9999) == naive.top(9999)


wide = st.lists(st.tuples(st.integers(1, 3000).map(float), st.sampled_from((0.0, 1.0, 1.0))), max_size=400)


@settings(max_examples=25)
@given(st.lists(wide, min_size=1, max_size=8), st.lists(st.integers(1, 700), min_size=8, max_size=8))
def test_the_window_never_differs_from_the_whole_book(drawn: list[Levels], depths: list[int]) -> None:
    naive, book = NaiveBook(), OrderBook("binance", "BTCUSDT")
    start = [(float(price), 1.0) for price in range(500, 2500, 2)]
    naive.apply(start, start)
    book.load(snapshot(0, start, start))
    for id, (change, depth) in enumerate(zip(drawn, depths, strict=False), 1):
        for part in (change[:200], change[200:]):
            naive.apply(part, part)
        assert book.apply(update(id, id, change, change)) is Outcome.APPLIED
        assert book.top(depth) == naive.top(depth)
    assert book.best() == (*naive.top(1)[0][0], *naive.top(1)[1][0])
