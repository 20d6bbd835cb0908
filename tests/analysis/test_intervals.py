from datetime import timedelta

import pytest

from marketlab.analysis.intervals import interval, window
from marketlab.errors import UsageError

BINANCE = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]


@pytest.mark.parametrize("text", BINANCE)
def test_every_interval_of_the_exchange_is_one(text: str) -> None:
    assert interval(text).text == text


def test_minutes_and_months_differ_by_case() -> None:
    assert interval("1m").length == timedelta(minutes=1)
    assert interval("1M").length is None


@pytest.mark.parametrize("text", ["", "m", "5", "0m", "-1m", "1.5h", "7m", "5h", "25h", "2w", "2M", "1y", "1 m", "1D"])
def test_what_has_no_agreed_boundaries_is_no_interval(text: str) -> None:
    with pytest.raises(UsageError, match="is not an interval; write seconds, minutes or hours that divide a day"):
        interval(text)


@pytest.mark.parametrize(
    ("big", "small", "fits"),
    [
        ("5m", "1m", True),
        ("1m", "1m", True),
        ("1m", "5m", False),
        ("15m", "10m", False),
        ("1w", "1d", True),
        ("1w", "3d", False),
        ("1M", "1d", True),
        ("1M", "1h", True),
        ("1M", "3d", False),
        ("1M", "1w", False),
    ],
)
def test_bars_fill_a_longer_one_only_without_a_rest(big: str, small: str, fits: bool) -> None:
    length = interval(small).length
    assert length is not None
    assert interval(big).holds(length) is fits


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", timedelta(seconds=30)),
        ("7m", timedelta(minutes=7)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("4w", timedelta(days=28)),
    ],
)
def test_windows_are_any_count_of_fixed_units(text: str, length: timedelta) -> None:
    assert window(text) == length


@pytest.mark.parametrize("text", ["1M", "1y", "h", "0h", "24", "1H", ""])
def test_what_has_no_fixed_length_is_no_window(text: str) -> None:
    with pytest.raises(UsageError, match="is not a window; write a number and s, m, h, d or w"):
        window(text)
