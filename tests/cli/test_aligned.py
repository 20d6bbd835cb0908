from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from marketlab.cli.aligned import aligned

MOMENT = datetime(2024, 8, 9, 0, 5, tzinfo=UTC)


def test_what_all_rows_share_stands_above() -> None:
    table = pl.DataFrame(
        {"exchange": ["binance"] * 2, "symbol": ["BTCUSDT", "ETHUSDT"], "interval": ["1m"] * 2, "open": [1.5, 20.0]}
    )
    assert list(aligned(table, 80)) == [
        "binance 1m",
        "symbol   open",
        "───────  ────",
        "BTCUSDT   1.5",
        "ETHUSDT  20.0",
    ]
    assert list(aligned(table.select("exchange"), 80, "-")) == ["exchange", "--------", "binance", "binance"]


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ((0, 60_000_000), ["00:05", "00:06"]),
        ((0, 1_000_000), ["00:05:00", "00:05:01"]),
        ((0, 1_500_000), ["00:05:00.000", "00:05:01.500"]),
        ((0, 1), ["00:05:00.000000", "00:05:00.000001"]),
        ((0, 86_400_000_000), ["2024-08-09 00:05", "2024-08-10 00:05"]),
    ],
)
def test_times_are_as_precise_as_they_have_to_be(steps: tuple[int, ...], shown: list[str]) -> None:
    table = pl.DataFrame({"time": [MOMENT + timedelta(microseconds=step) for step in steps]})
    heading, _, _, *rows = aligned(table, 80)
    assert rows == shown
    assert heading == ("times in UTC" if len(shown[0]) == 16 else "2024-08-09, times in UTC")


def test_numbers_are_whole_and_stand_below_one_another() -> None:
    table = pl.DataFrame({"size": [1e-8, 1234.5, None, -20.0, float("nan")], "count": [1, 22, None, 3, 4]})
    assert list(aligned(table, 80, "-"))[2:] == [
        "   0.00000001      1",
        "1234.50000000     22",
        "",
        " -20.00000000      3",
        "          NaN      4",
    ]


def test_of_a_book_the_best_levels_are_shown_and_how_many_follow() -> None:
    levels = [[{"price": 61608.0, "size": 0.5}, {"price": 61609.0, "size": 1.0}], [{"price": 1.0, "size": 2.0}], []]
    assert list(aligned(pl.DataFrame({"asks": levels, "verified": [True, False, None]}), 80, "-"))[2:] == [
        "61608 x 0.5 +1  true",
        "1 x 2           false",
        "",
    ]


@pytest.mark.parametrize(("other", "mark"), [("simulated", "simulated"), ("stream", "partly simulated")])
def test_what_is_simulated_is_marked_first(other: str, mark: str) -> None:
    table = pl.DataFrame({"symbol": ["BTCUSDT"] * 2, "price": [1.0, 2.0], "origin": ["simulated", other]})
    assert next(aligned(table, 80)) == f"BTCUSDT, {mark}"


def test_what_is_too_wide_stands_in_further_blocks_beside_the_time() -> None:
    times = [MOMENT, MOMENT + timedelta(minutes=1)]
    table = pl.DataFrame({"id": ["a", "b"], "time": times, "long": ["x" * 20, "y"], "wide": ["z" * 30, ""]})
    assert list(aligned(table, 29, "-")) == [
        "2024-08-09, times in UTC",
        "id  time",
        "--  -----",
        "a   00:05",
        "b   00:06",
        "",
        "time   long",
        "-----  --------------------",
        "00:05  xxxxxxxxxxxxxxxxxxxx",
        "00:06  y",
        "",
        "time   wide",
        "-----  ------------------------------",
        "00:05  zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        "00:06",
    ]


def test_a_time_that_does_not_fit_begins_the_next_block() -> None:
    table = pl.DataFrame({"long": ["x" * 20], "time": [MOMENT], "id": ["a"]})
    assert [line for line in aligned(table, 22, "-") if "00:05" in line or "x" in line] == ["x" * 20, "00:05  a"]
