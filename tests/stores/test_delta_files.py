"""Files that we write ourselves are what delta-rs would have written, and what any other engine understands."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from marketlab import tables
from marketlab.stores.delta import DeltaStore

SYMBOLS = ["BTCUSDT", "ETH USDT", "币安人生USDT", "a/b", "../up", "50%", "a%20b", "x=1&y", "it's", "#1?"]


def told(folder: Path) -> pl.DataFrame:
    return pl.DataFrame(DeltaTable(folder / "trades").get_add_actions(flatten=True))


def asked(folder: Path, question: str) -> list[Any]:
    found = QueryBuilder().register("trades", DeltaTable(folder / "trades")).execute(question).read_all()
    return pl.DataFrame(found).rows()


def test_folders_are_named_as_delta_rs_names_them(tmp_path: Path, rows: Any) -> None:
    table = tables.to_table("trades", [rows.trade(1, symbol) for symbol in SYMBOLS])
    for symbol in SYMBOLS:
        DeltaStore(tmp_path / "ours").write("trades", table.filter(pl.col("symbol") == symbol))
    write_deltalake(tmp_path / "theirs" / "trades", table, partition_by=["exchange", "symbol"])
    ours, theirs = (
        {Path(path).parent for path in told(tmp_path / name).get_column("path")} for name in ("ours", "theirs")
    )
    assert ours == theirs
    assert all((tmp_path / "ours" / "trades" / unquote(path)).is_file() for path in told(tmp_path / "ours")["path"])
    assert sorted(asked(tmp_path / "ours", "select symbol from trades")) == sorted((symbol,) for symbol in SYMBOLS)


def test_statistics_bound_what_is_in_the_file(tmp_path: Path, rows: Any) -> None:
    first, last = rows.midnight + 1, rows.midnight + 123_456
    store = DeltaStore(tmp_path)
    store.write("trades", tables.to_table("trades", [rows.trade(1, at=first), rows.trade(2, at=last)]))
    (found,) = told(tmp_path).to_dicts()
    assert found["num_records"] == 2
    assert found["null_count.time"] == 0
    low, high = (found[f"{edge}.time"].timestamp() * 1_000_000 for edge in ("min", "max"))
    assert first - 1_000 < low <= first
    assert last <= high < last + 1_000
    # An engine that goes by them misses not even the last microsecond.
    question = f"select trade_id from trades where time >= to_timestamp_micros({last})"
    assert asked(tmp_path, question) == [("2",)]


def test_a_column_without_values_has_no_bounds(tmp_path: Path, rows: Any) -> None:
    DeltaStore(tmp_path).write("gaps", tables.to_table("gaps", [rows.gap(1), rows.gap(2)]))
    (found,) = pl.DataFrame(DeltaTable(tmp_path / "gaps").get_add_actions(flatten=True)).to_dicts()
    assert found["null_count.healed_at"] == 2
    assert found.get("min.healed_at") is None


def test_very_many_rows_of_a_symbol_are_several_files_of_one_commit(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketlab.stores.delta_files.FILE_ROWS", 40)
    store = DeltaStore(tmp_path)
    table = tables.to_table("trades", [*rows.trades(range(100)), *rows.trades(range(30), "ETHUSDT")])
    assert store.write("trades", table) == 130
    assert DeltaTable(tmp_path / "trades").version() == 1
    files = told(tmp_path).sort("num_records", "max.time").select("partition.symbol", "num_records", "max.time").rows()
    assert [(symbol, rows_in) for symbol, rows_in, _ in files] == [
        ("BTCUSDT", 20),
        ("ETHUSDT", 30),
        ("BTCUSDT", 40),
        ("BTCUSDT", 40),
    ]
    assert len({high for _, _, high in files}) == 4
    assert store.read("trades").equals(tables.in_order("trades", table))
