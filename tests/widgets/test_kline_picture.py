import xml.etree.ElementTree as ET

import msgspec
import pytest

from marketlab.widgets.kline_bars import Anchor, Bars
from marketlab.widgets.kline_overlays import parse
from marketlab.widgets.kline_picture import KlinePicture, Look

from .klines import MINUTE, kline

SVG = "{http://www.w3.org/2000/svg}"
LOOK = Look((parse("sma 3"), parse("vwap")), "default", 2, 5)


def bars(*closes: float | None, size: int = 500) -> Bars:
    made = Bars("1m", MINUTE, size)
    for minute, close in enumerate(closes):
        if close is not None:
            made.add(kline(minute, close))
    return made


def svg(made: Bars, look: Look = LOOK, origin: str = "simulated") -> str:
    picture = KlinePicture("binance", "BTCUSDT", "1m", origin, look)
    return picture.svg(made.rows(), made.anchor() if made.last >= 0 else Anchor(0, 0.0, 0.0), made.interval_us)


def words(drawn: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(drawn).iter(f"{SVG}text")]


def test_it_says_what_it_shows() -> None:
    told = words(svg(bars(61_234.5, 61_300.0)))
    assert told[0] == "binance · BTCUSDT · 1m · ● simulated"
    assert told[1] == "61\u2009300.00\u2002▲ +0.11\u2009%"
    assert told[2].startswith("2024-08-09 00:01 UTC\u2002O 61\u2009299.00\u2002H 61\u2009302.00")
    assert {"SMA 3", "VWAP"} <= set(told)


def test_without_bars_it_says_so() -> None:
    told = words(svg(bars(), origin=""))
    assert told == ["binance · BTCUSDT · 1m · ● waiting", "", "No klines of BTCUSDT yet: wait for the first record."]


def test_the_same_bars_give_the_same_text_and_others_another() -> None:
    assert svg(bars(11.0, 12.0, 13.0)) == svg(bars(11.0, 12.0, 13.0))
    assert svg(bars(11.0, 12.0, 13.0)) != svg(bars(11.0, 12.0, 14.0))


def test_the_newest_bars_are_drawn_each_with_its_volume_and_in_its_colour() -> None:
    drawn = svg(bars(*([100.0] * 300)))
    assert drawn.count('fill="#26a69a" fill-opacity="0.35"') == 120
    assert "#0072B2" in svg(bars(100.0), Look(palette="cvd"))


def test_missing_bars_are_a_band() -> None:
    assert '"#e69f00" fill-opacity="0.16"' in svg(bars(11.0, None, 13.0))
    assert '"#e69f00" fill-opacity="0.16"' not in svg(bars(11.0, 12.0, 13.0))


def test_one_bar_whose_price_never_moved_can_be_drawn() -> None:
    flat = Bars("1m", MINUTE, 10)
    quiet = kline(0, 0.0001, 0, volume=0.0)
    flat.add(msgspec.structs.replace(quiet, open=0.0001, high=0.0001, low=0.0001))
    assert words(svg(flat, Look(price_decimals=4)))[1].startswith("0.0001")


@pytest.mark.parametrize("price", [61_471.22, 1e-8, 0.1, 3.3e9])
@pytest.mark.parametrize("off", [0.0, 1e-16, 1e-12, 1e-9, 1e-4])
def test_one_price_is_a_picture_too(price: float, off: float) -> None:
    # The day's average of one price is that price but for what floats round off, which is no range for an axis.
    flat = msgspec.structs.replace(
        kline(0, price), open=price, high=price, low=price, volume=1.0, quote_volume=price * (1 + off)
    )
    made = Bars("1m", MINUTE, 500)
    made.add(flat)
    assert svg(made).count("<polyline") < 60
