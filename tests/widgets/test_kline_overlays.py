import math

import pytest

from marketlab.errors import UsageError
from marketlab.widgets.kline_bars import MISSING, Anchor, Row
from marketlab.widgets.kline_overlays import Overlay, line, parse

from .klines import MINUTE, START

DAY = 86_400_000_000


def rows(*bars: tuple[float, float] | None, start: int = START) -> list[Row]:
    made: list[Row] = []
    for at, bar in enumerate(bars):
        time = start + at * MINUTE
        close, volume = bar or (math.nan, math.nan)
        made.append((time, close, close, close, close, volume, close * volume, 1, 0 if bar else MISSING))
    return made


def values(text: str, made: list[Row], anchor: Anchor | None = None, interval_us: int = MINUTE) -> list[float | None]:
    return line(parse(text), made, anchor or Anchor(int(made[0][0]), 0.0, 0.0), interval_us)


def test_overlays_as_people_write_them() -> None:
    assert parse("sma 20") == parse(" SMA20 ") == parse("sma(20)") == Overlay("sma", 20)
    assert (str(parse("Ema 50")), str(parse("VWAP"))) == ("ema 50", "vwap")


@pytest.mark.parametrize("text", ["rsi 14", "sma", "sma 0", "sma -3", "ema 1001", "sma 2.5", "", "vwap 5"])
def test_what_is_none_is_refused_with_the_forms_that_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="write 'sma 20' or 'ema 50' with a number of bars up to 1,000, or 'vwap'"):
        parse(text)


def test_averages_by_hand() -> None:
    made = rows((1, 1), (2, 1), (6, 1), (10, 1), (2, 1))
    assert values("sma 3", made) == [None, None, 3, 6, 6]
    assert values("ema 3", made) == [None, None, 3, 6.5, 4.25]


def test_a_missing_bar_has_no_value_nor_has_a_simple_average_that_needs_it() -> None:
    made = rows((1, 1), None, (3, 1), (5, 1), (7, 1))
    assert values("sma 2", made) == [None, None, None, 4, 6]
    assert values("ema 2", made) == [None, None, 2, 4, 6]
    assert values("vwap", made) == [1, None, 2, 3, 4]


def test_the_volume_weighted_average_by_hand_begins_with_the_day() -> None:
    bars = ((10, 1.0), (20, 3.0), (30, 1.0))
    assert values("vwap", rows(*bars)) == [10, 17.5, 20]
    before = Anchor(START, 30.0, 1.0)
    assert values("vwap", rows(*bars, start=START + 5 * MINUTE), before) == [20, 20, 130 / 6]
    assert values("vwap", rows(*bars, start=START + DAY - MINUTE), before) == [20, 20, 22.5]
    assert values("vwap", rows((10, 0.0), (20, 1.0))) == [None, 20]
    assert values("vwap", rows(*bars), interval_us=DAY) == [None, None, None]
