from collections import defaultdict
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from math import fsum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketlab.market.orderbook import OrderBook
from marketlab.records import BookSnapshot, BookUpdate, Levels
from marketlab.widgets.book_groups import Groups

# Prices as an exchange writes them: whole ticks as decimal text.
TICKS = st.sampled_from(["0.01", "0.1", "0.5", "0.00001", "1"])
MULTIPLES = st.sampled_from([1, 2, 5, 10, 25, 100, 1000])
SIZES = st.integers(1, 10**9).map(lambda steps: float(Decimal(steps) * Decimal("0.00001")))


def levels(tick: str, whole: dict[int, float]) -> Levels:
    return [(float(Decimal(ticks) * Decimal(tick)), size) for ticks, size in whole.items()]


def snapshot(bids: Levels, asks: Levels, id: int = 10) -> BookSnapshot:
    return BookSnapshot("x", "AB", id, id, bids, asks, max(len(bids), len(asks)), True, id, "rest")


def update(bids: Levels, asks: Levels, id: int) -> BookUpdate:
    return BookUpdate("x", "AB", id, id, None, id, bids, asks, id, "stream")


def loaded(bids: Levels, asks: Levels) -> OrderBook:
    book = OrderBook("x", "AB")
    book.load(snapshot(bids, asks))
    return book


def by_hand(side: Levels, step: str, *, up: bool) -> list[tuple[float, float, float]]:
    """In decimals, without any doubt."""
    groups: dict[Decimal, Levels] = defaultdict(list)
    for price, size in side:
        steps = Decimal(repr(price)) / Decimal(step)
        rounded = steps.to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * Decimal(step)
        groups[rounded].append((price, size))
    return [
        (float(price), fsum(size for _, size in found), fsum(at * size for at, size in found))
        for price, found in sorted(groups.items(), reverse=not up)
    ]


PATIENT = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
WHOLE = st.dictionaries(st.integers(1, 100_000), SIZES, max_size=60)


@PATIENT
@given(TICKS, MULTIPLES, WHOLE, WHOLE)
def test_levels_are_joined_as_in_decimals(
    tick: str, multiple: int, bids: dict[int, float], asks: dict[int, float]
) -> None:
    step = str(Decimal(tick) * multiple)
    low, high = levels(tick, bids), levels(tick, {ticks + 100_000: size for ticks, size in asks.items()})
    got = Groups(float(step)).top(loaded(low, high), 1000)
    for found, side, up in zip(got, (low, high), (False, True), strict=True):
        assert list(found) == by_hand(side, step, up=up)
        prices = [price for price, *_ in found]
        assert prices == sorted(prices, reverse=not up)
        assert fsum(size for _, size, _ in found) == pytest.approx(fsum(size for _, size in side))
        for price, size, value in found:  # no group looks better than what is in it
            average = value / size
            assert price >= average * (1 - 1e-12) if up else price <= average * (1 + 1e-12)


CHANGES = st.lists(
    st.tuples(st.dictionaries(st.integers(1, 300), st.one_of(st.just(0.0), SIZES), max_size=8), st.booleans()),
    max_size=30,
)


@PATIENT
@given(WHOLE, CHANGES, st.sampled_from(["0.02", "0.1", "1"]))
def test_groups_that_follow_are_those_of_the_whole_book(
    bids: dict[int, float], changes: list[tuple[dict[int, float], bool]], step: str
) -> None:
    book = loaded(levels("0.01", bids), [])
    groups = Groups(float(step))
    groups.top(book, 5)
    for id, (whole, missed) in enumerate(changes, 11):
        change = update(
            levels("0.01", whole), levels("0.01", {ticks + 100_000: size for ticks, size in whole.items()}), id
        )
        book.apply(change)
        if not missed:
            groups.follow(change)
        below, above = book.top(10_000)
        assert [*map(list, groups.top(book, 1000))] == [by_hand(below, step, up=False), by_hand(above, step, up=True)]


def test_an_update_may_come_before_or_after_a_look() -> None:
    book = loaded([(9.5, 1.0)], [(10.5, 1.0)])
    groups = Groups(1.0)
    first, second = update([(9.6, 2.0)], [], 11), update([(9.7, 4.0)], [], 12)
    book.apply(first)
    book.apply(second)
    assert groups.top(book, 5)[0] == [(9.0, 7.0, fsum((9.5, 19.2, 38.8)))]
    groups.follow(first)  # the book had it already
    groups.follow(second)
    assert groups.top(book, 5)[0] == [(9.0, 7.0, fsum((9.5, 19.2, 38.8)))]


def test_a_new_snapshot_with_the_same_id_is_another_book() -> None:
    book = loaded([(9.5, 1.0)], [(10.5, 1.0)])
    groups = Groups(1.0)
    assert groups.top(book, 5)[1] == [(11.0, 1.0, 10.5)]
    book.load(snapshot([(9.5, 1.0)], [(10.5, 1.0), (10.75, 2.0)]))
    assert groups.top(book, 5)[1] == [(11.0, 3.0, 32.0)]


def test_only_as_many_as_are_asked_for() -> None:
    book = loaded([(float(price), 1.0) for price in range(1, 50)], [])
    assert [price for price, *_ in Groups(10.0).top(book, 2)[0]] == [40.0, 30.0]
    assert [price for price, *_ in Groups(10.0).top(book, 20)[0]] == [40.0, 30.0, 20.0, 10.0, 0.0]
