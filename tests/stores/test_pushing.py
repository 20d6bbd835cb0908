"""What of a filter the server does."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from marketlab.stores.pushing import bounded, instruments, narrowed
from marketlab.stores.selection import Selection

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
AFTER = NOON + timedelta(microseconds=1)
LATER = NOON + timedelta(hours=1)
KNOWN = pl.DataFrame({"market_id": [1, 2, 3], "exchange": ["a", "a", "b"], "symbol": ["X", "Y", "X"]})
time, symbol, exchange = pl.col("time"), pl.col("symbol"), pl.col("exchange")


@pytest.mark.parametrize(
    ("filtered", "ids"),
    [
        (None, [1, 2, 3]),
        (symbol == "X", [1, 3]),
        ((exchange == "a") & symbol.is_in(["X", "Z"]) & (time >= NOON), [1]),
        ((symbol == "X") | (exchange == "a"), [1, 2, 3]),
        ((symbol == "X") | (pl.col("price") > 1), [1, 2, 3]),
        (exchange + symbol == "bX", [3]),
    ],
)
def test_markets_that_a_filter_leaves(filtered: pl.Expr | None, ids: list[int]) -> None:
    assert instruments(filtered, KNOWN).get_column("market_id").to_list() == ids


@pytest.mark.parametrize(
    ("filtered", "start", "end"),
    [
        (None, None, None),
        (time >= NOON, NOON, None),
        (time > NOON, NOON, None),
        (pl.lit(NOON) <= time, NOON, None),
        (pl.lit(NOON) > time, None, AFTER),
        (time < NOON, None, AFTER),
        (time <= NOON, None, AFTER),
        (time.is_between(NOON, LATER), NOON, LATER + timedelta(microseconds=1)),
        ((time >= NOON) & (symbol == "X") & (time >= LATER) & (time < LATER), LATER, LATER + timedelta(microseconds=1)),
        ((time >= NOON) | (symbol == "X"), None, None),
        (~(time >= NOON), None, None),
        (time != NOON, None, None),
        (pl.col("received") >= NOON, None, None),
        (time + timedelta(hours=1) >= NOON, None, None),
    ],
)
def test_bounds_of_time_in_a_filter(filtered: pl.Expr | None, start: datetime | None, end: datetime | None) -> None:
    found = bounded(filtered, Selection.of("trades"))
    assert (found.start, found.end) == (start, end)


@pytest.mark.parametrize(
    ("filtered", "named"),
    [
        (None, (None, None)),
        (symbol == "X", (None, "X")),
        ((pl.lit("a") == exchange) & (symbol == "X") & (time >= NOON), ("a", "X")),
        ((symbol == "X") | (exchange == "a"), (None, None)),
        (symbol != "X", (None, None)),
        (symbol.is_in(["X"]), (None, None)),
        (symbol.str.to_uppercase() == "X", (None, None)),
        (symbol == exchange, (None, None)),
    ],
)
def test_the_one_instrument_that_a_filter_names(filtered: pl.Expr | None, named: tuple[str | None, str | None]) -> None:
    found = narrowed(filtered, Selection.of("trades"))
    assert (found.exchange, found.symbol) == named
