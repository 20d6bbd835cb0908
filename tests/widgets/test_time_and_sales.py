import gc
import weakref
from typing import Any

import pytest

pytest.importorskip("anywidget")

from marketlab.errors import UnknownSymbol, UsageError
from marketlab.exchange_server import LocalExchange
from marketlab.streams.live import LiveFeed
from marketlab.widgets.time_and_sales import TimeAndSales
from marketlab.widgets.trade_scene import TradeScene

from .screens import until


def scene_of(sales: TimeAndSales) -> TradeScene:
    seat = sales._seat
    assert seat is not None
    assert isinstance(seat.scene, TradeScene)
    return seat.scene


def equal_to_the_feed(sales: TimeAndSales, least: float = 0.0) -> bool:
    """Whether it keeps what the feed keeps, looked at in the feed's thread, where nothing changes meanwhile."""

    def look() -> bool:
        table = sales.feed.trades(sales.symbol)
        wanted = table.filter(table["size"] >= least)["trade_id"].tail(1_000).to_list()
        return bool(wanted) and [trade.trade_id for trade in scene_of(sales).trades] == wanted

    return sales.feed.ask(look)


def test_it_begins_with_the_trades_that_the_feed_has(feed: LiveFeed) -> None:
    feed.wait(trades=50)
    sales = TimeAndSales(feed, "btc/usdt")
    assert repr(sales) == "<TimeAndSales BTCUSDT on binance>"
    assert (sales.price_decimals, sales.size_decimals) == (2, 5)
    until(lambda: equal_to_the_feed(sales))
    assert len(scene_of(sales).trades) >= 50
    sales.close()


def test_another_symbol_or_least_size_shows_other_trades(feed: LiveFeed) -> None:
    feed.wait(trades=100)
    sales = TimeAndSales(feed, "BTCUSDT", rows=5)
    sales.least = 0.05
    until(lambda: equal_to_the_feed(sales, 0.05))
    sales.symbol = "eth-usdt"
    assert sales.symbol == "ETHUSDT"
    until(lambda: equal_to_the_feed(sales, 0.05))
    assert {trade.symbol for trade in scene_of(sales).trades} == {"ETHUSDT"}
    sales.close()


def test_rows_and_colours_change_without_another_look_at_the_past(feed: LiveFeed) -> None:
    feed.wait(trades=50)
    sales = TimeAndSales(feed, "BTCUSDT")
    until(lambda: equal_to_the_feed(sales))
    scene = scene_of(sales)
    sales.rows, sales.large, sales.palette = 3, 0.000001, "cvd"
    until(lambda: scene.frames(whole=False)[0].counts[0] == 3)
    assert scene_of(sales) is scene
    svg = sales.picture().svg
    assert "#D55E00" in svg or "#0072B2" in svg
    sales.least = 0.05
    until(lambda: equal_to_the_feed(sales, 0.05))
    sales.least = 0.0
    until(lambda: equal_to_the_feed(sales))
    assert scene_of(sales) is scene
    sales.close()


def test_after_the_feed_has_stopped_its_trades_can_still_be_chosen_from(feed: LiveFeed) -> None:
    feed.wait(trades=100)
    sales = TimeAndSales(feed, "BTCUSDT")
    until(lambda: equal_to_the_feed(sales))
    feed.stop()
    all_of_them = [trade.trade_id for trade in scene_of(sales).trades]
    sales.rows = 5
    (frame,) = scene_of(sales).frames(whole=False)
    assert frame.counts[0] == 5
    sales.least = 0.05
    fewer = [trade.trade_id for trade in scene_of(sales).trades]
    assert 0 < len(fewer) < len(all_of_them)
    assert "No trade" not in sales.picture().svg
    sales.least = 0.0
    assert [trade.trade_id for trade in scene_of(sales).trades] == all_of_them
    sales.close()


def test_its_picture_says_that_the_data_is_simulated(feed: LiveFeed) -> None:
    feed.wait(trades=5)
    sales = TimeAndSales(feed, "BTCUSDT", palette="cvd")
    until(lambda: scene_of(sales).trades)
    svg = sales.picture().svg
    assert "● simulated" in svg
    assert "#D55E00" in svg or "#0072B2" in svg
    sales.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": 0}, "'rows'"),
        ({"least": -1}, "'least'"),
        ({"least": float("nan")}, "least is a size, not nan"),
        ({"large": float("inf")}, "large is a size, not inf"),
        ({"bars": "round"}, "'bars'"),
        ({"depth": 3}, "has no option 'depth'; there are bars, height, large, layout, least"),
    ],
)
def test_a_wrong_option_is_told_in_a_sentence(feed: LiveFeed, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TimeAndSales(feed, "BTCUSDT", **options)


def test_an_unknown_symbol_is_told(feed: LiveFeed) -> None:
    with pytest.raises(UnknownSymbol, match="NOPE"):
        TimeAndSales(feed, "NOPE")


def test_its_scene_keeps_no_feed_alive(exchange: LocalExchange) -> None:
    feed = LiveFeed("BTCUSDT", ["trade"], ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    feed.wait(trades=5)
    sales = TimeAndSales(feed, "BTCUSDT")
    scene = scene_of(sales)
    until(lambda: scene.trades)
    sales.close()
    inner, gone = feed.inner, weakref.ref(feed)
    del feed, sales
    until(lambda: gc.collect() >= 0 and gone() is None and not inner.running)
    assert scene.trades
    assert scene._past() == ()
