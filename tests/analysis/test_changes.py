import math
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab import tables
from marketlab.analysis import price_change
from marketlab.errors import UsageError
from marketlab.records import Trade

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
CLOSES = [100.0, 110.0, 99.0, 121.0, 100.0]


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def bars_at(minutes: list[int], closes: list[float], symbol: str = "BTCUSDT") -> pl.DataFrame:
    return pl.DataFrame(
        {"exchange": "binance", "symbol": symbol, "open_time": [at(minute) for minute in minutes], "close": closes},
        schema_overrides={"open_time": tables.TIME},
    )


def by_time(table: pl.DataFrame, column: str) -> list[Any]:
    values = table.sort("symbol", "open_time")[column].to_list()
    return [None if value is None or math.isnan(value) else value for value in values]


def test_each_row_is_compared_with_the_one_a_window_earlier(engine: Any) -> None:
    got = engine.run(price_change, bars_at([0, 1, 2, 3, 4], CLOSES), ["1m", "2m", "5m"])
    assert got.columns[-3:] == ["change_1m", "change_2m", "change_5m"]
    assert by_time(got, "change_1m") == [None, *map(pytest.approx, [10.0, -10.0, 2200 / 99, -2100 / 121])]
    assert by_time(got, "change_2m") == [None, None, *map(pytest.approx, [-1.0, 10.0, 100 / 99])]
    assert by_time(got, "change_5m") == [None] * 5


@pytest.mark.parametrize(
    ("how", "expected"),
    [("percent", [10.0, -10.0]), ("absolute", [10.0, -11.0]), ("log", [math.log(1.1), math.log(0.9)])],
)
def test_change_in_percent_in_price_and_in_logarithms(engine: Any, how: str, expected: list[float]) -> None:
    got = engine.run(price_change, bars_at([0, 1, 2], CLOSES[:3]), "1m", how=how)
    assert by_time(got, "change_1m") == [None, *map(pytest.approx, expected)]


def test_where_bars_are_missing_the_last_one_before_them_counts(engine: Any) -> None:
    got = engine.run(price_change, bars_at([0, 1, 2, 5, 6], CLOSES), ["2m", "4m"], how="absolute")
    assert by_time(got, "change_2m") == [None, None, -1.0, 121.0 - 99.0, 100.0 - 99.0]
    assert by_time(got, "change_4m") == [None, None, None, 121.0 - 110.0, 100.0 - 99.0]


@settings(deadline=None, max_examples=80)
@given(
    st.sets(st.integers(0, 40), max_size=40),
    st.lists(st.sampled_from(["1m", "2m", "3m", "7m", "20m", "90s"]), min_size=1, max_size=3, unique=True),
)
def test_holes_anywhere_give_what_a_search_by_hand_gives(minutes: set[int], windows: list[str]) -> None:
    times = sorted(minutes | {0, 1})
    bars = bars_at(times, [float(minute * minute + 1) for minute in times])
    in_memory = price_change(bars, windows, how="absolute")
    lazy = price_change(bars.lazy(), windows, how="absolute").collect()
    for window in windows:
        length = 1.5 if window == "90s" else float(window[:-1])
        expected: list[float | None] = []
        for time in times:
            known = [minute for minute in times if minute <= time - length]
            expected.append(float(time * time - known[-1] * known[-1]) if known else None)
        assert by_time(in_memory, f"change_{window}") == expected
        assert by_time(lazy, f"change_{window}") == expected


def test_a_window_between_two_bars_takes_the_earlier(engine: Any) -> None:
    got = engine.run(price_change, bars_at([0, 1, 2], CLOSES[:3]), "90s", how="absolute")
    assert by_time(got, "change_90s") == [None, None, -1.0]


@pytest.mark.parametrize("minutes", [[0, 1, 2], [0, 1, 3]])
def test_symbols_never_mix_and_rows_come_in_any_order(engine: Any, minutes: list[int]) -> None:
    both = pl.concat([bars_at(minutes, [1.0, 2.0, 4.0], "AUSDT"), bars_at(minutes, [10.0, 20.0, 30.0], "BUSDT")])
    mixed = both.with_row_index("row").sample(fraction=1.0, shuffle=True, seed=3)
    got = engine.run(price_change, mixed, "1m")
    # Three minutes on, the price a minute before is that of minute 1.
    assert by_time(got, "change_1m") == [None, 100.0, 100.0, None, 100.0, 50.0]
    if engine.ordered:
        assert got["row"].to_list() == mixed["row"].to_list()


def test_intervals_never_mix(engine: Any) -> None:
    minute = bars_at([0, 1, 2], [1.0, 2.0, 4.0]).with_columns(interval=pl.lit("1m"))
    other = bars_at([0, 5, 10], [10.0, 20.0, 30.0]).with_columns(interval=pl.lit("5m"))
    got = engine.run(price_change, pl.concat([minute, other]), "5m", how="absolute")
    assert by_time(got.filter(pl.col("interval") == "5m"), "change_5m") == [None, 10.0, 10.0]
    assert by_time(got.filter(pl.col("interval") == "1m"), "change_5m") == [None, None, None]


def trades_table() -> pl.DataFrame:
    rows = [("9", 0, 100.0), ("10", 0, 101.0), ("8", 0, 99.0), ("11", 30, 105.0), ("12", 60, 202.0), ("13", 60, 203.0)]
    start = 1_723_161_600_000_000
    return tables.to_table(
        "trades",
        [
            Trade("binance", "BTCUSDT", number, start + second * 1_000_000, price, 1.0, "buy", start, "stream")
            for number, second, price in rows
        ],
    )


def test_of_trades_at_one_moment_the_one_with_the_highest_id_counts(engine: Any) -> None:
    got = engine.run(price_change, trades_table(), "1m", how="absolute").sort("price")
    assert got["change_1m"].fill_nan(None).to_list() == [None, None, None, None, 101.0, 102.0]


def test_tickers_and_columns_that_are_named(engine: Any) -> None:
    bars = bars_at([0, 1], [1.0, 2.0])
    ticker = bars.rename({"open_time": "time", "close": "last"})
    assert engine.run(price_change, ticker, "1m").sort("time")["change_1m"][1] == 100.0
    own = bars.rename({"open_time": "when", "close": "middle"})
    assert engine.run(price_change, own, "1m", price="middle", time="when").sort("when")["change_1m"][1] == 100.0


@pytest.mark.parametrize("minutes", [[0, 1, 2], [0, 1, 3]])
def test_a_pandas_index_stays(minutes: list[int]) -> None:
    pytest.importorskip("pyarrow")
    given = bars_at(minutes, [1.0, 2.0, 4.0]).to_pandas()
    given.index = given.index[::-1] * 10
    made = price_change(given, "1m")
    assert made.index.tolist() == [20, 10, 0]
    assert made["change_1m"].tolist()[1:] == [100.0, 100.0]
    assert made["open_time"].dtype == given["open_time"].dtype
    assert list(given.columns) == list(made.columns)[:-1]


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_times_of_any_unit_do(in_memory: Any, unit: Any) -> None:
    bars = bars_at([0, 1, 3], [1.0, 2.0, 4.0]).with_columns(pl.col("open_time").dt.cast_time_unit(unit))
    got = in_memory.run(price_change, bars, "1m")
    assert got["open_time"].dtype == pl.Datetime(unit, "UTC")
    assert got["change_1m"].to_list() == [None, 100.0, 100.0]


@pytest.mark.parametrize("rows", [0, 1])
def test_too_little_history_gives_nulls(engine: Any, rows: int) -> None:
    got = engine.run(price_change, bars_at([0], [1.0]).head(rows))
    assert got.height == rows
    assert by_time(got.cast({"change_24h": pl.Float64}), "change_24h") == [None] * rows
    assert got.columns[-3:] == ["change_1h", "change_24h", "change_7d"]


def test_mistakes_are_named(in_memory: Any) -> None:
    bars = bars_at([0, 60, 120], [1.0, 2.0, 3.0])
    for windows, how, message in [
        ("1M", "percent", "'1M' is not a window"),
        ("1h", "ratio", "'ratio' is not a way to measure change; choose percent, absolute, log"),
        (["1h", "5m"], "percent", "A window is shorter than the time from one bar to the next, which is 1:00:00"),
    ]:
        with pytest.raises(UsageError, match=message):
            in_memory.run(price_change, bars, windows, how=how)
    with pytest.raises(UsageError, match="finds no price: the table has none of close, price, last; name one with"):
        in_memory.run(price_change, bars.drop("close"))
    with pytest.raises(UsageError, match="finds no time: the table has none of open_time, time; name one with time="):
        in_memory.run(price_change, bars.drop("open_time"))
    with pytest.raises(UsageError, match="needs the columns symbol; missing here: symbol"):
        in_memory.run(price_change, bars.drop("symbol"))
    with pytest.raises(UsageError, match="missing here: mid"):
        in_memory.run(price_change, bars, price="mid")
