from datetime import UTC, datetime

import narwhals as nw
import polars as pl
import pytest

from marketlab.analysis import price_change, resample, summary
from marketlab.analysis.engines import enter, in_time_order, keys
from marketlab.errors import Unsupported, UsageError

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)


def moments(symbols: str, minutes: list[int]) -> pl.DataFrame:
    times = [NOON.replace(minute=minute) for minute in minutes]
    return pl.DataFrame({"symbol": list(symbols), "open_time": times})


def sorted_by(symbols: str, minutes: list[int]) -> list[tuple[str, int]]:
    table = nw.from_native(moments(symbols, minutes), eager_only=True)
    made = in_time_order(table, ["symbol"], "open_time").to_native()
    return [(symbol, time.minute) for symbol, time in made.rows()]


def test_rows_in_time_order_stay_as_they_are() -> None:
    assert sorted_by("abab", [0, 0, 1, 1]) == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_blocks_of_symbols_stay_as_they_are() -> None:
    assert sorted_by("aabb", [3, 4, 1, 2]) == [("a", 3), ("a", 4), ("b", 1), ("b", 2)]


def test_a_symbol_that_comes_in_two_blocks_is_sorted() -> None:
    assert sorted_by("aba", [3, 4, 1]) == [("a", 1), ("a", 3), ("b", 4)]


def test_a_block_that_runs_backwards_is_sorted() -> None:
    assert sorted_by("aabb", [4, 3, 5, 6]) == [("a", 3), ("a", 4), ("b", 5), ("b", 6)]


def test_series_are_told_apart_by_what_is_there() -> None:
    table = nw.from_native(moments("a", [0]))
    assert keys(table) == ["symbol"]
    assert keys(table.with_columns(interval=nw.lit("1m"), exchange=nw.lit("x"))) == ["exchange", "symbol", "interval"]


@pytest.mark.parametrize("function", [price_change, summary, lambda bars: resample(bars, "5m")])
def test_what_is_no_table_is_named(function: object) -> None:
    assert callable(function)
    with pytest.raises(UsageError, match="takes a table of polars, pandas or duckdb, not list"):
        function([1, 2])


def test_an_engine_that_nothing_was_proven_on_is_named() -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(Unsupported, match="summary is not proven on pyarrow; give it a table of polars"):
        summary(moments("a", [0]).to_arrow())


def test_missing_columns_and_times_that_are_none_are_named() -> None:
    with pytest.raises(UsageError, match="f needs the columns symbol, open_time, close; missing here: close"):
        enter(moments("a", [0]), "f", ("symbol", "open_time", "close"), ())
    table = moments("a", [0]).with_columns(open_time=pl.lit(1))
    with pytest.raises(UsageError, match="f needs times in the column open_time, which holds Int"):
        enter(table, "f", ("open_time",), ("open_time",))
