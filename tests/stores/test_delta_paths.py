"""A store may lie in a folder of nearly any name, and says so at once where it may not."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake.exceptions import DeltaError

from marketlab import tables
from marketlab.errors import StoreDenied, StoreUnavailable, UsageError
from marketlab.stores.delta import DeltaStore
from marketlab.stores.delta_terms import mistake
from marketlab.stores.open import open_store
from marketlab.stores.spool import Spool

FIT = [
    "sp ace",
    " edge ",
    "ü",
    "日本",
    "#",
    "a?b",
    "{x}",
    "100%",
    "%2",
    "a*b",
    "a+b&c",
    "http:",
    "'q' \"r\" <s> `t`",
    "a=b/store",
    "exchange=other/symbol=other",
]
UNFIT = ["a%20b", "a%2Fb", "a[1]", "back\\slash", "a|b", "a^b", "a\tb", "a\nb", "a\0b"]


def trades_of(records: list[Any]) -> pl.DataFrame:
    return tables.to_table("trades", records)


@pytest.mark.parametrize("name", FIT)
def test_what_is_written_into_a_folder_of_any_name_is_read_from_it(tmp_path: Path, rows: Any, name: str) -> None:
    url = f"delta://{tmp_path}/{name}"
    bitcoin, ether = (trades_of(rows.trades(range(100), symbol)) for symbol in ("BTCUSDT", "ETH USDT"))
    with open_store(url) as store:
        for table in (bitcoin[:60], bitcoin[40:], ether):
            store.write("trades", table)
        store.write("klines", tables.to_table("klines", [rows.kline(1, closed=False), rows.kline(2)]))
        # A better row is a merge, not an append.
        assert store.write("klines", tables.to_table("klines", [rows.kline(1)])) == 1
    with open_store(url) as store:
        assert store.read("trades", symbol="BTCUSDT").equals(bitcoin)
        assert store.read("klines", symbol="BTCUSDT").height == 2
        assert pl.concat(store.batches("trades", symbol="BTCUSDT", rows=30)).equals(bitcoin)
        middle = store.read("trades", symbol="BTCUSDT", start=rows.midnight + 50_000, end=rows.midnight + 70_000)
        assert middle.equals(bitcoin[50:70])
        found = store.scan("trades").filter(pl.col("symbol") == "ETH USDT").collect()
        assert tables.in_order("trades", found).equals(ether)
        assert [coverage.rows for coverage in store.coverage("trades")] == [100, 100]
        assert store.delete("trades", symbol="BTCUSDT", end=rows.midnight + 10_000) == 10
        assert store.read("trades", symbol="BTCUSDT").equals(bitcoin[10:])


def test_files_are_joined_in_a_folder_of_any_name(tmp_path: Path, rows: Any) -> None:
    store = DeltaStore(tmp_path / "a=b ü%", small_files=3)
    for start in range(0, 100, 10):
        store.write("trades", trades_of(rows.trades(range(start, start + 10))))
    assert len(list((store.folder / "trades").glob("_delta_log/*.checkpoint.parquet"))) > 0
    assert store.read("trades").equals(trades_of(rows.trades(range(100))))


@pytest.mark.parametrize("name", UNFIT)
def test_a_folder_that_delta_tables_cannot_lie_in_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="No Delta table can lie in") as caught:
        open_store(f"delta://{tmp_path}/{name}")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_link_into_such_a_folder_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "a[1]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a[1]")
    with pytest.raises(UsageError, match="No Delta table can lie in"):
        DeltaStore(tmp_path / "link" / "store")


@pytest.mark.parametrize("below", ["", "/store"])
def test_a_file_is_no_store(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="file is a file"):
        open_store(f"delta://{tmp_path}/file{below}")


def test_a_file_in_the_place_of_a_table_is_an_error_and_not_no_rows(tmp_path: Path) -> None:
    (tmp_path / "trades").write_text("mine")
    with pytest.raises(StoreUnavailable, match="trades"):
        DeltaStore(tmp_path).read("trades")


def test_a_store_says_whether_there_is_one_yet(tmp_path: Path, rows: Any) -> None:
    (tmp_path / "notes.txt").write_text("A folder of other things is no store.")
    store = DeltaStore(tmp_path)
    assert not store.exists
    assert store.read("trades").is_empty()
    assert not store.exists
    store.write("trades", trades_of([rows.trade(1)]))
    assert store.exists
    spooled = DeltaStore(tmp_path / "other")
    Spool.create(tmp_path / "other" / "_spool")
    assert spooled.exists


def test_a_place_that_cannot_be_looked_at_is_one_error(tmp_path: Path) -> None:
    store = DeltaStore(tmp_path / ("x" * 300))
    for use in (lambda: store.read("trades"), lambda: store.read("trades", symbol="BTCUSDT"), lambda: store.exists):
        with pytest.raises(StoreUnavailable, match="xxx"):
            use()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PermissionError(13, "Permission denied", "/x"), StoreDenied, "change the folder's rights"),
        (OSError(30, "Read-only file system"), StoreDenied, "read-only"),
        (DeltaError("Failed to write: Permission denied (os error 13)"), StoreDenied, "change the folder's rights"),
        (DeltaError("No space left on device (os error 28)"), StoreUnavailable, "the disk is full"),
        (DeltaError("something else"), StoreUnavailable, "something else"),
    ],
)
def test_what_a_disk_says_is_told_with_what_to_do(error: Exception, kind: type[StoreUnavailable], words: str) -> None:
    for doing in ("read", "write to"):
        told = mistake("delta:///x", error, doing)
        assert type(told) is kind
        assert str(told).startswith(f"Cannot {doing} delta:///x: ")
        assert words in str(told)
