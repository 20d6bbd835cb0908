import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import StoreUnavailable, WriteRejected
from marketlab.stores.contract import Commit
from marketlab.stores.delta import DeltaStore
from marketlab.stores.open import open_store

Run = Callable[..., Any]


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The URL of a store that is not there yet."""
    return f"delta://{tmp_path / 'other'}"


def expect_same(one: str, another: str) -> None:
    with open_store(one) as giving, open_store(another) as taking:
        for name in tables.TABLES:
            assert taking.read(name, include_open=True).equals(giving.read(name, include_open=True)), name


def test_everything_is_copied_and_counted_on_both_sides(run: Run, stored: str, other: str) -> None:
    ended = run("copy", stored, other)
    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()] == [
        ["trades", "50", "rows", "50", "written"],
        ["klines", "13", "rows", "13", "written"],
        ["book_snapshots", "1", "rows", "1", "written"],
    ]
    assert f"64 rows written to {other} in " in ended.err
    assert "3 of these are simulated, and marked so there too." in ended.err
    expect_same(stored, other)


def test_the_same_again_writes_nothing(run: Run, stored: str, other: str) -> None:
    first = json.loads(run("copy", stored, other, "--json").out)
    again = json.loads(run("copy", stored, other, "--json").out)
    assert (first["written"], first["rows"], first["lacking"], first["ended"]) == (64, 64, 0, "complete")
    assert (again["written"], again["rows"], again["parts"]) == (0, 64, first["parts"])
    assert first["parts"][1] == {
        "table": "klines", "exchange": "binance", "symbol": "BTCUSDT", "interval": "1m", "rows": 10, "lacking": 0,
    }  # fmt: skip


def test_parts_are_chosen(run: Run, stored: str, other: str) -> None:
    chosen = ("--table", "trades", "--table", "klines", "--symbol", "btc/usdt", "--start", "2024-08-09T00:00:30")
    assert run("copy", stored, other, *chosen, "--end", "2024-08-09T00:02").code == 0
    with open_store(other) as taking:
        assert taking.read("trades").height == 20
        assert taking.read("klines").height == 1
        assert taking.read("book_snapshots").is_empty()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("STORED", "STORED"), "no store is copied onto itself"),
        (("delta://none-here", "OTHER"), "FROM is the store to copy"),
        (("memory://", "OTHER"), "memory:// ends with the program"),
        (("STORED", "memory://"), "memory:// ends with the program"),
        (("STORED", "redis://localhost/0"), "redis:// is a queue, and a store is wanted here"),
        (("STORED", "OTHER", "--table", "trade"), "Unknown table 'trade'"),
        (("STORED", "OTHER", "--symbol", "BTCUSD"), "Did you mean BTCUSDT"),
        (("STORED", "OTHER", "--start", "2024-08-10", "--end", "2024-08-09"), "--start has to be before --end"),
    ],
)
def test_mistakes_are_one_sentence(
    run: Run, stored: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run("copy", *({"STORED": stored, "OTHER": other}.get(word, word) for word in arguments))
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_rows_that_the_target_refuses_are_named_and_counted(
    run: Run, stored: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = DeltaStore.write

    def choosy(self: DeltaStore, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        if name == "trades" and "107" in table.get_column("trade_id"):
            raise WriteRejected("It does not like 107.")
        return write(self, name, table, commit)

    monkeypatch.setattr(DeltaStore, "write", choosy)
    ended = run("copy", stored, other)
    assert ended.code == 3
    assert "refused: trades exchange binance, symbol BTCUSDT, trade_id 107: It does not like 107.\n" in ended.err
    assert ended.err.endswith("lacks rows that the source has: trades of BTCUSDT on binance 1 of 50.\n")
    monkeypatch.setattr(DeltaStore, "write", write)
    assert json.loads(run("copy", stored, other, "--json").out)["written"] == 1
    expect_same(stored, other)


def test_ctrl_c_says_how_far_it_got_and_the_same_command_goes_on(
    run: Run, stored: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = DeltaStore.write

    def and_ctrl_c(self: DeltaStore, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        signal.raise_signal(signal.SIGINT)
        return write(self, name, table, commit)

    monkeypatch.setattr(DeltaStore, "write", and_ctrl_c)
    ended = run("copy", stored, other)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err == "Stopped. Of about 64 rows 50 are seen to; the same command goes on there.\n"
    monkeypatch.setattr(DeltaStore, "write", write)
    assert run("copy", stored, other).code == 0
    expect_same(stored, other)


def test_ctrl_c_ends_the_wait_for_a_store_that_is_away(
    run: Run, stored: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: DeltaStore, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        signal.raise_signal(signal.SIGTERM)
        raise StoreUnavailable("It is away.", retry_after=600.0)

    monkeypatch.setattr(DeltaStore, "write", away)
    ended = run("copy", stored, other)
    assert ended.code == 130
    assert "Of about 64 rows 0 are seen to" in ended.err


def test_a_terminal_sees_a_bar_with_rows_and_the_output_stays_clean(stored: str, other: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "marketlab", "copy", stored, other, "--json"],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    os.close(theirs)
    shown = b""
    # What a terminal has to say ends with an error once the other end is gone.
    while True:
        try:
            shown += os.read(ours, 65_536)
        except OSError:
            break
    os.close(ours)
    assert json.loads(done.stdout)["rows"] == 64
    assert b"of 64 rows" in shown
