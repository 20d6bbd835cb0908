import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
import pytest

from marketlab import tables
from marketlab.charts import candles
from marketlab.errors import UsageError
from marketlab.records import Kline

pytest.importorskip("plotly")

FRIDAY = 1_723_161_600_000_000  # 2024-08-09 00:00 UTC
MINUTE = 60_000_000


def minute_bar(number: int, open: float, close: float, **changes: Any) -> Kline:
    start = FRIDAY + number * MINUTE
    base = Kline(
        *(
            "binance",
            "BTCUSDT",
            "1m",
            start,
            start + MINUTE - 1,
            open,
            max(open, close) + 1,
            min(open, close) - 1,
            close,
        ),
        volume=2.0,
        quote_volume=2 * open,
        trade_count=3,
        taker_buy_volume=1.0,
        taker_buy_quote_volume=open,
        closed=True,
        received=start + MINUTE,
        origin="stream",
    )
    return msgspec.structs.replace(base, **changes)


BARS = [minute_bar(0, 100.0, 101.5), minute_bar(1, 101.5, 99.25), minute_bar(2, 99.25, 103.0)]


def drawn(bars: list[Kline], **options: Any) -> dict[str, Any]:
    figure: dict[str, Any] = json.loads(candles(tables.to_table("klines", bars), **options).to_json())
    return figure


def test_candles_stand_over_their_volume_in_the_lower_fifth() -> None:
    figure = drawn(BARS)
    price, volume = figure["data"]
    assert (price["type"], volume["type"], volume["yaxis"]) == ("candlestick", "bar", "y2")
    assert price["x"] == volume["x"] == ["2024-08-09T00:00:00", "2024-08-09T00:01:00", "2024-08-09T00:02:00"]
    assert (price["open"], price["close"]) == ([100.0, 101.5, 99.25], [101.5, 99.25, 103.0])
    assert (price["high"], price["low"]) == ([102.5, 102.5, 104.0], [99.0, 98.25, 98.25])
    assert volume["y"] == [2.0, 2.0, 2.0]
    assert figure["layout"]["yaxis2"]["domain"] == [0, 0.2]
    assert figure["layout"]["yaxis"]["domain"][0] > 0.2
    assert figure["layout"]["xaxis"]["rangeslider"]["visible"] is False


@pytest.mark.parametrize(("palette", "up", "down"), [("default", "#26a69a", "#ef5350"), ("cvd", "#0072B2", "#D55E00")])
def test_direction_shows_in_colour_and_in_lightness(palette: str, up: str, down: str) -> None:
    price, volume = drawn(BARS, palette=palette)["data"]
    assert (price["increasing"]["line"]["color"], price["decreasing"]["line"]["color"]) == (up, down)
    assert price["decreasing"]["fillcolor"] == down
    assert price["increasing"]["fillcolor"].endswith(",0.5)")
    colours = volume["marker"]["color"]
    assert colours[0] == colours[2] == price["increasing"]["fillcolor"]
    assert colours[1] == down


def test_the_header_says_what_is_shown_and_where_it_came_from() -> None:
    assert drawn(BARS)["layout"]["title"]["text"] == "binance · BTCUSDT · 1m · stream"
    mixed = [msgspec.structs.replace(BARS[0], origin="backfill"), *BARS[1:]]
    assert drawn(mixed)["layout"]["title"]["text"] == "binance · BTCUSDT · 1m · backfill, stream"


def test_simulated_bars_are_always_marked() -> None:
    marked = [msgspec.structs.replace(BARS[0], origin="simulated"), *BARS[1:]]
    assert drawn(marked)["layout"]["title"]["text"] == "binance · BTCUSDT · 1m · <b>simulated</b>, stream"


@pytest.mark.parametrize(
    ("close", "text"),
    [
        (103.0, "▲ +3.00 % since 2024-08-09 00:00 UTC"),
        (99.0, "▼ -1.00 % since 2024-08-09 00:00 UTC"),
        (100.0, "■ +0.00 % since 2024-08-09 00:00 UTC"),
    ],
)
def test_last_price_and_change_are_written_out(close: float, text: str) -> None:
    layout = drawn([minute_bar(0, 100.0, 1061.25), minute_bar(1, 1061.25, close)])["layout"]
    price, change = layout["annotations"]
    assert (price["text"], price["y"]) == (f"<b>{close:,.2f}</b>", close)
    assert change["text"] == text
    assert layout["yaxis"]["tickformat"] == ",.2f"
    assert (layout["shapes"][0]["y0"], layout["shapes"][0]["y1"]) == (close, close)


def test_missing_bars_are_marked_where_they_are_missing() -> None:
    assert [shape.get("name") for shape in drawn(BARS)["layout"]["shapes"]] == [None]
    shapes = drawn([BARS[0], BARS[1], minute_bar(5, 100.0, 100.0)])["layout"]["shapes"]
    assert [(shape["name"], shape["x0"]) for shape in shapes[1:]] == [("missing", "2024-08-09T00:05:00")]


def test_the_same_bars_give_the_same_figure_in_any_order_and_from_any_table() -> None:
    expected = drawn(BARS)
    table = tables.to_table("klines", BARS[::-1])
    assert drawn(BARS[::-1]) == expected
    assert json.loads(candles(table.lazy()).to_json()) == expected
    pytest.importorskip("pyarrow")
    assert json.loads(candles(table.to_pandas()).to_json()) == expected


def test_the_figure_does_not_depend_on_the_notebooks_template() -> None:
    import plotly.io

    before = candles(tables.to_table("klines", BARS)).to_json()
    usual = plotly.io.templates.default
    plotly.io.templates.default = "plotly_dark"
    try:
        assert candles(tables.to_table("klines", BARS)).to_json() == before
    finally:
        plotly.io.templates.default = usual


def test_times_of_another_zone_or_none_are_shown_in_utc() -> None:
    table = tables.to_table("klines", BARS)
    times = pl.col("open_time", "close_time")
    expected = json.loads(candles(table).to_json())["data"][0]["x"]
    for moved in (times.dt.convert_time_zone("Asia/Tokyo"), times.dt.replace_time_zone(None)):
        assert json.loads(candles(table.with_columns(moved)).to_json())["data"][0]["x"] == expected
    assert expected[0] == datetime.fromtimestamp(FRIDAY // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def test_only_prices_and_volume_are_needed() -> None:
    bare = tables.to_table("klines", BARS).drop("exchange", "interval", "origin")
    assert json.loads(candles(bare).to_json())["layout"]["title"]["text"] == "BTCUSDT"


def test_without_bars_the_figure_says_so() -> None:
    figure = drawn([])
    assert figure["data"] == []
    assert figure["layout"]["annotations"][0]["text"].startswith("No klines to draw: choose a range")
    assert figure["layout"]["xaxis"]["visible"] is False


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="There is no palette 'dark'; choose default or cvd"):
        drawn(BARS, palette="dark")
    with pytest.raises(UsageError, match="A chart shows one symbol; choose one of BTCUSDT, ETHUSDT"):
        drawn([*BARS, minute_bar(0, 1.0, 1.0, symbol="ETHUSDT")])
    with pytest.raises(UsageError, match="A chart shows one interval; choose one of 1m, 5m"):
        drawn([*BARS, minute_bar(0, 1.0, 1.0, interval="5m")])
    with pytest.raises(UsageError, match="missing here: volume"):
        candles(tables.to_table("klines", BARS).drop("volume"))


@pytest.mark.parametrize("column", ["symbol", "origin", "open_time", "close_time", "open", "close", "volume"])
def test_a_missing_value_is_named(column: str) -> None:
    table = tables.to_table("klines", BARS)
    holed = table.with_columns(pl.when(pl.int_range(pl.len()) != 1).then(pl.col(column)).alias(column))
    with pytest.raises(UsageError, match=rf"^Every bar has to have {column}; 1 of 3 have none\.$"):
        candles(holed)


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_price_is_refused(price: float) -> None:
    with pytest.raises(UsageError, match=r"^A price is a number above 0; open is not, in at least one bar\.$"):
        drawn([msgspec.structs.replace(BARS[0], open=price), *BARS[1:]])


@pytest.mark.parametrize("height", [-5, 0, 99])
def test_a_height_that_shows_nothing_is_refused(height: int) -> None:
    with pytest.raises(UsageError, match=f"^A chart cannot be {height} pixels high; the least is 100\\.$"):
        drawn(BARS, height=height)


def test_a_bar_that_is_there_twice_is_drawn_once_the_fuller_one() -> None:
    emptier = msgspec.structs.replace(BARS[1], volume=1.0, close=100.0)
    assert drawn([*BARS, emptier, BARS[0]]) == drawn([emptier, *BARS]) == drawn(BARS)


def test_a_single_bar_has_room_of_its_own_length() -> None:
    axis = drawn(BARS[:1])["layout"]["xaxis"]
    assert axis["range"] == ["2024-08-08T23:59:00.000001", "2024-08-09T00:01:59.999998"]
    assert "range" not in drawn(BARS)["layout"]["xaxis"]


def test_small_prices_have_labels_that_differ_and_room_for_them() -> None:
    small = [
        minute_bar(0, 1e-5, 1e-5, high=1.0002e-5, low=1e-5),
        minute_bar(1, 1e-5, 1.0001e-5, high=1.0002e-5, low=1e-5),
    ]
    layout = drawn(small)["layout"]
    assert layout["yaxis"]["tickformat"] == ",.10f"
    assert layout["margin"]["r"] == 26 + 7 * len("0.0000100020")
    assert drawn(BARS)["layout"]["margin"]["r"] == 84
    assert drawn([minute_bar(0, 5.0, 5.0, high=5.0, low=5.0)])["layout"]["yaxis"]["tickformat"] == ",.0f"


def test_without_plotly_there_is_its_install_line() -> None:
    program = (
        "import sys; sys.modules['plotly'] = None\n"
        "from marketlab.charts import candles\n"
        "from marketlab.errors import MissingDependency\n"
        "try: candles([])\n"
        "except MissingDependency as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Drawing a chart needs the package plotly: run pip install 'marketlab[notebook]'."
