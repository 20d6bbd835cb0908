import math
import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from marketlab.market.candles import period
from marketlab.records import Kline
from marketlab.widgets.kline_bars import HEALED, LEAD, MISSING, PARTIAL, Bars, better

from .klines import MINUTE, START, kline

DAY = 86_400_000_000


def bars(*klines: Kline, size: int = 10) -> Bars:
    made = Bars("1m", MINUTE, size)
    for each in klines:
        made.add(each)
    return made


def minutes(made: Bars) -> list[int]:
    return [(int(row[0]) - START) // MINUTE for row in made.rows()]


def test_closed_beats_open_then_the_higher_trade_count_then_the_first() -> None:
    made = bars()
    assert made.add(kline(0, 1.0, 5, closed=False))
    assert not made.add(kline(0, 2.0, 5, closed=False))
    assert made.add(kline(0, 3.0, 6, closed=False))
    assert made.add(kline(0, 4.0, 2))
    assert not made.add(kline(0, 5.0, 9, closed=False))
    assert made.add(kline(0, 6.0, 3))
    assert [row[4] for row in made.rows()] == [6.0]


def test_the_running_bar_is_whatever_is_newest_unless_the_period_is_closed() -> None:
    made = bars(kline(0, 1.0, 5, closed=False))
    made.put(kline(0, 2.0, 5, closed=False))
    assert made.rows()[0][4] == 2.0
    made.add(kline(0, 3.0, 7))
    made.put(kline(0, 4.0, 9, closed=False))
    assert made.rows()[0][4] == 3.0


def test_the_window_rolls_and_a_period_that_nobody_knows_is_in_it() -> None:
    made = bars(*map(kline, (0, 1, 2, 4)), size=4)
    assert minutes(made) == [1, 2, 3, 4]
    missing = made.rows()[2]
    assert missing[8] == MISSING
    assert all(map(math.isnan, missing[1:8]))
    assert [row[8] for row in made.rows()] == [0, 0, MISSING, 0]
    assert (made.last - START, made.previous - START) == (4 * MINUTE, 3 * MINUTE)
    made.add(kline(5))
    assert minutes(made) == [2, 3, 4, 5]
    made.add(kline(3))
    assert not any(row[8] for row in made.rows())


def test_what_was_over_before_it_was_seen_in_full_and_what_was_healed_is_marked() -> None:
    made = bars(kline(0), kline(1, closed=False), kline(2, closed=False))
    assert [row[8] for row in made.rows()] == [0, PARTIAL, 0]
    made.heal(START + MINUTE - 1, START + MINUTE + 1)
    assert [row[8] for row in made.rows()] == [HEALED, PARTIAL | HEALED, 0]


def test_a_revision_changes_with_what_lies_before_the_last_two_bars_only() -> None:
    made = bars(*map(kline, range(4)))
    before = made.revision
    made.add(kline(4))
    made.put(kline(5, closed=False))
    made.add(kline(4, trades=11))
    assert made.revision == before
    made.add(kline(1, trades=11))
    assert made.revision != before
    assert bars().revision != bars().revision


def test_before_the_window_the_days_bars_are_kept_for_the_average() -> None:
    made = bars(*map(kline, range(20)), size=5)
    anchor = made.anchor()
    assert (anchor.time, anchor.volume, anchor.quote_volume) == (START, 30.0, 3000.0)
    # A hole ends what is known of the day.
    holed = bars(*(kline(minute) for minute in range(20) if minute != 9), size=5)
    assert (holed.anchor().time, holed.anchor().volume) == (START + 10 * MINUTE, 10.0)
    # The day before is no part of it, and no more is kept than has to be.
    late = bars(*map(kline, range(-30, 3)), size=2)
    assert (late.anchor().time, late.anchor().volume) == (START, 2.0)
    assert late.get(START - MINUTE) is None


def test_far_from_midnight_the_average_begins_with_the_window() -> None:
    assert Bars("1s", 1_000_000, 10).lead(START + LEAD * 1_000_000) == START
    assert Bars("1s", 1_000_000, 10).lead(START + (LEAD + 1) * 1_000_000) == START + (LEAD + 1) * 1_000_000
    assert Bars("1d", DAY, 10).lead(START + MINUTE) == START + MINUTE


def test_months_are_as_long_as_they_are() -> None:
    made = Bars("1M", 31 * DAY, 3)
    march = made.period(1_709_500_000_000_000)[0]
    assert made.start(march, 3) == 1_704_067_200_000_000  # 2024-01-01, February between


def test_what_is_missing_is_asked_for_from_the_first_on() -> None:
    made = bars(kline(0), kline(1), kline(2, closed=False), kline(3))
    assert made.missing(START, START + 5 * MINUTE) == START + 2 * MINUTE
    assert made.missing(START + 3 * MINUTE, START + 4 * MINUTE) == START + 4 * MINUTE
    assert made.missing(START - 7, START + MINUTE) == START - MINUTE


states = st.tuples(st.integers(0, 12), st.integers(1, 4), st.booleans())


@given(st.lists(states, max_size=60), st.randoms(use_true_random=False), st.integers(2, 8))
def test_in_whatever_order_klines_come_the_same_is_shown(
    told: list[tuple[int, int, bool]], chance: random.Random, size: int
) -> None:
    # What the exchange says of a period follows from how much of it is over.
    klines = [kline(minute, 100 + count + 10 * closed, count, closed=closed) for minute, count, closed in told]
    shuffled = list(klines)
    chance.shuffle(shuffled)
    one, other = bars(*klines, size=size), bars(*shuffled, size=size)
    assert repr(one.rows()) == repr(other.rows())
    if not klines:
        assert one.rows() == []
        return
    last = max(minute for minute, _, _ in told)
    assert minutes(one) == sorted(set(minutes(one)))
    assert minutes(one)[-1] == last
    assert len(one.rows()) <= size
    for row in one.rows():
        of_it = [each for each in klines if each.open_time == row[0]]
        best = max(of_it, key=lambda each: (each.closed, each.trade_count), default=None)
        assert bool(int(row[8]) & MISSING) == (best is None)
        if best is not None:
            assert row[1:8] == msgspec.structs.astuple(best)[5:12]
            assert not any(better(each, best) for each in of_it)


@given(st.integers(0, 2**50), st.integers(1, 400), st.sampled_from(["1s", "1m", "1h", "1d", "1w", "1M"]))
def test_a_window_begins_so_many_periods_before_its_last(time: int, count: int, interval: str) -> None:
    lengths = {"1s": 1, "1m": 60, "1h": 3600, "1d": 86400, "1w": 7 * 86400, "1M": 31 * 86400}
    made = Bars(interval, lengths[interval] * 1_000_000, count)
    last = made.period(time)[0]
    opened = made.start(last, count)
    for _ in range(count - 1):
        opened = period(interval, made.interval_us, opened)[1]
    assert opened == last
