import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.cli.formats import FORMATS, BatchWriter

Run = Callable[..., Any]

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "parquet": pl.read_parquet,
    "arrow": pl.read_ipc,
    "feather": pl.read_ipc,
    "csv": lambda path: pl.read_csv(path, schema_overrides={"trade_id": pl.String}),
    "jsonl": lambda path: pl.read_ndjson(path, schema_overrides={"trade_id": pl.String}),
}


@pytest.mark.parametrize("format", READERS)
def test_every_format_holds_every_row_in_order(run: Run, stored: str, tmp_path: Path, format: str) -> None:
    file = tmp_path / f"trades.{format}"
    ended = run("export", "trades", str(file), "--store", stored, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out) == {
        "table": "trades",
        "file": str(file),
        "rows": 50,
        "simulated": 0,
        "bytes": file.stat().st_size,
    }
    rows = READERS[format](file)
    assert rows.columns == list(tables.TABLES["trades"].schema)
    assert rows["trade_id"].to_list() == [str(100 + number) for number in range(50)]
    assert rows["price"].to_list() == [60_000.0 + number for number in range(50)]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_types_survive_books_included(run: Run, stored: str, tmp_path: Path, format: str) -> None:
    file = tmp_path / f"books.{format}"
    assert run("export", "book_snapshots", str(file), "--store", stored).code == 0
    rows = READERS[format](file)
    assert dict(rows.schema) == dict(tables.TABLES["book_snapshots"].schema)
    assert rows["bids"].to_list() == [[{"price": 1.0, "size": 2.0}]]


def test_nothing_stored_gives_a_file_with_the_columns(run: Run, stored: str, tmp_path: Path) -> None:
    file = tmp_path / "quotes.parquet"
    assert run("export", "quotes", str(file), "--store", stored).code == 0
    assert pl.read_parquet(file).schema == tables.empty("quotes").schema


def test_rows_are_chosen_and_keep_their_origin(run: Run, stored: str, tmp_path: Path) -> None:
    file = tmp_path / "closes.csv"
    chosen = ("--symbol", "ETHUSDT", "--interval", "1m", "--start", "2024-08-09T00:01", "--columns", "close")
    ended = run("export", "klines", str(file), "--store", stored, *chosen)
    assert file.read_text() == "close,origin\n102.0,simulated\n103.0,simulated\n"
    assert ended.out == ""
    assert "2 rows of klines" in ended.err
    assert "2 of them are simulated" in ended.err


def test_a_file_that_cannot_be_finished_leaves_the_old_one_alone(run: Run, stored: str, tmp_path: Path) -> None:
    file = tmp_path / "books.csv"
    file.write_text("old")
    ended = run("export", "book_snapshots", str(file), "--store", stored)
    assert ended.code == 2
    assert "CSV has no lists" in ended.err
    assert file.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["books.csv"]


def test_a_place_that_cannot_be_written_is_one_sentence(run: Run, stored: str, tmp_path: Path) -> None:
    file = tmp_path / "missing" / "trades.parquet"
    ended = run("export", "trades", str(file), "--store", stored)
    assert ended.code == 3
    assert ended.err == f"Cannot write {file}: No such file or directory.\n"


def test_a_name_without_a_format_is_a_mistake(run: Run, stored: str, tmp_path: Path) -> None:
    file = tmp_path / "trades.xlsx"
    ended = run("export", "trades", str(file), "--store", stored)
    assert ended.code == 2
    assert ended.err == (
        f"'{file}' tells no format; end the name of the file in .parquet, .csv, .arrow, .feather, .jsonl.\n"
    )


def test_a_folder_is_no_file(run: Run, stored: str) -> None:
    ended = run("export", "klines", ".", "--store", stored)
    assert (ended.code, ended.err) == (2, "'.' is a folder; name a file in it, such as rows.parquet.\n")


@pytest.mark.parametrize("format", READERS)
def test_ctrl_c_leaves_the_old_file_and_nothing_else(
    run: Run, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    file = tmp_path / f"trades.{format}"
    file.write_text("old")
    writer = FORMATS[f".{format}"]

    write = writer.write

    def and_ctrl_c(self: BatchWriter, batch: pl.DataFrame) -> None:
        write(self, batch)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(writer, "write", and_ctrl_c)
    ended = run("export", "trades", str(file), "--store", stored)
    assert ended == (130, "", f"Stopped; {file} was not written.\n")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [file.name]
