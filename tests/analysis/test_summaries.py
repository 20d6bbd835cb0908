import math
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.analysis import summary
from marketlab.errors import UsageError

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)
MINUTES_A_YEAR = 365 * 24 * 60


def candles_of(closes: list[float], symbol: str = "BTCUSDT", interval: str = "1m", minutes: int = 1) -> pl.DataFrame:
    times = [NOON + timedelta(minutes=minutes * number) for number in range(len(closes))]
    ends = [time + timedelta(minutes=minutes, microseconds=-1) for time in times]
    opens = [95.0, *closes[:-1]][: len(closes)]
    return pl.DataFrame(
        {
            "exchange": ["binance"] * len(closes),
            "symbol": [symbol] * len(closes),
            "interval": [interval] * len(closes),
            "open_time": times,
            "close_time": ends,
            "open": opens,
            "high": [close + 5 for close in closes],
            "low": [close - 7 for close in closes],
            "close": closes,
            "volume": [2.0 + number for number in range(len(closes))],
            "quote_volume": [150.0] * len(closes),
        },
        schema_overrides={"open_time": tables.TIME, "close_time": tables.TIME},
    )


def only(table: pl.DataFrame) -> dict[str, Any]:
    row = table.row(0, named=True)
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def test_prices_volume_and_change_by_hand(engine: Any) -> None:
    got = only(engine.run(summary, candles_of([100.0, 110.0, 99.0, 138.6])))
    assert got["start"] == NOON
    assert got["end"] == NOON + timedelta(minutes=4, microseconds=-1)
    assert got["bars"] == 4
    assert (got["first"], got["last"], got["high"], got["low"]) == (95.0, 138.6, 143.6, 92.0)
    assert got["change"] == pytest.approx(43.6)
    assert got["change_percent"] == pytest.approx(43.6 / 95 * 100)
    assert got["volume"] == 2 + 3 + 4 + 5
    assert got["vwap"] == pytest.approx(4 * 150 / 14)


def test_simple_returns_by_hand(engine: Any) -> None:
    # Returns 0.1, -0.1, 0.4: mean 4/30; off it by -1/30, -7/30, 8/30.
    got = only(engine.run(summary, candles_of([100.0, 110.0, 99.0, 138.6]), returns="simple"))
    assert got["mean_return"] == pytest.approx(4 / 30)
    assert got["std_return"] == pytest.approx(math.sqrt((1 + 49 + 64) / 900 / 2))
    assert got["volatility"] == pytest.approx(math.sqrt(114 / 900 / 2 * MINUTES_A_YEAR))
    assert got["skewness"] == pytest.approx((-1 - 343 + 512) / 27000 / 3 / (114 / 900 / 3) ** 1.5)
    assert got["kurtosis"] == pytest.approx((1 + 2401 + 4096) / 810000 / 3 / (114 / 900 / 3) ** 2 - 3)
    assert got["max_drawdown"] == pytest.approx(-0.1)


def test_log_returns_by_hand(engine: Any) -> None:
    got = only(engine.run(summary, candles_of([100.0, 110.0, 99.0])))
    one, two = math.log(1.1), math.log(0.9)
    assert got["mean_return"] == pytest.approx((one + two) / 2)
    assert got["std_return"] == pytest.approx((one - two) / math.sqrt(2))
    assert got["skewness"] == pytest.approx(0, abs=1e-12)
    assert got["kurtosis"] == pytest.approx(-2)


def test_volatility_is_annualised_by_the_length_of_the_bars(engine: Any) -> None:
    closes = [100.0, 110.0, 99.0, 120.0]
    minute = only(engine.run(summary, candles_of(closes)))
    hour = only(engine.run(summary, candles_of(closes, interval="1h", minutes=60)))
    assert minute["volatility"] / hour["volatility"] == pytest.approx(math.sqrt(60))
    assert hour["volatility"] == pytest.approx(hour["std_return"] * math.sqrt(365 * 24))


def test_one_sorted_row_for_each_exchange_symbol_and_interval(engine: Any) -> None:
    bars = pl.concat(
        [
            candles_of([5.0, 6.0], "ETHUSDT"),
            candles_of([100.0, 50.0, 75.0], "BTCUSDT"),
            candles_of([100.0], "BTCUSDT", "5m", 5),
        ]
    )
    got = engine.run(summary, bars.sample(fraction=1.0, shuffle=True, seed=1))
    assert got.select("symbol", "interval", "bars").rows() == [
        ("BTCUSDT", "1m", 3),
        ("BTCUSDT", "5m", 1),
        ("ETHUSDT", "1m", 2),
    ]
    assert got["last"].to_list() == [75.0, 100.0, 6.0]
    assert got["max_drawdown"].to_list() == [-0.5, 0.0, 0.0]


def test_too_few_bars_and_no_movement_give_nulls(engine: Any) -> None:
    one = only(engine.run(summary, candles_of([100.0])))
    assert (one["bars"], one["last"], one["max_drawdown"]) == (1, 100.0, 0.0)
    empty = ("mean_return", "std_return", "volatility", "skewness", "kurtosis")
    assert [one[name] for name in empty] == [None] * 5
    two = only(engine.run(summary, candles_of([100.0, 110.0])))
    assert two["mean_return"] == pytest.approx(math.log(1.1))
    assert [two[name] for name in empty[1:]] == [None] * 4
    flat = only(engine.run(summary, candles_of([100.0] * 5)))
    assert (flat["mean_return"], flat["std_return"], flat["volatility"]) == (0.0, 0.0, 0.0)
    assert (flat["skewness"], flat["kurtosis"]) == (None, None)


def test_without_volume_there_is_no_vwap(engine: Any) -> None:
    quiet = candles_of([100.0, 110.0]).with_columns(volume=pl.lit(0.0), quote_volume=pl.lit(0.0))
    assert only(engine.run(summary, quiet))["vwap"] is None


def test_without_quote_volume_vwap_weighs_typical_prices(engine: Any) -> None:
    bars = candles_of([100.0, 110.0]).drop("quote_volume", "exchange", "interval")
    got = only(engine.run(summary, bars))
    assert got["vwap"] == pytest.approx(((105 + 93 + 100) / 3 * 2 + (115 + 103 + 110) / 3 * 3) / 5)
    assert "exchange" not in got


def test_skewness_and_kurtosis_are_those_of_polars(in_memory: Any) -> None:
    closes = [100 + 7 * math.sin(number * number) for number in range(200)]
    got = only(in_memory.run(summary, candles_of(closes)))
    returns = pl.Series(closes).log().diff()
    assert got["skewness"] == pytest.approx(returns.skew(), rel=1e-9)
    assert got["kurtosis"] == pytest.approx(returns.kurtosis(), rel=1e-9)
    assert got["std_return"] == pytest.approx(returns.std(), rel=1e-12)


def test_no_bars_give_no_rows(engine: Any) -> None:
    assert engine.run(summary, candles_of([100.0]).clear()).height == 0


def test_mistakes_are_named(in_memory: Any) -> None:
    with pytest.raises(UsageError, match="'percent' are no returns; choose log or simple"):
        in_memory.run(summary, candles_of([1.0]), returns="percent")
    with pytest.raises(UsageError, match=r"summary needs the columns symbol, .* missing here: volume"):
        in_memory.run(summary, candles_of([1.0]).drop("volume"))
