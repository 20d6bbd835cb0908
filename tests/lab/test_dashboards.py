import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest

pytest.importorskip("anywidget")

import ipywidgets

import marketlab as ml
from marketlab.errors import UnknownSymbol, UsageError
from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.lab.dashboards import Dashboard
from marketlab.streams.live import LiveFeed
from marketlab.widgets.pump import running_pumps

from ..widgets.screens import until

SYMBOLS = ["BTCUSDT", "ETHUSDT", "DOGEUSDT"]


@pytest.fixture
def feed() -> Iterator[LiveFeed]:
    with (
        LocalExchange(Simulation(SYMBOLS), speed=20.0, start_after=0.1) as local,
        LiveFeed(SYMBOLS, ["trade", "quote"], ws_url=local.ws_url, rest_url=local.rest_url) as running,
    ):
        running.wait(trades=10)
        yield running


@pytest.fixture
def dashboard(feed: LiveFeed) -> Iterator[Dashboard]:
    made = ml.dashboard(feed, SYMBOLS)
    yield made
    made.close()


def control(dashboard: Dashboard, name: str) -> Any:
    (found,) = [each for each in dashboard.children[1].children if getattr(each, "description", "") == name]
    return found


def symbols(dashboard: Dashboard) -> set[str]:
    parts = (dashboard.chart.symbol, dashboard.ladder.symbol, dashboard.trades.symbol)
    return {*parts, dashboard.watch.selected, dashboard.symbol, control(dashboard, "Symbol").value}


def choose_in_the_list(dashboard: Dashboard) -> None:
    dashboard.watch.selected = "ETHUSDT"


def choose_by_the_control(dashboard: Dashboard) -> None:
    control(dashboard, "Symbol").value = "ETHUSDT"


def choose_in_python(dashboard: Dashboard) -> None:
    dashboard.symbol = "eth/usdt"


@pytest.mark.parametrize("choose", [choose_in_the_list, choose_by_the_control, choose_in_python])
def test_choosing_a_symbol_anywhere_shows_it_everywhere(
    dashboard: Dashboard, choose: Callable[[Dashboard], None]
) -> None:
    assert symbols(dashboard) == {"BTCUSDT"}
    choose(dashboard)
    assert symbols(dashboard) == {"ETHUSDT"}
    until(lambda: ">ETHUSDT<" in dashboard.picture().svg and "ETHUSDT ·" in dashboard.trades.picture().svg)


def test_the_controls_say_what_the_parts_do(dashboard: Dashboard) -> None:
    dashboard.children[1].children[1].value = "5m"
    assert dashboard.chart.interval == dashboard.interval == "5m"
    control(dashboard, "Depth").value = 7
    assert dashboard.ladder.depth == dashboard.depth == 7
    control(dashboard, "Group").value = 10.0
    assert dashboard.ladder.group == dashboard.group == 10.0
    control(dashboard, "Pause").value = True
    assert all(part.paused for part in dashboard.parts)
    dashboard.paused = False
    assert not any(part.paused for part in dashboard.parts)
    assert control(dashboard, "Pause").value is False


def test_price_steps_are_those_of_the_symbol(dashboard: Dashboard) -> None:
    group = control(dashboard, "Group")
    series = [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    assert [step for _, step in group.options] == series
    heard: list[float] = []
    dashboard.ladder.observe(lambda change: heard.append(change["new"]), "group")
    keyed = [*series[1:], 200.0, 50.0, 0.07, 0.0]
    for step in keyed:
        dashboard.ladder.set_state({"group": step})  # as its own keys say it
        assert (dashboard.group, dashboard.ladder.group, group.value) == (step, step, step)
        assert group.label == (f"{step:g}" if step else "every level")
    assert heard == keyed
    assert [step for _, step in group.options] == series
    dashboard.symbol = "DOGEUSDT"
    assert (dashboard.group, dashboard.ladder.group, group.value) == (0.0, 0.0, 0.0)
    assert [step for _, step in group.options] == [
        *(0.0, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005),
        *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
    ]
    assert group.options[1][0] == "0.00002"


def test_another_list_of_symbols_is_offered(dashboard: Dashboard) -> None:
    dashboard.watch.symbols = ["DOGEUSDT", "ETHUSDT"]
    assert list(control(dashboard, "Symbol").options) == ["DOGEUSDT", "ETHUSDT"]
    assert symbols(dashboard) == {"DOGEUSDT"}
    with pytest.raises(UsageError, match="BTCUSDT is not in the watchlist; there are DOGEUSDT, ETHUSDT"):
        dashboard.symbol = "BTCUSDT"
    assert symbols(dashboard) == {"DOGEUSDT"}


def test_the_selected_symbol_stays_where_it_is_still_listed(dashboard: Dashboard) -> None:
    dashboard.symbol = "ETHUSDT"
    dashboard.interval, dashboard.group = "5m", 0.5
    dashboard.watch.symbols = ["BTCUSDT", "ETHUSDT"]
    assert symbols(dashboard) == {"ETHUSDT"}
    assert (dashboard.interval, dashboard.group) == ("5m", 0.5)
    control(dashboard, "Symbol").value = "BTCUSDT"
    assert symbols(dashboard) == {"BTCUSDT"}


def test_an_interval_without_a_button_gets_one(dashboard: Dashboard) -> None:
    buttons = dashboard.children[1].children[1]
    assert "3m" not in buttons.options
    dashboard.interval = "3m"
    assert (dashboard.interval, dashboard.chart.interval, buttons.value) == ("3m", "3m", "3m")
    dashboard.chart.interval = "1h"
    assert (dashboard.interval, buttons.value) == ("1h", "1h")


def test_more_levels_than_the_slider_had_are_shown_by_it(dashboard: Dashboard) -> None:
    slider = control(dashboard, "Depth")
    dashboard.depth = 150
    assert (dashboard.ladder.depth, slider.value, slider.max) == (150, 150, 150)
    slider.value = 20
    dashboard.ladder.depth = 200
    assert (dashboard.depth, slider.value, slider.max) == (200, 200, 200)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("interval", "7m", "binance has no klines of '7m'; it offers 1s,"),
        ("depth", 500, "depth' trait .* should not be greater than 200"),
        ("depth", 0, "depth' trait .* should not be less than 1"),
        ("group", 0.015, "group is 0.015; give a multiple of 0.01, the tick of BTCUSDT"),
    ],
)
def test_what_a_part_refuses_changes_nothing(dashboard: Dashboard, name: str, value: Any, words: str) -> None:
    def state() -> list[Any]:
        controls = [each.value for each in dashboard.children[1].children]
        return [*controls, dashboard.interval, dashboard.depth, dashboard.group, dashboard.chart.interval, *ladder()]

    def ladder() -> tuple[int, float]:
        return dashboard.ladder.depth, dashboard.ladder.group

    before = state()
    with pytest.raises(UsageError, match=words):
        setattr(dashboard, name, value)
    assert state() == before


def test_nothing_of_closed_dashboards_stays(feed: LiveFeed) -> None:
    def closed() -> "weakref.ref[Dashboard]":
        made = ml.dashboard(feed, SYMBOLS)
        made.close()
        return weakref.ref(made)

    closed()
    told = len(feed._ended._calls)
    gone = [closed() for _ in range(3)]
    assert len(feed._ended._calls) == told

    def collected() -> bool:
        gc.collect()
        return all(ref() is None for ref in gone)

    until(collected)


def test_closing_ends_every_part_and_control(feed: LiveFeed) -> None:
    before = set(ipywidgets.widget._instances)
    dashboard = ml.dashboard(feed, SYMBOLS, interval="15m", palette="cvd")
    until(lambda: running_pumps() == 1)
    dashboard.close()
    dashboard.close()
    until(lambda: running_pumps() == 0)
    assert set(ipywidgets.widget._instances) == before


def test_two_of_a_program_are_two_and_each_is_closed_with_any_of_its_parts(feed: LiveFeed) -> None:
    first = ml.dashboard(feed, SYMBOLS)
    second = ml.dashboard(feed, SYMBOLS)
    assert all(part.comm is not None for part in (*first.parts, *second.parts))
    first.ladder.close()  # as a cell that is run again does
    assert first.comm is None
    assert all(part.comm is None for part in first.parts)
    assert all(part.comm is not None for part in second.parts)
    second.close()
    until(lambda: running_pumps() == 0)


def test_its_picture_holds_all_parts(dashboard: Dashboard) -> None:
    assert repr(dashboard) == "<Dashboard of BTCUSDT, ETHUSDT, DOGEUSDT on binance>"
    until(lambda: dashboard.picture().svg.count("● simulated") == 4)
    bundle = dashboard._bundle()
    assert bundle["text/plain"] == repr(dashboard)
    picture = ET.fromstring(bundle["image/svg+xml"])
    inner = picture.findall("{http://www.w3.org/2000/svg}svg")
    assert len(inner) == 4
    width, height = map(float, picture.attrib["viewBox"].split()[2:])
    for part in inner:
        x, y, wide, high = (float(part.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + wide <= width
        assert 0 <= y <= y + high <= height


def test_when_the_feed_stops_the_last_picture_says_so(feed: LiveFeed, dashboard: Dashboard) -> None:
    until(lambda: dashboard.picture().svg.count("● simulated") == 4)
    feed.stop()
    assert dashboard.picture().svg.count("● simulated · stopped") == 4
    with pytest.raises(UsageError, match="only BTCUSDT can be shown"):
        dashboard.watch.selected = "ETHUSDT"
    assert dashboard.watch.selected == dashboard.symbol == dashboard.ladder.symbol == "BTCUSDT"
    with pytest.raises(UsageError, match="The feed was stopped"):
        ml.dashboard(feed)


def test_something_else_than_a_feed_is_told() -> None:
    nothing: Any = None
    with pytest.raises(UsageError, match="dashboard takes a feed, which ml"):
        ml.dashboard(nothing)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"symbols": ["NOPE"]}, UnknownSymbol, "NOPE"),
        ({"symbols": []}, UsageError, "at least one symbol"),
        ({"interval": "7m"}, UsageError, "binance has no klines of '7m'"),
        ({"height": 5}, UsageError, "'height'"),
        ({"palette": "pink"}, UsageError, "'palette'"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing_behind(
    feed: LiveFeed, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ml.dashboard(feed, **options)
    until(lambda: running_pumps() == 0)
