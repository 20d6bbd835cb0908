"""Candles equal the exchange's own, however their trades come in."""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab.market.candles import Candles, period
from marketlab.records import Kline, Record, Side, Trade

MINUTE = 60_000_000
START = 1_723_161_600_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def trade(id: int | str, offset: int, price: float = 100.0, size: float = 1.0, side: Side = "buy") -> Trade:
    return Trade("binance", "BTCUSDT", str(id), START + offset, price, size, side, START + offset + 5, "stream")


def minutes(**options: int) -> Candles:
    return Candles("binance", "BTCUSDT", "1m", MINUTE, **options)


def test_the_klines_of_the_real_trades_to_the_last_digit(records_of: Callable[[str], Iterator[Record]]) -> None:
    candles = minutes()
    trades = [record for record in records_of("btcusdt_20240809") if isinstance(record, Trade)]
    closed = [kline for one in trades for kline in candles.add(one) if kline.closed]
    assert [
        (k.open_time // 1000, k.open, k.high, k.low, k.close, k.volume, k.trade_count, k.close_time) for k in closed
    ] == [
        (1723161660000, 61631.79, 61631.79, 61556.04, 61589.99, 79.69369, 2931, 1723161719999999),
        (1723161720000, 61590.00, 61700.00, 61590.00, 61626.17, 40.44064, 1992, 1723161779999999),
        (1723161780000, 61626.17, 61686.00, 61608.30, 61637.26, 37.08509, 1705, 1723161839999999),
        (1723161840000, 61637.26, 61691.64, 61602.00, 61607.99, 30.31600, 1461, 1723161899999999),
    ]
    current = candles.current()
    assert current is not None
    assert not current.closed
    assert candles.totals(current.open_time).last_trade_id == 3735703162


def test_sums_are_exact_where_floats_are_not() -> None:
    candles = minutes(seen_from=START)
    for id, (price, size, side) in enumerate(((0.1, 0.1, "buy"), (0.2, 0.1, "sell"), (0.3, 0.1, "buy"))):
        candles.add(trade(id, id, price, size, "buy" if side == "buy" else "sell"))
    (kline,) = candles.advance(START + MINUTE)
    assert kline == Kline(
        "binance", "BTCUSDT", "1m", START, START + MINUTE - 1, 0.1, 0.3, 0.1, 0.3, 0.3, 0.06, 3, 0.2, 0.04, True,
        START + 7, "stream",
    )  # fmt: skip
    totals = candles.totals(START)
    assert (totals.volume, totals.quote_volume) == (Decimal("0.3"), Decimal("0.06"))
    assert (totals.taker_buy_volume, totals.taker_buy_quote_volume) == (Decimal("0.2"), Decimal("0.04"))
    assert (totals.first_trade_id, totals.last_trade_id) == (0, 2)


def test_numbers_beyond_eight_places_or_fifteen_digits_stay_exact() -> None:
    candles = minutes()
    candles.add(trade(1, 0, 1e-9, 3.0))
    assert candles.totals(START).quote_volume == Decimal("0.000000003")
    candles.add(trade(2, 1, 12345678901.25, 0.1))
    current = candles.current()
    assert current is not None
    assert candles.totals(START).quote_volume == Decimal("0.000000003") + Decimal("1234567890.125")
    assert current.quote_volume == 1234567890.125000003
    candles.add(trade(3, 2, 2.5, 1e-11))
    assert candles.totals(START).volume == Decimal("3.10000000001")


def test_a_period_whose_beginning_was_not_seen_is_never_closed() -> None:
    candles = minutes()
    candles.add(trade(1, 5))
    (first,) = candles.add(trade(2, MINUTE))
    (second,) = candles.add(trade(3, 2 * MINUTE))
    assert (first.closed, second.closed) == (False, True)
    seen = minutes(seen_from=START)
    seen.add(trade(1, 5))
    assert [kline.closed for kline in seen.add(trade(2, MINUTE))] == [True]


def test_an_empty_minute_repeats_the_close() -> None:
    candles = minutes(seen_from=START)
    candles.add(trade(1, 0, 100.0))
    candles.add(trade(2, 1, 101.0))
    _, empty, also = candles.add(trade(3, 3 * MINUTE, 90.0))
    assert [empty.open_time, also.open_time] == [START + MINUTE, START + 2 * MINUTE]
    for kline in (empty, also):
        assert kline.closed
        assert (kline.open, kline.high, kline.low, kline.close) == (101.0,) * 4
        assert (kline.volume, kline.quote_volume, kline.trade_count, kline.taker_buy_volume) == (0.0, 0.0, 0, 0.0)
    totals = candles.totals(empty.open_time)
    assert (totals.volume, totals.first_trade_id, totals.last_trade_id) == (Decimal(0), -1, -1)
    current = candles.current()
    assert current is not None
    assert (current.open, current.high) == (90.0, 90.0)


def test_time_closes_periods_without_a_trade() -> None:
    candles = minutes(seen_from=START)
    assert candles.advance(START) == []
    assert candles.current() is None
    candles.add(trade(1, 0))
    assert candles.advance(START + MINUTE - 1) == []
    assert [kline.trade_count for kline in candles.advance(START + 2 * MINUTE)] == [1, 0]
    current = candles.current()
    assert current is not None
    assert (current.open_time, current.trade_count, current.closed) == (START + 2 * MINUTE, 0, False)


def test_a_hole_in_the_ids_spoils_the_periods_it_touches() -> None:
    candles = minutes(seen_from=START)
    candles.add(trade(1, 0))
    (spoiled,) = candles.add(trade(3, 3 * MINUTE))
    assert (spoiled.open_time, spoiled.closed) == (START, False)
    (also, whole) = (*candles.add(trade(4, 4 * MINUTE)), *candles.add(trade(5, 5 * MINUTE)))
    assert (also.closed, whole.closed) == (False, True)


def test_an_empty_period_that_a_hole_touches_is_not_told() -> None:
    candles = minutes(seen_from=START)
    candles.add(trade(1, 0))
    candles.advance(START + MINUTE)
    assert candles.add(trade(9, 2 * MINUTE)) == []


def test_doubles_and_late_trades_change_nothing() -> None:
    candles = minutes(seen_from=START)
    candles.add(trade(1, 0))
    candles.add(trade(2, MINUTE))
    before = candles.current()
    assert candles.add(trade(2, MINUTE)) == []
    assert candles.add(trade(1, 0)) == []
    assert candles.late == 0
    assert candles.add(trade(3, MINUTE - 1)) == []
    assert candles.late == 1
    assert candles.current() == before


def test_ids_that_are_no_numbers_are_taken_as_they_come() -> None:
    candles = minutes(seen_from=START)
    candles.add(trade("a7", 0))
    candles.add(trade("a9", 1))
    assert [(kline.trade_count, kline.closed) for kline in candles.advance(START + MINUTE)] == [(2, True)]
    assert candles.totals(START).first_trade_id == -1


def small(offset: int, price: float, volume: float, count: int, *, closed: bool = True) -> Kline:
    open_time = START + offset * MINUTE
    return Kline(
        "binance", "BTCUSDT", "1m", open_time, open_time + MINUTE - 1, price, price + 1, price - 1, price, volume,
        volume * price, count, volume, volume * price, closed, open_time, "stream",
    )  # fmt: skip


def test_smaller_candles_make_larger_ones() -> None:
    candles = Candles("binance", "BTCUSDT", "3m", 3 * MINUTE)
    assert candles.add_kline(small(0, 100.0, 0.0, 0)) == []
    assert candles.add_kline(small(1, 105.0, 0.1, 2)) == []
    assert candles.add_kline(small(1, 105.0, 0.1, 2)) == []
    assert candles.add_kline(small(2, 102.0, 0.2, 3, closed=False)) == []
    assert candles.add_kline(small(2, 102.0, 0.0, 0)) == [
        Kline(
            "binance", "BTCUSDT", "3m", START, START + 3 * MINUTE - 1, 105.0, 106.0, 104.0, 105.0, 0.1, 10.5, 2, 0.1,
            10.5, True, START + 2 * MINUTE, "stream",
        )
    ]  # fmt: skip
    assert candles.current() is None


def test_a_missing_smaller_candle_leaves_the_larger_one_open() -> None:
    candles = Candles("binance", "BTCUSDT", "3m", 3 * MINUTE)
    assert candles.add_kline(small(1, 100.0, 1.0, 1)) == []
    assert [kline.closed for kline in candles.add_kline(small(2, 100.0, 1.0, 1))] == [False]
    candles.add_kline(small(3, 100.0, 1.0, 1))
    (torn,) = candles.add_kline(small(6, 100.0, 1.0, 1))
    assert (torn.open_time, torn.closed, torn.trade_count) == (START + 3 * MINUTE, False, 1)
    candles.add_kline(small(8, 100.0, 1.0, 1))
    candles.add_kline(small(9, 100.0, 1.0, 1))
    candles.add_kline(small(10, 100.0, 1.0, 1))
    assert [kline.closed for kline in candles.add_kline(small(11, 100.0, 1.0, 1))] == [True]


@pytest.mark.parametrize(
    ("interval", "length", "start", "end"),
    [
        ("1s", 1_000_000, "2024-08-09T12:34:56", "2024-08-09T12:34:57"),
        ("5m", 5 * MINUTE, "2024-08-09T12:30:00", "2024-08-09T12:35:00"),
        ("12h", 12 * HOUR, "2024-08-09T12:00:00", "2024-08-10T00:00:00"),
        ("1d", DAY, "2024-08-09T00:00:00", "2024-08-10T00:00:00"),
        ("1w", 7 * DAY, "2024-08-05T00:00:00", "2024-08-12T00:00:00"),
        ("1M", 31 * DAY, "2024-08-01T00:00:00", "2024-09-01T00:00:00"),
    ],
)
def test_where_periods_begin(interval: str, length: int, start: str, end: str) -> None:
    moment, first, last = (
        int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1_000_000
        for text in ("2024-08-09T12:34:56", start, end)
    )
    assert period(interval, length, moment) == (first, last)
    assert period(interval, length, first) == (first, last)
    assert period(interval, length, last)[0] == last


def test_december_is_followed_by_january() -> None:
    december = 1_733_011_200_000_000  # 2024-12-01
    assert period("1M", 31 * DAY, december + 5) == (december, december + 31 * DAY)


steps = st.lists(
    st.tuples(
        st.integers(0, 2 * MINUTE),
        st.integers(1, 99_999_99),
        st.integers(1, 999_99),
        st.sampled_from(("buy", "sell")),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


def _trades(drawn: list[tuple[int, int, int, Side, bool]]) -> list[Trade]:
    time, made = 0, []
    for id, (wait, cents, size, side, _) in enumerate(drawn):
        time += wait
        made.append(trade(id, time, cents / 100, size / 100_000, side))
    return made


@given(steps)
def test_trades_in_any_portions_give_the_same_candles(drawn: list[tuple[int, int, int, Side, bool]]) -> None:
    trades = _trades(drawn)
    whole, parts = minutes(seen_from=START), minutes(seen_from=START)
    at_once = [kline for one in trades for kline in whole.add(one)]
    split: list[Kline] = []
    for one, cut in zip(trades, (step[4] for step in drawn), strict=True):
        if cut:
            split += parts.advance(one.time)
            parts.totals(one.time)
            parts.current()
        split += parts.add(one)
        assert parts.add(one) == []
    assert split == at_once
    assert parts.current() == whole.current()


@given(steps)
def test_candles_equal_plain_sums_of_fractions(drawn: list[tuple[int, int, int, Side, bool]]) -> None:
    trades = _trades(drawn)
    candles = minutes(seen_from=START)
    klines = [kline for one in trades for kline in candles.add(one)]
    klines += candles.advance(trades[-1].time + MINUTE)
    for kline in klines:
        own = [one for one in trades if kline.open_time <= one.time <= kline.close_time]
        assert kline.closed
        assert kline.trade_count == len(own)
        assert kline.volume == float(sum(Fraction(str(one.size)) for one in own))
        assert kline.quote_volume == float(sum(Fraction(str(one.size)) * Fraction(str(one.price)) for one in own))
        if own:
            prices = [one.price for one in own]
            assert (kline.open, kline.high, kline.low, kline.close) == (prices[0], max(prices), min(prices), prices[-1])


@given(steps)
def test_larger_candles_are_the_same_from_trades_and_from_smaller_candles(
    drawn: list[tuple[int, int, int, Side, bool]],
) -> None:
    trades = _trades(drawn)
    end = trades[-1].time + 5 * MINUTE
    small_ones, large = minutes(seen_from=START), Candles("binance", "BTCUSDT", "5m", 5 * MINUTE, seen_from=START)
    by_trades = [kline for one in trades for kline in large.add(one)] + large.advance(end)
    small_klines = [kline for one in trades for kline in small_ones.add(one)] + small_ones.advance(end)
    joined = Candles("binance", "BTCUSDT", "5m", 5 * MINUTE, seen_from=START)
    by_klines = [kline for one in small_klines for kline in joined.add_kline(one)]
    # The first period may begin before the first candle: then only its prices before that are unknown, not its sums.
    assert by_klines == by_trades[: len(by_klines)]
    assert len(by_trades) - len(by_klines) in (0, 1)


def test_a_period_is_whole_as_long_as_all_of_it_was_seen() -> None:
    candles = minutes()
    assert not candles.whole
    candles.add(trade(1, 5))
    assert not candles.whole  # what was before is not known
    candles.add(trade(2, MINUTE))
    assert candles.whole
    candles.add(trade(4, MINUTE + 1))
    assert not candles.whole
    known = minutes(seen_from=START)
    known.add(trade(1, 5))
    assert known.whole
