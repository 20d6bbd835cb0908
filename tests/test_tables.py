from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab import records, tables
from marketlab.errors import UsageError
from marketlab.records import BookUpdate, Gap, Kline, Trade

WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.floats(allow_nan=False)
WORD = st.text(max_size=12)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: WORD,
    int: WHOLE,
    float: NUMBER,
    bool: st.booleans(),
    records.Origin: st.sampled_from(records.ORIGINS),
    records.Side: st.sampled_from(["buy", "sell"]),
    records.Levels: st.lists(st.tuples(NUMBER, NUMBER), max_size=5),
    str | None: st.none() | WORD,
    int | None: st.none() | WHOLE,
    float | None: st.none() | NUMBER,
}


def rows_of(kind: type[Any]) -> st.SearchStrategy[list[Any]]:
    fields = [VALUES[field.type] for field in msgspec.structs.fields(kind)]
    return st.lists(st.tuples(*fields).map(lambda row: kind(*row)), max_size=6)


def trade(trade_id: str = "1", **changes: Any) -> Trade:
    base = Trade("binance", "BTCUSDT", trade_id, 1_723_161_600_000_000, 61000.5, 0.25, "buy", 7, "stream")
    return msgspec.structs.replace(base, **changes)


def kline(**changes: Any) -> Kline:
    start = 1_723_161_600_000_000
    end = start + 59_999_999
    base = Kline("binance", "BTCUSDT", "1m", start, end, 1.0, 2.0, 0.5, 1.5, 10.0, 15.0, 4, 5.0, 7.5, True, 7, "stream")
    return msgspec.structs.replace(base, **changes)


def gap(**changes: Any) -> Gap:
    base = Gap("binance", "BTCUSDT", "trade", 100, 200, "5", "9", "lost", None, None, 7, "stream")
    return msgspec.structs.replace(base, **changes)


def update(bids: records.Levels, asks: records.Levels) -> BookUpdate:
    return BookUpdate("binance", "BTCUSDT", 1, 2, None, 5, bids, asks, 6, "stream")


@pytest.mark.parametrize("name", tables.TABLES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_records_come_back_as_they_went(name: str, data: st.DataObject) -> None:
    rows = data.draw(rows_of(tables.spec(name).record))
    table = tables.to_table(name, rows)
    tables.check(name, table)
    assert table.height == len(rows)
    assert tables.to_records(name, table) == rows


@pytest.mark.parametrize("name", tables.TABLES)
def test_no_records_make_a_table_with_the_schema(name: str) -> None:
    table = tables.to_table(name, [])
    assert table.equals(tables.empty(name))
    assert table.schema == pl.Schema(tables.spec(name).schema)
    assert tables.to_records(name, table) == []


def test_times_are_microseconds_in_utc_and_levels_lists_of_price_and_size() -> None:
    table = tables.to_table("book_updates", [update([(1.0, 2.0), (0.5, 0.0)], []), update([], [(3.0, 4.0)])])
    assert table["time"].dtype == pl.Datetime("us", "UTC")
    assert table["bids"].to_list() == [[{"price": 1.0, "size": 2.0}, {"price": 0.5, "size": 0.0}], []]
    assert table["asks"].to_list() == [[], [{"price": 3.0, "size": 4.0}]]


def test_a_column_is_constant_only_where_all_its_values_are() -> None:
    rows = [trade("1"), trade("2", symbol="ETHUSDT"), trade("3")]
    assert tables.to_table("trades", rows)["symbol"].to_list() == ["BTCUSDT", "ETHUSDT", "BTCUSDT"]
    assert tables.to_table("trades", rows)["exchange"].to_list() == ["binance"] * 3


def test_records_of_any_type_are_parted_by_table() -> None:
    made = tables.to_tables([trade("1"), kline(), trade("2"), gap()])
    assert {name: table.height for name, table in made.items()} == {"trades": 2, "klines": 1, "gaps": 1}
    assert made["trades"]["trade_id"].to_list() == ["1", "2"]


def test_table_of_knows_records_and_their_types() -> None:
    assert tables.table_of(trade()) == "trades"
    assert tables.table_of(Kline) == "klines"
    assert {tables.table_of(table.record) for table in tables.TABLES.values()} == set(tables.TABLES)


def test_nullable_columns_are_those_whose_type_says_so() -> None:
    assert tables.spec("gaps").nullable == {"from_id", "to_id", "healed_at", "healed_from"}
    assert tables.spec("trades").nullable == frozenset()


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"Unknown table 'candles'\. Tables: trades, agg_trades, klines"):
        tables.empty("candles")


def test_check_names_every_column_that_does_not_fit() -> None:
    table = tables.to_table("trades", [trade()]).drop("side").with_columns(note=pl.lit("x"), size=pl.lit("1"))
    with pytest.raises(UsageError) as caught:
        tables.check("trades", table)
    assert str(caught.value) == (
        "This table does not fit trades: no column side; unknown column note; size is String instead of Float64."
    )


def test_check_refuses_nulls_only_where_none_may_be() -> None:
    tables.check("gaps", tables.to_table("gaps", [gap(from_id=None, to_id=None)]))
    table = tables.to_table("trades", [trade()]).with_columns(price=pl.lit(None, pl.Float64))
    with pytest.raises(UsageError, match="price holds nulls"):
        tables.to_records("trades", table)


def test_check_refuses_another_time_zone_and_unit() -> None:
    table = tables.to_table("trades", [trade()])
    for kind in (pl.Datetime("ms", "UTC"), pl.Datetime("us")):
        with pytest.raises(UsageError, match="time is Datetime"):
            tables.check("trades", table.with_columns(pl.col("time").dt.replace_time_zone(None).cast(kind)))


def test_in_order_sorts_numbers_in_text_as_numbers() -> None:
    ids = ["10", "9", "9223372036854775808", "100"]
    rows = [trade(i) for i in ids] + [trade("1000", time=trade().time - 1)]
    got = tables.in_order("trades", tables.to_table("trades", rows))
    assert got["trade_id"].to_list() == ["1000", "9", "10", "100", "9223372036854775808"]


def test_in_order_sorts_by_time_then_id_then_the_rest_of_the_key() -> None:
    rows = [kline(symbol="ETHUSDT"), kline(interval="5m"), kline(), kline(open_time=0)]
    got = tables.in_order("klines", tables.to_table("klines", rows))
    assert got.select("symbol", "interval", pl.col("open_time").cast(pl.Int64)).rows() == [
        ("BTCUSDT", "1m", 0),
        ("BTCUSDT", "1m", kline().open_time),
        ("BTCUSDT", "5m", kline().open_time),
        ("ETHUSDT", "1m", kline().open_time),
    ]
    quotes = [
        records.Quote("binance", "BTCUSDT", number, 5, 1.0, 1.0, 2.0, 1.0, 5, "stream") for number in (100, 20, 3)
    ]
    assert tables.in_order("quotes", tables.to_table("quotes", quotes))["update_id"].to_list() == [3, 20, 100]


def kept(name: str, rows: list[Any]) -> list[Any]:
    return tables.to_records(name, tables.unique(name, tables.to_table(name, rows)))


def test_the_first_of_two_equal_trades_stays() -> None:
    rows = [trade("1", price=5.0), trade("2"), trade("1", price=6.0)]
    assert kept("trades", rows) == rows[:2]


def test_a_closed_kline_beats_open_ones_and_then_more_trades_win() -> None:
    running = kline(closed=False, trade_count=9)
    assert kept("klines", [running, kline()]) == [kline()]
    assert kept("klines", [kline(), running]) == [kline()]
    assert kept("klines", [kline(trade_count=4), kline(trade_count=5)]) == [kline(trade_count=5)]
    assert kept("klines", [kline(close=1.0), kline(close=2.0)]) == [kline(close=1.0)]
    assert kept("klines", [running, kline(closed=False, trade_count=10)]) == [kline(closed=False, trade_count=10)]


def test_a_healed_gap_beats_the_open_one() -> None:
    healed = gap(healed_at=300, healed_from="rest")
    assert kept("gaps", [gap(), healed]) == [healed]
    assert kept("gaps", [healed, gap()]) == [healed]
    assert kept("gaps", [gap(reason="a"), gap(reason="b")]) == [gap(reason="a")]
    later = gap(healed_at=400, healed_from="rest")
    assert kept("gaps", [healed, later]) == [healed]


def test_the_better_row_stands_where_the_first_of_its_key_stood() -> None:
    rows = [kline(closed=False), kline(open_time=0), kline()]
    assert kept("klines", rows) == [kline(), kline(open_time=0)]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.builds(
            kline,
            open_time=st.integers(0, 3),
            closed=st.booleans(),
            trade_count=st.integers(0, 2),
            close=st.sampled_from([1.0, 2.0]),
        )
    )
)
def test_writing_the_same_klines_twice_changes_nothing(rows: list[Kline]) -> None:
    once = kept("klines", rows)
    assert kept("klines", [*once, *rows]) == once
    best: dict[int, Kline] = {}
    for row in rows:
        have = best.get(row.open_time)
        if have is None or (row.closed, row.trade_count) > (have.closed, have.trade_count):
            best[row.open_time] = row
    assert once == list(best.values())


@pytest.mark.parametrize("name", tables.TABLES)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_unique_is_idempotent_and_leaves_one_row_for_each_key(name: str, data: st.DataObject) -> None:
    rows = data.draw(rows_of(tables.spec(name).record))
    once = tables.unique(name, tables.to_table(name, [*rows, *rows]))
    assert tables.unique(name, once).equals(once)
    assert once.select(tables.spec(name).key).is_duplicated().sum() == 0
    assert once.height == len({tuple(getattr(row, column) for column in tables.spec(name).key) for row in rows})
