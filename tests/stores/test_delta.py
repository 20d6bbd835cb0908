"""What is special about Delta tables: commits, neighbours in other processes, files, the spool beside them."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from marketlab import tables
from marketlab.errors import StoreUnavailable, UnknownSymbol, UsageError, WriteRejected
from marketlab.stores.contract import Commit
from marketlab.stores.delta import DeltaStore
from marketlab.stores.open import open_store
from marketlab.stores.spool import Spool
from marketlab.stores.stretches import cuts

PROGRAMS = Path(__file__).parent / "programs.py"


def table_of(records: list[Any]) -> pl.DataFrame:
    ((_, table),) = tables.to_tables(records).items()
    return table


def versions(store: DeltaStore, name: str = "trades") -> int:
    return DeltaTable(store.folder / name).version()


def test_a_url_is_relative_to_the_working_directory_or_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("delta://market/data").url == f"delta://{tmp_path}/market/data"
    assert open_store(f"delta://{tmp_path}/x").url == f"delta://{tmp_path}/x"
    with pytest.raises(UsageError, match="names no folder"):
        open_store("delta://")
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_the_table_has_is_not_looked_at_again(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    assert store.write("trades", table_of(rows.trades(range(5))), Commit("writer", 7)) == 5
    before = versions(store)
    # Other rows under the same name show that the name decides.
    assert store.write("trades", table_of(rows.trades(range(5, 9))), Commit("writer", 7)) == 0
    assert store.write("trades", table_of(rows.trades(range(5, 9))), Commit("writer", 6)) == 0
    assert versions(store) == before
    assert DeltaStore(tmp_path).write("trades", table_of(rows.trades(range(5, 9))), Commit("writer", 8)) == 4


def test_what_changes_nothing_makes_no_commit(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    store.write("klines", table_of([rows.kline(1), rows.kline(2)]), Commit("writer", 1))
    before = versions(store, "klines")
    assert store.write("klines", table_of([rows.kline(1, closed=False), rows.kline(2)]), Commit("writer", 2)) == 0
    assert versions(store, "klines") == before
    assert store.write("klines", table_of([rows.kline(2, count=11), rows.kline(3)]), Commit("writer", 3)) == 2
    assert versions(store, "klines") == before + 1
    assert DeltaTable(tmp_path / "klines").transaction_version("writer") == 3


def test_rows_between_stored_rows_are_an_append(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    store.write("trades", table_of([rows.trade(number) for number in range(0, 100, 2)]))
    assert store.write("trades", table_of(rows.trades(range(100)))) == 50
    history = DeltaTable(tmp_path / "trades").history()
    assert [entry["operation"] for entry in history] == ["WRITE", "WRITE", "CREATE TABLE"]
    assert store.read("trades").height == 100


def test_many_writers_of_the_same_rows_leave_each_once(tmp_path: Path, rows: Any) -> None:
    def write(start: int) -> int:
        store = DeltaStore(tmp_path)
        return sum(store.write("trades", table_of(rows.trades(range(at, at + 20)))) for at in range(start, 100, 10))

    with ThreadPoolExecutor(3) as pool:
        written = list(pool.map(write, [0, 0, 5]))
    found = DeltaStore(tmp_path).scan("trades").collect()
    assert sum(written) == found.height == found.get_column("trade_id").n_unique() == 115


def test_a_table_with_other_columns_is_refused_and_left_as_it_is(tmp_path: Path, rows: Any) -> None:
    write_deltalake(tmp_path / "trades", pl.DataFrame({"exchange": ["x"], "symbol": ["y"]}))
    store = DeltaStore(tmp_path)
    with pytest.raises(WriteRejected, match="other columns"):
        store.write("trades", table_of([rows.trade(1)]))
    assert versions(store) == 0


def test_a_broken_table_is_one_clear_error(tmp_path: Path, rows: Any) -> None:
    log = tmp_path / "trades" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("not json")
    store = DeltaStore(tmp_path)
    for use in (lambda: store.read("trades"), lambda: store.write("trades", table_of([rows.trade(1)]))):
        with pytest.raises(StoreUnavailable, match="trades") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_small_files_are_joined_and_nothing_changes(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path, small_files=10)
    most = 0
    for start in range(0, 300, 10):
        store.write("trades", table_of([*rows.trades(range(start, start + 10)), rows.trade(start, "ETHUSDT")]))
        most = max(most, len(DeltaTable(tmp_path / "trades").file_uris()))
    assert most <= 2 + 10
    assert store.read("trades", symbol="BTCUSDT").equals(table_of(rows.trades(range(300))))
    assert store.read("trades", symbol="ETHUSDT").height == 30
    assert list((tmp_path / "trades" / "_delta_log").glob("*.checkpoint.parquet"))
    assert store.write("trades", table_of(rows.trades(range(300)))) == 0


def test_small_files_of_many_symbols_are_joined_and_nothing_changes(tmp_path: Path, rows: Any) -> None:
    symbols = ["BTC/USDT", "ETH USDT", "50%", "ü", *(f"COIN{number}" for number in range(4))]
    store = DeltaStore(tmp_path, small_files=10)
    for start in range(0, 2_000, 200):
        records = [trade for symbol in symbols for trade in rows.trades(range(start, start + 200), symbol)]
        assert store.write("trades", tables.to_table("trades", records)) == 1_600
    handle = DeltaTable(tmp_path / "trades")
    assert len(handle.file_uris()) <= 8 + 40
    assert any(not action["data_change"] for action in actions(tmp_path / "trades"))
    assert handle.count() == store.read("trades").height == 16_000
    for symbol in symbols:
        found = store.scan("trades").filter(pl.col("symbol") == symbol).collect()
        assert tables.in_order("trades", found).get_column("trade_id").to_list() == [str(at) for at in range(2_000)]
    assert store.write("trades", tables.to_table("trades", records)) == 0


def actions(table: Path) -> list[dict[str, Any]]:
    lines = [line for log in (table / "_delta_log").glob("*.json") for line in log.read_text().splitlines()]
    return [{"data_change": json.loads(line)["remove"]["dataChange"]} for line in lines if '"remove"' in line]


def test_files_of_one_commit_are_sorted_by_time(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    store.write("trades", table_of(rows.trades(range(99, -1, -1))))
    (file,) = DeltaTable(tmp_path / "trades").file_uris()
    assert pl.read_parquet(file, hive_partitioning=False).get_column("time").is_sorted()


def test_symbols_and_times_that_are_not_asked_for_are_not_opened(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    for symbol, start in (("BTCUSDT", 0), ("BTCUSDT", 1_000), ("ETHUSDT", 0)):
        store.write("trades", table_of(rows.trades(range(start, start + 100), symbol)))
    for path in DeltaTable(tmp_path / "trades").file_uris():
        if "ETHUSDT" in path or pl.read_parquet(path).get_column("trade_id")[0] == "0":
            Path(path).write_bytes(bytes(Path(path).stat().st_size))
    found = store.read("trades", symbol="BTCUSDT", start=rows.midnight + 1_000_000)
    assert found.height == 100
    assert store.write("trades", table_of(rows.trades(range(1_050, 1_150)))) == 50
    with pytest.raises(StoreUnavailable, match="Cannot read"):
        store.read("trades", symbol="ETHUSDT")


def spooled(store: DeltaStore, *records: Any) -> Spool:
    assert store.spool is not None
    spool = Spool.create(store.spool)
    spool.append(records)
    return spool


def test_a_read_is_the_table_as_it_will_be(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    store.write("trades", table_of(rows.trades(range(10))))
    store.write("klines", table_of([rows.kline(1, closed=False), rows.kline(2)]))
    records = [*rows.trades(range(5, 15)), rows.kline(1), rows.kline(3), rows.quote(1, "ETHUSDT")]
    spool = spooled(store, *records)

    def seen() -> list[pl.DataFrame]:
        found = [store.read(name, include_open=True) for name in ("trades", "klines", "quotes")]
        found += [tables.in_order(name, store.scan(name).collect()) for name in ("trades", "klines")]
        found += [pl.concat(store.batches("trades", rows=4)), store.read("klines", columns=["close"], interval="1m")]
        return [*found, store.read("trades", start=rows.midnight + 4_000, end=rows.midnight + 12_000)]

    before, covered = seen(), [store.coverage(name) for name in tables.TABLES]
    assert before[0].height == 15
    assert before[1].get_column("closed").to_list() == [True, True, True]
    assert store.read("trades", symbol="ETHUSDT").is_empty()
    with pytest.raises(UnknownSymbol, match="ETHUSDT"):
        store.read("trades", symbol="ETHUSD")
    for name, table in tables.to_tables(records).items():
        store.write(name, table)
    spool.discard(1)
    assert all(one.equals(other) for one, other in zip(before, seen(), strict=True))
    assert covered == [store.coverage(name) for name in tables.TABLES]


def test_a_quote_in_the_spool_does_not_hide_that_the_table_has_it(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path)
    store.write("quotes", table_of([rows.quote(1), rows.quote(2)]))
    later = rows.midnight + 86_400_000_000
    spooled(store, rows.quote(2, received=later), rows.quote(3, received=later))
    assert store.read("quotes").get_column("update_id").to_list() == [1, 2, 3]
    assert store.read("quotes", start=later).get_column("update_id").to_list() == [3]


def test_another_process_reads_in_a_loop_and_misses_nothing(tmp_path: Path) -> None:
    writing = subprocess.Popen(
        [sys.executable, PROGRAMS, "write", str(tmp_path), "3000"], stdout=subprocess.PIPE, text=True
    )
    reading = subprocess.run(
        [sys.executable, PROGRAMS, "watch", str(tmp_path), "3000"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert writing.wait(60) == 0
    assert writing.stdout is not None
    writing.stdout.close()
    assert reading.stderr == ""
    assert reading.returncode == 0
    assert int(reading.stdout) >= 5


def test_stretches_have_about_as_many_rows_as_asked() -> None:
    spans = [(0, 99, 1_000), (50, 149, 1_000)]
    assert list(cuts(spans, 500, None, None)) == [50, 75, 100]
    assert list(cuts(spans, 500, 60, 90)) == [85]
    assert list(cuts([], 500, None, None)) == []
    assert list(cuts([(5, 5, 10)], 3, None, None)) == []
