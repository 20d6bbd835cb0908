import math
import random

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
    assert values("vwap", made) == [1, None, 3, 4, 5]


def test_the_volume_weighted_average_by_hand_begins_with_the_day() -> None:
    bars = ((10, 1.0), (20, 3.0), (30, 1.0))
    assert values("vwap", rows(*bars)) == [10, 17.5, 20]
    before = Anchor(START, 30.0, 1.0)
    assert values("vwap", rows(*bars, start=START + 5 * MINUTE), before) == [20, 20, 130 / 6]
    assert values("vwap", rows(*bars, start=START + DAY - MINUTE), before) == [20, 20, 22.5]
    assert values("vwap", rows((10, 0.0), (20, 1.0))) == [None, 20]
    assert values("vwap", rows(*bars), interval_us=DAY) == [None, None, None]


def test_behind_a_missing_bar_the_volume_weighted_average_begins_anew() -> None:
    assert values("vwap", rows((100, 1), None, (200, 1), (300, 1))) == [100, None, 200, 250]
    before = Anchor(START, 30.0, 1.0)
    assert values("vwap", rows(None, (200, 1), start=START + 5 * MINUTE), before) == [None, 200]
    assert values("vwap", rows((100, 1), None)) == [100, None]


@pytest.mark.parametrize("text", ["sma 1", "sma 7", "sma 60", "ema 7", "vwap"])
def test_the_newest_values_are_those_of_the_whole_line(text: str) -> None:
    chance = random.Random(text)
    made = rows(*(None if chance.random() < 0.02 else (chance.uniform(90, 110), chance.random()) for _ in range(300)))
    whole = values(text, made)
    for newest in (1, 7, 120, 299, 300, 500):
        told = line(parse(text), made, Anchor(START, 0.0, 0.0), MINUTE, newest)
        assert told == whole[-newest:]
    assert line(parse(text), [], Anchor(START, 0.0, 0.0), MINUTE, 120) == []
    assert line(parse("vwap"), made, Anchor(START, 0.0, 0.0), DAY, 7) == [None] * 7
