import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_the_newest_rows_are_shown_as_a_table(run: Run, stored: str) -> None:
    ended = run("query", "trades", "BTCUSDT", "--store", stored, "--limit", "3")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "binance BTCUSDT, 2024-08-09, times in UTC",
        "trade_id  time      price  size  side  origin",
        "────────  ────────  ─────  ────  ────  ──────",
        "147       00:00:47  60047   0.5  buy   stream",
        "148       00:00:48  60048   0.5  buy   stream",
        "149       00:00:49  60049   0.5  buy   stream",
    ]


def test_a_table_shows_twenty_rows_unless_told_otherwise(run: Run, stored: str) -> None:
    count = [run("query", "trades", "--store", stored, *more).out.count("buy") for more in ([], ["--limit", "0"])]
    assert count == [20, 50]


def test_a_limit_may_be_above_what_any_store_holds(run: Run, stored: str) -> None:
    ended = run("query", "trades", "--store", stored, "--limit", "99999999999999999999")
    assert (ended.code, ended.out.count("buy")) == (0, 50)


def test_json_is_an_object_a_line_with_everything(run: Run, stored: str) -> None:
    ended = run("query", "trades", "btc/usdt", "--store", stored, "--json")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert [row["trade_id"] for row in rows] == [str(100 + number) for number in range(50)]
    assert rows[0]["time"] == "2024-08-09T00:00:00+00:00"
    assert rows[0]["price"] == 60_000.0


def test_csv_has_one_header(run: Run, stored: str) -> None:
    ended = run("query", "klines", "BTCUSDT", "--store", stored, "--csv", "--columns", "open_time,close")
    lines = ended.out.splitlines()
    assert lines[0] == "open_time,close,origin"
    assert lines[1] == "2024-08-09T00:00:00.000000+0000,101.0,stream"
    assert len(lines) == 11


def test_a_span_of_time_has_its_start_and_not_its_end(run: Run, stored: str) -> None:
    span = ("--start", "2024-08-09T00:01", "--end", "2024-08-09T00:03")
    ended = run("query", "klines", "BTCUSDT", "--interval", "1m", "--store", stored, "--json", *span)
    assert [json.loads(line)["open"] for line in ended.out.splitlines()] == [101.0, 102.0]


def test_simulated_rows_are_never_shown_without_their_mark(run: Run, stored: str) -> None:
    ended = run("query", "klines", "ETHUSDT", "--store", stored, "--columns", "close")
    assert ended.out.count("simulated") == 1 + 3
    assert "3 of these 3 rows are simulated." in ended.err
    assert "simulated" not in run("query", "klines", "BTCUSDT", "--store", stored).err


def test_a_store_without_such_rows_shows_an_empty_table(run: Run, stored: str) -> None:
    ended = run("query", "quotes", "--store", stored)
    assert ended.code == 0
    assert "bid_price" in ended.out
    assert ended.err == "No rows.\n"


@pytest.mark.parametrize("command", [("query", "klines"), ("analyze",), ("export", "klines", "x.csv")])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--store", "delta://none"), "/none yet; marketlab collect makes one, and --store names another."),
        (("--store", "memory://"), "memory:// ends with the program that filled it; name a store that stays"),
        (("--interval", "7x"), "'7x' is not an interval"),
        (("--start", "2024-08-10", "--end", "2024-08-09"), "Nothing lies between 2024-08-10 and 2024-08-09; "),
        (("--store", "delta://file"), "file"),
    ],
)
def test_a_question_without_an_answer_is_a_mistake(
    run: Run,
    stored: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    store = () if "--store" in arguments else ("--store", stored)
    ended = run(*command, *arguments, *store)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert ended.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trads",), "Unknown table 'trads'"),
        (("trades", "BTCUSDC"), "Did you mean BTCUSDT"),
        (("trades", "--columns", "prise"), "trades has no column 'prise'"),
        (("trades", "--columns", " ,"), "--columns names none of exchange, symbol, "),
        (("trades", "--start", "yesterday"), "'yesterday' is not a time"),
        (("trades", "--json", "--csv"), "Choose one of --json and --csv."),
        (("book_snapshots", "--csv"), "CSV has no lists, which bids, asks are"),
        (("trades", "--store", "oracle://x"), "No store answers to oracle://"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, stored: str, arguments: tuple[str, ...], words: str) -> None:
    store = () if "--store" in arguments else ("--store", stored)
    ended = run("query", *arguments, *store)
    assert ended.code == 2
    assert ended.out == ""
    assert words in ended.err
    assert ended.err.count("\n") == 1
