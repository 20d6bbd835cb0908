from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("anywidget")

from marketlab.errors import UnknownSymbol, UsageError
from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.streams.live import LiveFeed
from marketlab.widgets.watch_scene import WatchScene
from marketlab.widgets.watchlist import Watchlist

from .screens import until

SYMBOLS = ["BTCUSDT", "ETHUSDT", "DOGEUSDT"]


@pytest.fixture
def feed() -> Iterator[LiveFeed]:
    with (
        LocalExchange(Simulation(SYMBOLS), speed=20.0, start_after=0.1) as local,
        LiveFeed(["ETHUSDT", "BTCUSDT"], ["quote"], ws_url=local.ws_url, rest_url=local.rest_url) as running,
    ):
        yield running


def scene_of(watch: Watchlist) -> WatchScene:
    seat = watch._seat
    assert seat is not None
    assert isinstance(seat.scene, WatchScene)
    return seat.scene


def test_it_shows_the_feeds_symbols_or_those_that_are_named(feed: LiveFeed) -> None:
    watch = Watchlist(feed)
    assert watch.symbols == ["BTCUSDT", "ETHUSDT"]
    assert watch.selected == "BTCUSDT"
    assert repr(watch) == "<Watchlist BTCUSDT, ETHUSDT on binance>"
    watch.close()
    named = Watchlist(feed, ["doge/usdt", "BTCUSDT", "DOGEUSDT"], selected="btc-usdt")
    assert named.symbols == ["DOGEUSDT", "BTCUSDT"]
    assert named.selected == "BTCUSDT"
    assert named.decimals == [5, 2]
    until(lambda: scene_of(named).watched["DOGEUSDT"].bid > 0, "a quote of a symbol that the feed had not")
    named.close()
    alone = Watchlist(feed, "ETHUSDT")
    assert (alone.symbols, alone.symbol) == (["ETHUSDT"], "")
    alone.close()


def test_python_hears_of_a_selection(feed: LiveFeed) -> None:
    watch = Watchlist(feed)
    heard: list[str] = []
    watch.observe(lambda change: heard.append(change["new"]), "selected")
    watch.selected = "eth/usdt"
    assert heard == ["ETHUSDT"]
    until(lambda: scene_of(watch).selected == "ETHUSDT")
    with pytest.raises(UsageError, match="DOGEUSDT is not in the watchlist; there are BTCUSDT, ETHUSDT"):
        watch.selected = "DOGEUSDT"
    assert watch.selected == "ETHUSDT"
    watch.close()


def test_other_symbols_may_be_given_later(feed: LiveFeed) -> None:
    watch = Watchlist(feed, selected="ETHUSDT")
    watch.symbols = ["DOGEUSDT", "btcusdt"]
    assert watch.selected == "DOGEUSDT"
    assert watch.decimals == [5, 2]
    until(lambda: scene_of(watch).symbols == ("DOGEUSDT", "BTCUSDT"))
    until(lambda: scene_of(watch).watched["DOGEUSDT"].closes[0] > 0, "an hour of history")
    with pytest.raises(UsageError, match="needs at least one symbol"):
        watch.symbols = []
    watch.close()


def test_other_colours_fetch_nothing_again(feed: LiveFeed) -> None:
    watch = Watchlist(feed)
    until(lambda: scene_of(watch).watched["BTCUSDT"].closes[0] > 0, "an hour of history")
    scene, before = scene_of(watch), watch.picture().svg
    watch.palette = "cvd"
    until(lambda: scene.palette == "cvd")
    assert scene_of(watch) is scene
    assert "#0072B2" not in before
    until(lambda: "#D55E00" in watch.picture().svg or "#0072B2" in watch.picture().svg)
    watch.close()


def test_its_picture_marks_the_selection_and_the_origin(feed: LiveFeed) -> None:
    watch = Watchlist(feed, SYMBOLS)
    until(lambda: "● simulated" in watch.picture().svg)
    until(lambda: watch.picture().svg.count("<polyline") == 4, "three sparklines under the header's line")
    assert "change 24 h" in watch.picture().svg
    watch.close()


@pytest.mark.parametrize(
    ("symbols", "options", "error", "words"),
    [
        (["NOPE"], {}, UnknownSymbol, "NOPE"),
        ([], {}, UsageError, "needs at least one symbol"),
        (3, {}, UsageError, "'symbols'"),
        (["BTCUSDT", 3], {}, UsageError, "'symbols'"),
        (None, {"sort": "colour"}, UsageError, "'sort'"),
        (None, {"symbol": "BTCUSDT"}, UsageError, "has no option 'symbol'"),
        (None, {"selected": "DOGEUSDT"}, UsageError, "DOGEUSDT is not in the watchlist"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    feed: LiveFeed, symbols: Any, options: dict[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        Watchlist(feed, symbols, **options)


def test_it_takes_a_feed() -> None:
    feed: Any = "binance"
    with pytest.raises(UsageError, match="Watchlist takes a feed"):
        Watchlist(feed)
