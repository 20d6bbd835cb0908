"""The behaviour that every store promises, run for every store that exists."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import StoreUnavailable, UnknownExchange, UnknownSymbol, Unsupported, UsageError, WriteRejected
from marketlab.records import Ticker
from marketlab.stores.contract import Commit, Coverage, Store
from marketlab.stores.open import schemes
from marketlab.stores.selection import instant

from .places import PLACES

Row = Any


def put(store: Store, *records: Row, commit: Commit | None = None) -> int:
    found = tables.to_tables(records)
    return sum(store.write(name, table, commit) for name, table in found.items())


def ids(table: pl.DataFrame, column: str = "trade_id") -> list[str]:
    return table.get_column(column).to_list()


def test_nothing_stored_is_an_empty_table_with_the_schema(store: Store) -> None:
    for name in tables.TABLES:
        found = store.read(name, symbol="BTCUSDT")
        assert found.is_empty()
        assert dict(found.schema) == dict(tables.spec(name).schema)
    assert store.read("trades", columns=["price"]).columns == ["price"]
    assert list(store.batches("trades")) == []
    assert store.coverage("trades") == []
    assert store.scan("trades").collect().is_empty()
    assert store.delete("trades") == 0


def test_every_table_comes_back_as_it_was(store: Store, rows: Any) -> None:
    records = [rows.trade(1), rows.quote(1), rows.kline(1), rows.snapshot(1), rows.gap(1)]
    assert put(store, *records) == 5
    for name, table in tables.to_tables(records).items():
        assert store.read(name).equals(table)
        assert dict(store.read(name).schema) == dict(tables.spec(name).schema)


def test_rows_come_in_the_order_of_time_then_id_as_a_number(store: Store, rows: Any) -> None:
    at = rows.midnight
    put(store, rows.trade(10, at=at), rows.trade(9, at=at), rows.trade(100, at=at))
    put(store, rows.trade(200, at=at - 1), rows.trade(99, at=at))
    assert ids(store.read("trades")) == ["200", "9", "10", "99", "100"]


def test_the_same_again_changes_nothing(store: Store, rows: Any) -> None:
    records = [*rows.trades(range(50)), rows.quote(1), rows.kline(1), rows.snapshot(1), rows.gap(1)]
    put(store, *records)
    before = {name: store.read(name) for name in tables.TABLES}
    # One that overwrites counts what it writes: all but the kline and the gap, which it looks up.
    assert put(store, *records) == (52 if store.overwrites else 0)
    assert all(store.read(name).equals(table) for name, table in before.items())


def test_a_key_twice_in_one_batch_is_one_row(store: Store, rows: Any) -> None:
    assert put(store, rows.trade(1, price=1.0), rows.trade(1, price=2.0)) == 1
    assert store.read("trades").get_column("price").to_list() == [1.0]


def test_the_first_row_of_a_key_stays(store: Store, rows: Any) -> None:
    put(store, rows.trade(1, price=1.0))
    assert put(store, rows.trade(1, price=2.0), rows.trade(2, price=3.0)) == (2 if store.overwrites else 1)
    assert store.read("trades").get_column("price").to_list() == [2.0 if store.overwrites else 1.0, 3.0]


def test_a_quote_that_came_again_at_another_time_is_found(store: Store, rows: Any) -> None:
    put(store, *(rows.quote(number) for number in range(20)))
    later = rows.midnight + 86_400_000_000
    again = 20 if store.overwrites else 0
    assert put(store, *(rows.quote(number, received=later + number) for number in range(20))) == again
    assert store.read("quotes").height == 20
    assert store.read("quotes").get_column("time").dt.date().unique().len() == 1
    assert [found.rows for found in store.coverage("quotes")] == [20]
    assert [part.height for part in store.batches("quotes", rows=8)] == [8, 8, 4]
    assert store.scan("quotes").collect().height == 20


def test_a_trade_told_in_milliseconds_is_the_one_told_in_microseconds(store: Store, rows: Any) -> None:
    at = rows.midnight
    put(store, rows.trade(1, at=at + 123_456))
    assert put(store, rows.trade(1, at=at + 123_000)) == (1 if store.overwrites else 0)
    assert store.read("trades").height == 1


def test_a_closed_kline_beats_an_open_one_and_more_trades_beat_fewer(store: Store, rows: Any) -> None:
    put(store, rows.kline(1, closed=False, count=5, close=1.0), rows.kline(2, closed=False))
    assert store.read("klines").is_empty()
    assert store.read("klines", include_open=True).height == 2
    assert put(store, rows.kline(1, closed=False, count=4, close=9.0)) == 0
    assert put(store, rows.kline(1, closed=False, count=6, close=2.0)) == 1
    assert put(store, rows.kline(1, closed=True, count=3, close=3.0)) == 1
    assert put(store, rows.kline(1, closed=False, count=99, close=9.0)) == 0
    assert put(store, rows.kline(1, closed=True, count=3, close=9.0), rows.kline(3)) == 1
    assert store.read("klines").get_column("close").to_list() == [3.0, 4.0]


def test_a_healed_gap_beats_an_open_one(store: Store, rows: Any) -> None:
    put(store, rows.gap(1), rows.gap(2))
    assert put(store, rows.gap(1, healed=True)) == 1
    assert put(store, rows.gap(1)) == 0
    assert put(store, rows.gap(1, healed=True)) == 0
    assert store.read("gaps").get_column("healed_from").to_list() == ["rest", None]


def test_a_full_ticker_beats_a_mini_one_of_the_same_moment(store: Store, rows: Any) -> None:
    prices = (101.0, 100.0, 102.0, 99.0, 5.0, 505.0)
    mini = Ticker("binance", "BTCUSDT", rows.midnight, *prices, None, None, None, None, rows.midnight, "stream")
    full = Ticker("binance", "BTCUSDT", rows.midnight, *prices, 7, 101.0, 1.0, 1.0, rows.midnight, "stream")
    put(store, mini)
    assert put(store, full) == 1
    assert put(store, mini) == 0
    assert store.read("tickers").get_column("trade_count").to_list() == [7]
    assert store.read("tickers", columns=["last"]).height == 1


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2024-08-09T00:00:00.010", "2024-08-09T00:00:00.020"),
        ("2024-08-09 00:00:00.010Z", "2024-08-09T02:00:00.020+02:00"),
        (1_723_161_600_010_000, 1_723_161_600_020_000),
        (datetime(2024, 8, 9, 0, 0, 0, 10_000, UTC), datetime(2024, 8, 9, 0, 0, 0, 20_000, UTC).replace(tzinfo=None)),
    ],
)
def test_start_is_inclusive_and_end_exclusive_in_any_spelling(store: Store, rows: Any, start: Any, end: Any) -> None:
    put(store, *rows.trades(range(50)))
    found = store.read("trades", symbol="BTCUSDT", start=start, end=end)
    assert ids(found) == [str(number) for number in range(10, 20)]


def test_the_last_microsecond_of_a_batch_is_found(store: Store, rows: Any) -> None:
    at = rows.midnight + 123_456
    put(store, rows.trade(1, at=at - 5_000), rows.trade(2, at=at))
    assert ids(store.read("trades", start=at)) == ["2"]
    assert ids(store.read("trades", start=at - 56, end=at + 1)) == ["2"]
    assert ids(store.read("trades", end=at)) == ["1"]


def test_symbols_in_any_spelling_and_by_exchange(store: Store, rows: Any) -> None:
    put(store, *rows.trades(range(3)), *rows.trades(range(5), "ETHUSDT"))
    assert store.read("trades", symbol="btc/usdt").height == 3
    assert store.read("trades", symbol="ETH-USDT", exchange="binance").height == 5
    assert store.read("trades").height == 8
    assert store.read("quotes", symbol="ETHUSDT").is_empty()


def test_a_symbol_beyond_ascii(store: Store, rows: Any) -> None:
    put(store, rows.trade(1, "币安人生USDT"), rows.trade(1))
    put(store, rows.trade(1, "币安人生USDT"), rows.trade(2, "币安人生USDT"))
    assert ids(store.read("trades", symbol="币安人生usdt")) == ["1", "2"]


def test_an_unknown_symbol_or_exchange_names_the_nearest(store: Store, rows: Any) -> None:
    put(store, rows.trade(1))
    with pytest.raises(UnknownSymbol, match="BTCUSDT"):
        store.read("trades", symbol="BTCUSD")
    with pytest.raises(UnknownSymbol, match="BTCUSDT"):
        list(store.batches("klines", symbol="BTCUSD"))
    with pytest.raises(UnknownExchange, match="binance"):
        store.read("trades", exchange="binanse")


def test_a_wrong_question_is_a_usage_error(store: Store) -> None:
    with pytest.raises(UsageError, match="trades"):
        store.read("trade")
    with pytest.raises(UsageError, match="trade_id"):
        store.read("trades", columns=["id"])
    with pytest.raises(UsageError, match="interval"):
        store.read("trades", interval="1m")
    with pytest.raises(UsageError, match="yesterday"):
        store.read("trades", start="yesterday")
    with pytest.raises(UsageError, match="symbol"):
        store.read("trades", symbol="!")


@pytest.mark.parametrize("interval", ["7q", "1minute", "1 m", "m", "0m", "1H", "", 1, ["1m", "5m"]])
def test_what_is_no_interval_is_told_the_form_and_not_no_rows(store: Store, rows: Any, interval: Any) -> None:
    put(store, rows.kline(1))
    with pytest.raises(UsageError, match="interval") as caught:
        store.read("klines", interval=interval)
    assert not isinstance(interval, str) or "1m" in str(caught.value)


@pytest.mark.parametrize("interval", ["1s", "1m", "15m", "12h", "3d", "1w", "1M", "7m"])
def test_any_interval_may_be_asked_for(store: Store, rows: Any, interval: str) -> None:
    put(store, rows.kline(1))
    assert store.read("klines", interval=interval).height == (interval == "1m")


@pytest.mark.parametrize(
    "moment", [1_723_161_600.0, 1_723_161_600, 1_723_161_600_000, 1_723_161_600_000_000_000, -5, True, [1], b"2024"]
)
def test_a_number_that_is_not_of_microseconds_is_refused(store: Store, rows: Any, moment: Any) -> None:
    put(store, rows.trade(1))
    for question in ({"start": moment}, {"end": moment}):
        with pytest.raises(UsageError, match="microseconds"):
            store.read("trades", **question)
        with pytest.raises(UsageError, match="microseconds"):
            store.delete("trades", **question)
    assert store.read("trades", start=0).height == 1


def test_a_start_after_the_end_is_refused(store: Store, rows: Any) -> None:
    put(store, rows.trade(1))
    for ask in (store.read, store.batches, store.delete):
        with pytest.raises(UsageError, match="after"):
            ask("trades", start="2024-08-10", end="2024-08-09")
    assert store.read("trades", start="2024-08-09", end="2024-08-09").is_empty()


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"columns": "price"}, "list of names"),
        ({"columns": {"price"}}, "list of names"),
        ({"columns": []}, "no column"),
        ({"columns": [1]}, "no column 1"),
        ({"columns": [["price"]]}, "no column"),
        ({"symbol": ["BTCUSDT", "ETHUSDT"]}, "symbol is one name"),
        ({"exchange": ["binance"]}, "exchange is one name"),
    ],
)
def test_a_list_for_a_name_and_a_name_for_a_list_are_refused(
    store: Store, rows: Any, question: dict[str, Any], words: str
) -> None:
    put(store, rows.trade(1))
    with pytest.raises(UsageError, match=words):
        store.read("trades", **question)
    wrong: Any = ["trades"]
    with pytest.raises(UsageError, match="table is one name"):
        store.read(wrong)


def test_pieces_have_a_row_at_least(store: Store) -> None:
    with pytest.raises(UsageError, match="rows"):
        store.batches("trades", rows=0)


def test_columns_come_as_asked(store: Store, rows: Any) -> None:
    put(store, *rows.trades(range(3)), rows.kline(1), rows.gap(1, healed=True))
    found = store.read("trades", columns=["price", "time"])
    assert found.columns == ["price", "time"]
    assert found.height == 3
    assert store.read("klines", columns=["close", "close"]).to_dicts() == [{"close": 4.0}]
    assert store.read("gaps", columns=["reason"]).to_dicts() == [{"reason": "hole"}]


def test_batches_are_the_read_in_pieces(store: Store, rows: Any) -> None:
    for start in (400, 0, 200):
        put(store, *rows.trades(range(start, start + 200)), *rows.trades(range(start, start + 50), "ETHUSDT"))
    for question in ({}, {"symbol": "BTCUSDT"}, {"start": rows.midnight + 100_000, "end": rows.midnight + 450_000}):
        parts = list(store.batches("trades", rows=64, **question))
        assert all(part.height == 64 for part in parts[:-1])
        assert pl.concat(parts).equals(store.read("trades", **question))
    one = list(store.batches("trades", columns=["price"]))
    assert [part.columns for part in one] == [["price"]]


def test_scan_is_the_whole_table_lazily(store: Store, rows: Any) -> None:
    put(store, rows.kline(1), rows.kline(2, closed=False))
    found = store.scan("klines").filter(pl.col("symbol") == "BTCUSDT").collect()
    assert tables.in_order("klines", found).equals(store.read("klines", include_open=True))


def test_a_filter_of_a_scan_may_speak_of_columns_that_are_not_shown(store: Store, rows: Any) -> None:
    put(store, *rows.trades(range(50)), *rows.trades(range(30), "ETHUSDT"))
    time, lowest, highest = pl.col("time"), *(instant(rows.midnight + at) for at in (10_000, 20_000))
    mine = store.scan("trades").filter(pl.col("exchange") == "binance", pl.col("symbol") == "BTCUSDT")
    found = (
        mine.filter(time >= lowest, time < highest, pl.col("trade_id") != "15").select("price", "trade_id").collect()
    )
    assert sorted(ids(found)) == ["10", "11", "12", "13", "14", "16", "17", "18", "19"]
    assert mine.filter(time >= highest, time < lowest).collect().is_empty()
    assert store.scan("trades").filter(pl.col("symbol") == "NOSUCH").collect().is_empty()
    assert mine.head(7).collect().height == 7


def test_coverage_says_what_is_there(store: Store, rows: Any) -> None:
    put(store, *rows.trades(range(10)), rows.trade(5, "ETHUSDT"), rows.kline(1), rows.kline(2, closed=False))
    first, last = rows.midnight, rows.midnight + 9_000
    assert store.coverage("trades")[0] == Coverage("binance", "BTCUSDT", None, 10, first, last)
    assert [found.symbol for found in store.coverage("trades")] == ["BTCUSDT", "ETHUSDT"]
    assert [found.rows for found in store.coverage("trades", symbol="eth/usdt")] == [1]
    assert [(found.interval, found.rows) for found in store.coverage("klines")] == [("1m", 1)]


def deleted(store: Store, part: dict[str, Any]) -> int | str:
    try:
        return store.delete("trades", **part)
    except Unsupported as error:
        return str(error)


def test_delete_removes_a_part(store: Store, rows: Any) -> None:
    put(store, *rows.trades(range(10)), *rows.trades(range(10), "ETHUSDT"))
    part: dict[str, Any] = {"symbol": "BTCUSDT", "start": rows.midnight + 2_000, "end": rows.midnight + 5_000}
    removed = deleted(store, part)
    if isinstance(removed, str):
        # One that cannot takes nothing, says so, and can forget a whole table.
        assert "whole table" in removed
        assert store.read("trades").height == store.delete("trades") == 20
        assert store.read("trades").is_empty()
        assert put(store, *rows.trades(range(10))) == 10
        return
    assert removed == 3
    assert ids(store.read("trades", symbol="BTCUSDT")) == ["0", "1", "5", "6", "7", "8", "9"]
    assert store.read("trades", symbol="ETHUSDT").height == 10
    assert store.delete("trades", symbol="ETHUSDT", exchange="binance") == 10
    assert store.delete("trades") == 7
    assert put(store, *rows.trades(range(10))) == 10


def test_rows_without_a_needed_value_are_refused_by_position(store: Store, rows: Any) -> None:
    table = tables.to_table("trades", rows.trades(range(3)))
    holes = table.with_columns(pl.when(pl.col("trade_id") == "1").then(None).otherwise(pl.col("price")).alias("price"))
    with pytest.raises(WriteRejected, match="lack a value") as caught:
        store.write("trades", holes)
    assert caught.value.rows == (1,)
    nameless = table.with_columns(
        pl.when(pl.col("trade_id") == "2").then(pl.lit("")).otherwise("symbol").alias("symbol")
    )
    with pytest.raises(WriteRejected) as caught:
        store.write("trades", nameless)
    assert caught.value.rows == (2,)
    assert store.read("trades").is_empty()


def second(column: str, value: pl.Expr) -> pl.Expr:
    return pl.when(pl.int_range(pl.len()) == 1).then(value).otherwise(pl.col(column)).alias(column)


@pytest.mark.parametrize(
    ("name", "column", "value", "words"),
    [
        ("trades", "price", pl.lit(float("nan")), "NaN"),
        ("trades", "size", pl.lit(float("-inf")), "infinite"),
        ("trades", "side", pl.lit("BUY"), "side other than buy, sell"),
        ("trades", "origin", pl.lit("invented"), "origin other than stream, rest"),
        ("klines", "close", pl.lit(float("nan")), "NaN"),
        ("tickers", "vwap", pl.lit(float("nan")), "NaN"),
        ("book_snapshots", "bids", pl.lit([{"price": 2.0, "size": float("nan")}], tables.LEVELS), "bids"),
        ("book_snapshots", "asks", pl.lit([{"price": None, "size": 1.0}], tables.LEVELS), "asks"),
        ("book_snapshots", "asks", pl.lit([None], tables.LEVELS), "asks"),
    ],
)
def test_what_is_no_fact_is_refused_by_position(
    store: Store, rows: Any, name: str, column: str, value: pl.Expr, words: str
) -> None:
    at = rows.midnight
    prices = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    rest = (None, None, None, None)
    tickers = [Ticker("binance", "BTCUSDT", at + number, *prices, *rest, at, "stream") for number in range(3)]
    records = {
        "trades": rows.trades(range(3)),
        "klines": [rows.kline(number) for number in range(3)],
        "tickers": tickers,
        "book_snapshots": [rows.snapshot(number) for number in range(3)],
    }
    table = tables.to_table(name, records[name])
    with pytest.raises(WriteRejected, match=words) as caught:
        store.write(name, table.with_columns(second(column, value)))
    assert caught.value.rows == (1,)
    assert store.read(name).is_empty()
    assert store.write(name, table) == 3


def test_a_book_side_without_levels_is_a_fact(store: Store, rows: Any) -> None:
    empty = pl.lit([], tables.LEVELS)
    table = tables.to_table("book_snapshots", [rows.snapshot(number) for number in range(3)])
    assert store.write("book_snapshots", table.with_columns(second("bids", empty), empty.alias("asks"))) == 3


@pytest.mark.parametrize("table", [{"price": [1.0]}, [1], None, tables.empty("trades").lazy()])
def test_what_is_no_table_is_a_usage_error(store: Store, table: Any) -> None:
    with pytest.raises(UsageError, match="polars DataFrame"):
        store.write("trades", table)


def test_a_pandas_table_is_a_usage_error(store: Store, rows: Any) -> None:
    pytest.importorskip("pandas")
    frame: Any = tables.to_table("trades", rows.trades(range(3))).to_pandas()
    with pytest.raises(UsageError, match=r"pl\.from_pandas"):
        store.write("trades", frame)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.col("price").cast(pl.String), "price is String"),
        (pl.col("price").cast(pl.Float32), "price is Float32"),
        (pl.col("time").dt.replace_time_zone(None), "time is"),
        (pl.lit(1).alias("extra"), "unknown column extra"),
        (pl.col("symbol").cast(pl.Categorical), "symbol is"),
    ],
)
def test_a_table_that_does_not_fit_is_never_cast(store: Store, rows: Any, change: pl.Expr, words: str) -> None:
    put(store, rows.trade(0))
    table = tables.to_table("trades", rows.trades(range(1, 3)))
    with pytest.raises(WriteRejected, match=words):
        store.write("trades", table.with_columns(change))
    with pytest.raises(WriteRejected, match="no column size"):
        store.write("trades", table.drop("size"))
    assert ids(store.read("trades")) == ["0"]


def test_an_empty_table_changes_nothing(store: Store) -> None:
    assert store.write("trades", tables.empty("trades")) == 0
    assert store.read("trades").is_empty()


def test_a_named_batch_may_be_handed_over_again(store: Store, rows: Any) -> None:
    commit = Commit("writer", 1)
    assert put(store, *rows.trades(range(5)), rows.kline(1), commit=commit) == 6
    assert put(store, *rows.trades(range(5)), rows.kline(1), commit=commit) == (5 if store.overwrites else 0)
    assert put(store, *rows.trades(range(5, 8)), commit=Commit("writer", 2)) == 3
    assert put(store, *rows.trades(range(8, 9)), commit=Commit("other", 1)) == 1
    assert store.read("trades").height == 9


def test_closing_twice_is_closing_once_and_then_nothing_answers(open_again: Callable[[], Store], rows: Any) -> None:
    store = open_again()
    put(store, rows.trade(1))
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.read("trades")
    with pytest.raises(StoreUnavailable, match="closed"):
        put(store, rows.trade(1))


def test_a_store_says_who_it_is(store: Store, open_again: Callable[[], Store]) -> None:
    assert repr(store) == repr(open_again()) == f"<{type(store).__name__} {store.url}>"
    assert store.url.startswith(f"{store.scheme}://")
    assert store.batching.rows > 0


def test_a_store_that_holds_something_exists(store: Store, rows: Any) -> None:
    put(store, rows.trade(1))
    assert store.exists


def test_a_sandbox_lies_apart_and_leaves_nothing(store: Store, rows: Any) -> None:
    put(store, rows.trade(1))
    with store.sandbox() as sandbox:
        assert sandbox.read("trades").is_empty()
        assert put(sandbox, *rows.trades(range(5)), rows.kline(1)) == 6
        assert sandbox.read("trades").height == 5
        assert store.read("trades").height == 1
    with store.sandbox() as another:
        assert another.read("trades").is_empty()


def test_every_store_has_a_place_here() -> None:
    places = {name.rstrip("0123456789") for name in PLACES} | {"postgres"}  # another spelling of postgresql
    assert places >= set(schemes())
