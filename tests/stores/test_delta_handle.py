"""A store that stays open sees what others do to its tables, and that they are gone."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.stores.delta import DeltaStore


def trades(rows: Any, numbers: range) -> pl.DataFrame:
    return tables.to_table("trades", rows.trades(numbers))


def test_a_store_that_is_open_sees_what_another_writes(tmp_path: Path, rows: Any) -> None:
    one, other = DeltaStore(tmp_path), DeltaStore(tmp_path, small_files=3)
    for number in range(30):
        assert one.read("trades").height == number
        assert other.write("trades", trades(rows, range(number, number + 1))) == 1
        assert one.write("trades", trades(rows, range(number + 1))) == 0


@pytest.mark.parametrize("anew", [0, 3, 5])
def test_tables_that_are_removed_are_gone_and_may_be_made_anew(tmp_path: Path, rows: Any, anew: int) -> None:
    store = DeltaStore(tmp_path / "store")
    for number in range(3):
        store.write("trades", trades(rows, range(number, number + 1)))
    assert store.read("trades").height == 3
    # Not only removed but another one in its place: of fewer versions, of as many, and of more.
    shutil.move(tmp_path / "store", tmp_path / "old")
    for number in range(anew):
        DeltaStore(tmp_path / "store").write("trades", trades(rows, range(100 + number, 101 + number)))
    assert store.read("trades").height == anew
    assert store.write("trades", trades(rows, range(3))) == 3
    assert store.read("trades").height == 3 + anew


def test_who_has_slept_for_long_starts_anew(tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marketlab.stores.delta_handle.FRESH_SECONDS", 0.0)
    store = DeltaStore(tmp_path)
    for number in range(3):
        assert store.write("trades", trades(rows, range(number + 1))) == 1
        assert store.read("trades").height == number + 1
