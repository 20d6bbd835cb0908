import json
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def test_changes_and_statistics_for_machines(run: Run, stored: str) -> None:
    ended = run("analyze", "--store", stored, "--json", "--windows", "1m,5m", "--how", "absolute")
    found = json.loads(ended.out)
    bitcoin, ether = found["changes"]
    assert (bitcoin["symbol"], bitcoin["close"], bitcoin["change_1m"], bitcoin["change_5m"]) == (
        "BTCUSDT",
        110.0,
        1.0,
        5.0,
    )
    assert bitcoin["simulated"] is False
    assert (ether["symbol"], ether["change_1m"], ether["change_5m"], ether["simulated"]) == ("ETHUSDT", 1.0, None, True)
    summary, _ = found["summary"]
    assert (summary["bars"], summary["first"], summary["last"], summary["high"], summary["low"]) == (
        10,
        100,
        110,
        111,
        99,
    )
    assert summary["vwap"] == 100.0


def test_tables_for_people(run: Run, stored: str) -> None:
    ended = run("analyze", "btc-usdt", "--store", stored)
    assert ended.code == 0
    assert "change_5m" in ended.out
    assert "volatility" in ended.out
    assert "ETHUSDT" not in ended.out
    assert ended.err == "Changes are in percent.\n"


def test_simulated_symbols_are_marked_in_both_tables(run: Run, stored: str) -> None:
    ended = run("analyze", "--store", stored)
    assert [line.split()[0] for line in ended.out.splitlines() if line.endswith("simulated")] == [
        "binance",
        "ETHUSDT",
        "statistic",
    ]
    assert "ETHUSDT 1m simulated" in ended.out
    assert "origin" not in run("analyze", "BTCUSDT", "--store", stored).out


def test_one_symbol_in_several_spellings_counts_once(run: Run, stored: str) -> None:
    ended = run("analyze", "BTCUSDT", "btcusdt", "BTC/USDT", "BTCUSDT", "--store", stored, "--json")
    assert json.loads(ended.out) == json.loads(run("analyze", "BTCUSDT", "--store", stored, "--json").out)


def test_bars_can_be_joined_first(run: Run, stored: str) -> None:
    ended = run("analyze", "BTCUSDT", "--store", stored, "--resample", "5m", "--json")
    (summary,) = json.loads(ended.out)["summary"]
    assert (summary["interval"], summary["bars"], summary["last"]) == ("5m", 2, 110.0)


def test_longer_bars_that_are_not_full_are_left_out_and_counted(run: Run, stored: str) -> None:
    ended = run("analyze", "--store", stored, "--resample", "3m", "--json")
    bitcoin, ether = json.loads(ended.out)["summary"]
    assert (bitcoin["bars"], bitcoin["last"], ether["bars"]) == (3, 109.0, 1)
    assert ended.err == "Left out: 1 of 5 3m klines, which the stored ones do not fill.\n"
    assert "Left out" not in run("analyze", "BTCUSDT", "--store", stored, "--resample", "5m").err


def test_only_bars_that_are_not_full_are_no_bars(run: Run, stored: str) -> None:
    ended = run("analyze", "--store", stored, "--resample", "1h")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "Left out: 2 of 2 1h klines, which the stored ones do not fill.\n"


def test_windows_that_suit_the_bars_are_chosen(run: Run, stored: str) -> None:
    ended = run("analyze", "BTCUSDT", "--store", stored, "--resample", "5m", "--json")
    (change,) = json.loads(ended.out)["changes"]
    assert [name for name in change if name.startswith("change")] == [
        "change_5m",
        "change_1h",
        "change_24h",
        "change_7d",
    ]


def test_a_store_without_such_klines_says_so(run: Run, stored: str) -> None:
    ended = run("analyze", "--store", stored, "--interval", "1h")
    assert ended.code == 0
    assert ended.out == ""
    assert ended.err == "The store holds no closed 1h klines of that; marketlab status says what it holds.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("BTCUSDC",), "Did you mean BTCUSDT"),
        (("--windows", "1x"), "'1x' is not a window"),
        (("--how", "much"), "'much' is none of percent, absolute, log."),
        (("--resample", "7x"), "'7x' is not an interval"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, stored: str, arguments: tuple[str, ...], words: str) -> None:
    ended = run("analyze", "--store", stored, *arguments)
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1
