"""What is special about PostgreSQL: tables for people, transactions, neighbours, answers that stream."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import psycopg
import pytest

from marketlab import tables
from marketlab.errors import StoreUnavailable, WriteRejected
from marketlab.stores.contract import Commit
from marketlab.stores.postgresql.layout import columns
from marketlab.stores.postgresql.store import PostgresStore

from .conftest import opened

Sql = Callable[[str], list[Any]]


def table_of(*records: Any) -> pl.DataFrame:
    ((_, table),) = tables.to_tables(records).items()
    return table


def test_opening_and_asking_make_nothing(store: PostgresStore, sql: Sql) -> None:
    assert not store.exists
    assert store.read("trades").is_empty()
    assert store.delete("trades") == 0
    # The one before it in the search path is not there.
    assert sql("select current_schema()") == [("public",)]


def test_a_refused_first_write_makes_nothing(store: PostgresStore, sql: Sql, rows: Any) -> None:
    with pytest.raises(WriteRejected, match="size"):
        store.write("trades", table_of(rows.trade(1)).with_columns(trade_id=pl.lit(wild())))
    assert not store.exists


def wild() -> str:
    """Longer than an index takes, and not to be compressed."""
    return "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(6_000))


def test_markets_have_numbers_and_rows_are_found_by_symbol(store: PostgresStore, sql: Sql, rows: Any) -> None:
    store.write("trades", table_of(rows.trade(1, "ETHUSDT"), rows.trade(1)))
    store.write("trades", table_of(rows.trade(2), rows.trade(1, "XRPUSDT")))
    store.write("quotes", table_of(rows.quote(1, "ETHUSDT")))
    assert sql("select id, exchange, symbol from markets order by id") == [
        (1, "binance", "BTCUSDT"),
        (2, "binance", "ETHUSDT"),
        (3, "binance", "XRPUSDT"),
    ]
    question = (
        "select trade_id, price from trades join markets on id = market_id where symbol = 'BTCUSDT' order by time"
    )
    assert store.query(question).rows() == [("1", 60_000.0), ("2", 60_000.0)]


def test_tables_have_the_promised_columns_and_keys(store: PostgresStore, sql: Sql, rows: Any) -> None:
    for name in tables.TABLES:
        store.write(name, tables.empty(name))
    assert not store.exists
    store.write("klines", table_of(rows.kline(1)))
    store.write("book_snapshots", table_of(rows.snapshot(1)))
    for name in ("klines", "book_snapshots"):
        names = f"select column_name from information_schema.columns where table_name = '{name}' and table_schema = current_schema()"
        assert [row[0] for row in sql(f"{names} order by ordinal_position")] == list(columns(tables.spec(name)))
    assert sql("select bids, asks[1][1], closed from book_snapshots, klines") == [([[2.0, 1.0], [1.0, 3.0]], 3.0, True)]
    (keys,) = sql(
        "select array_agg(indexdef order by indexdef) from pg_indexes where tablename = 'klines' and schemaname = current_schema()"
    )[0]
    assert "(market_id, open_time)" in keys[0]
    assert '(market_id, "interval", open_time)' in keys[1]


def test_a_schema_may_have_any_name(postgres: Any, rows: Any) -> None:
    with opened(f"{postgres.url}?schema=my%20%22own%22%20%25s%20schema").sandbox() as other:
        assert other.write("trades", table_of(rows.trade(1))) == 1
    with opened(f"{postgres.url}?schema=my%20%22own%22%20%25s") as store:
        try:
            store.write("klines", table_of(rows.kline(1)))
            assert store.write("klines", table_of(rows.kline(1, count=11))) == 1
            assert store.read("klines").height == store.query("select * from klines").height == 1
            assert store.delete("klines", symbol="BTCUSDT") == 1
        finally:
            with psycopg.connect(postgres.url) as connection:
                connection.execute('drop schema "my ""own"" %s" cascade')


def test_a_sandbox_is_a_schema_that_goes_with_it(store: PostgresStore, sql: Sql, rows: Any) -> None:
    count = "select count(*) from pg_namespace where nspname like 'sandbox%'"
    with store.sandbox() as sandbox:
        sandbox.write("trades", table_of(rows.trade(1)))
        assert sql(count) == [(1,)]
    assert sql(count) == [(0,)]
    assert not store.exists


def test_a_bad_row_in_the_middle_leaves_nothing(either: str, sql: Sql, rows: Any) -> None:
    with opened(either) as store:
        table = table_of(*rows.trades(range(100)))
        bad = table.with_columns(
            trade_id=pl.when(pl.col("trade_id") == "50").then(pl.lit(wild())).otherwise("trade_id")
        )
        with pytest.raises(WriteRejected, match="size") as caught:
            store.write("trades", bad, Commit("writer", 1))
        assert caught.value.rows == ()
        assert store.read("trades").is_empty()
        assert store.write("trades", table, Commit("writer", 1)) == 100


def test_what_postgresql_cannot_hold_is_refused_by_position(store: PostgresStore, rows: Any) -> None:
    table = table_of(*rows.trades(range(3))).reverse()
    holes = pl.when(pl.col("trade_id") == "2").then(pl.lit("a\0b")).otherwise("trade_id")
    with pytest.raises(WriteRejected, match="zero byte") as caught:
        store.write("trades", table.with_columns(trade_id=holes))
    assert caught.value.rows == (0,)
    assert not store.exists


def test_a_batch_that_is_named_lands_once_for_its_table(either: str, sql: Sql, rows: Any) -> None:
    with opened(either) as store:
        assert store.write("trades", table_of(rows.trade(1)), Commit("writer", 7)) == 1
        assert store.write("trades", table_of(rows.trade(2)), Commit("writer", 7)) == 0
        assert store.write("trades", table_of(rows.trade(2)), Commit("writer", 6)) == 0
        assert store.write("quotes", table_of(rows.quote(2)), Commit("writer", 7)) == 1
        assert sql('select writer, "table", segment from commits order by 2') == [
            ("writer", "quotes", 7),
            ("writer", "trades", 7),
        ]


def test_tables_that_somebody_dropped_are_made_again(store: PostgresStore, sql: Sql, rows: Any) -> None:
    store.write("trades", table_of(rows.trade(1)))
    sql("drop table trades, markets")
    assert store.read("trades").is_empty()
    store.write("trades", table_of(rows.trade(1)))
    sql("drop table trades, markets, commits")
    assert store.write("trades", table_of(rows.trade(1), rows.trade(2))) == 2
    assert store.read("trades").height == 2


def test_a_reader_waits_for_no_writer_and_no_writer_for_a_reader(either: str, url: str, rows: Any) -> None:
    server, _, schema = url.partition("?schema=")
    with opened(either) as store, psycopg.connect(server) as neighbour:
        store.write("trades", table_of(*rows.trades(range(1_000))))
        neighbour.execute(f"set lock_timeout = '2s'; update {schema}.trades set price = 1".encode())
        assert store.read("trades").get_column("price").max() == 60_000.0
        assert store.coverage("trades")[0].rows == 1_000
        pieces = store.batches("trades", rows=100)
        assert next(pieces).height == 100
        assert store.write("trades", table_of(rows.trade(5_000))) == 1
        # The answer that is under way is one moment's.
        assert sum(part.height for part in pieces) == 900


def test_one_moment_may_be_larger_than_a_piece(
    store: PostgresStore, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketlab.stores.postgresql.reading._BYTES", 100)
    at = rows.midnight
    symbols = ("ETHUSDT", "BTCUSDT")
    records = [rows.trade(number, symbol, at=at + number // 7) for number in range(50) for symbol in symbols]
    store.write("trades", table_of(*reversed(records)))
    parts = list(store.batches("trades", rows=3))
    assert all(part.height == 3 for part in parts[:-1])
    assert pl.concat(parts).equals(store.read("trades"))


def test_a_filtered_scan_asks_for_no_more_than_it_needs(either: str, sql: Sql, rows: Any) -> None:
    with opened(either) as store:
        store.write("trades", table_of(*rows.trades(range(100)), *rows.trades(range(100), "ETHUSDT")))
        since = pl.lit(datetime(2024, 8, 9, 0, 0, 0, 90_000, UTC))
        asked = store.scan("trades").filter(pl.col("symbol") == "ETHUSDT", pl.col("time") >= since)
        assert asked.select("trade_id").collect().height == 10
        assert asked.head(3).collect().height == 3
        assert store.scan("trades").filter(pl.col("price") < 0).collect().is_empty()
        assert store.scan("trades").select(pl.len()).collect().item() == 200
    with pytest.raises(StoreUnavailable, match="closed"):
        store.scan("trades").collect()


def test_a_question_changes_nothing_for_the_next(store: PostgresStore, rows: Any) -> None:
    table = tables.to_table("trades", rows.trades(range(3)))
    store.write("trades", table)
    assert store.query("select set_config('timezone', 'Europe/Berlin', false)").item() == "Europe/Berlin"
    assert store.query("select pg_advisory_lock(1), set_config('search_path', '', false)").height == 1
    assert store.read("trades").equals(table)
    assert store.query("show timezone").item() == "UTC"
    assert store.query("select count(*) from pg_locks where locktype = 'advisory'").item() == 0


def test_sql_answers_with_types_that_fit(store: PostgresStore, rows: Any) -> None:
    store.write("trades", table_of(*rows.trades(range(3))))
    found = store.query(
        "select count(*) as n, sum(price) as total, avg(price::numeric) as mean, min(time) as first, null::text as note, "
        "'2024-08-09'::date as day, true as yes, array[1.5, 2]::float8[] as level, 100 % 7 as rest from trades"
    )
    assert dict(found.schema) == {
        "n": pl.Int64(),
        "total": pl.Float64(),
        "mean": pl.Float64(),
        "first": tables.TIME,
        "note": pl.String(),
        "day": pl.Date(),
        "yes": pl.Boolean(),
        "level": pl.List(pl.Float64()),
        "rest": pl.Int64(),
    }
    midnight = datetime(2024, 8, 9, tzinfo=UTC)
    assert found.row(0) == (3, 180_000.0, 60_000.0, midnight, None, date(2024, 8, 9), True, [1.5, 2.0], 2)
    assert store.query("select * from trades where false").columns == list(columns(tables.spec("trades")))


MEMORY = """
import sys
from marketlab.stores.open import open_store

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

with open_store(sys.argv[1]) as store:
    before, rows, most, last = 0, 0, 0, None
    for part in store.batches("trades"):
        before = before or resident()
        rows += part.height
        assert last is None or part["time"][0] >= last
        last = part["time"][-1]
        most = max(most, resident())
print(rows, most - before)
"""


def test_a_million_rows_stream_in_little_memory(url: str, store: PostgresStore, sql: Sql, rows: Any) -> None:
    store.write("trades", table_of(rows.trade(0), rows.trade(0, "ETHUSDT")))
    sql(
        "insert into trades select 1 + n % 2, (1000000 + n)::text, '2024-08-09Z'::timestamptz + n * interval '1 ms', "
        "n * 0.01, n * 1e-5, 'buy', '2024-08-09Z'::timestamptz + n * interval '1 ms', 'stream' "
        "from generate_series(1, 999998) n"
    )
    done = subprocess.run([sys.executable, "-c", MEMORY, url], capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == ""
    found, grown = done.stdout.split()
    assert int(found) == 1_000_000
    assert float(grown) < 200
