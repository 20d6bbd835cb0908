import math
from collections.abc import Iterator
from math import isnan, nan
from typing import ClassVar

import pytest

from marketlab.errors import ExchangeError
from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.exchanges.binance import Binance
from marketlab.records import Kline, Quote, Ticker, Trade
from marketlab.streams.hub import Batch
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Kind, Need
from marketlab.widgets.watch_scene import CLOSES, Watched, WatchScene, checksum

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
CHANNELS = ("quote", "mini_ticker", "kline_1m")
MINUTE = 60_000_000


class Tickerless(Binance):
    """An exchange that says nothing of the last 24 hours."""

    channels: ClassVar[frozenset[str]] = Binance.channels - {"ticker", "mini_ticker"}


@pytest.fixture
def whole() -> Iterator[LocalExchange]:
    """Two minutes and ten seconds that are over soon."""
    with LocalExchange(Simulation(SYMBOLS, duration=130.0), speed=math.inf, start_after=None) as local:
        yield local


def watching(feed: LiveFeed, scene: WatchScene) -> None:
    """Let a scene see everything that comes."""
    assert {need.channel for need in scene.needs()} <= {stream.channel for stream in feed.status().streams}

    def take(batch: Batch) -> None:
        for record in batch:
            scene.take(record)

    feed.lossless(take)


def price(time: int, value: float) -> Trade:
    return Trade("binance", "BTCUSDT", str(time), time, value, 1.0, "buy", time, "simulated")


def bar(minute: int, close: float, *, closed: bool = True, interval: str = "1m") -> Kline:
    start = minute * MINUTE
    numbers = (1.0, 1.0, 1.0, close, 1.0, 1.0, 1, 1.0, 1.0)
    return Kline("binance", "BTCUSDT", interval, start, start + MINUTE - 1, *numbers, closed, start, "simulated")


def ticker(time: int, last: float, open: float) -> Ticker:
    numbers = (last, open, 9.0, 1.0, 5.0, 500.0)
    return Ticker("binance", "BTCUSDT", time, *numbers, None, None, None, None, time, "simulated")


def known(watched: Watched) -> list[float]:
    return [close for close in watched.closes if not isnan(close)]


def test_what_it_shows_is_what_ticker_quote_and_history_say(whole: LocalExchange) -> None:
    pytest.importorskip("polars")
    with LiveFeed(SYMBOLS, CHANNELS, ws_url=whole.ws_url, rest_url=whole.rest_url) as feed:
        scene = WatchScene(feed.inner, SYMBOLS)
        watching(feed, scene)
        feed._carry_out(scene.prepare(), 30)
        whole.begin()
        assert whole.wait_done(60)
        feed.wait(idle=1.0)
        for symbol, watched in scene.watched.items():
            newest = feed.tickers(symbol).tail(1)
            quote = feed.quote(symbol)
            assert quote is not None
            assert watched.last == newest["last"][0]
            assert watched.change == pytest.approx(newest["last"][0] / newest["open"][0] - 1)
            assert (watched.bid, watched.ask) == (quote.bid_price, quote.ask_price)
            assert (watched.high, watched.low) == (newest["high"][0], newest["low"][0])
            assert watched.volume == newest["quote_volume"][0]
            assert watched.closes == feed.history(symbol, "1m", CLOSES)["close"].to_list()
        watch, sparks = scene.frames(whole=True)
        assert (watch.kind, watch.counts, watch.id) == (Kind.WATCH, (3, 1), checksum(SYMBOLS))
        assert list(zip(*list(watch.columns)[:8], strict=True)) == [
            watched.numbers() for watched in scene.watched.values()
        ]
        assert (sparks.kind, sparks.counts, sparks.id) == (Kind.SPARKS, (3, CLOSES), watch.id)
        assert [list(column) for column in sparks.columns] == [watched.closes for watched in scene.watched.values()]


def test_sparklines_are_sent_about_once_a_second(whole: LocalExchange) -> None:
    with LiveFeed(SYMBOLS, ["quote"], ws_url=whole.ws_url, rest_url=whole.rest_url) as feed:
        scene = WatchScene(feed.inner, SYMBOLS)
        assert [frame.kind for frame in scene.frames(whole=True)] == [Kind.WATCH, Kind.SPARKS]
        assert [frame.kind for frame in scene.frames(whole=False)] == [Kind.WATCH]
        scene._sparked -= 1.0
        assert [frame.kind for frame in scene.frames(whole=False)] == [Kind.WATCH, Kind.SPARKS]


def test_it_takes_the_cheapest_streams_that_have_all_columns(whole: LocalExchange) -> None:
    with LiveFeed(SYMBOLS, ["quote"], ws_url=whole.ws_url, rest_url=whole.rest_url) as feed:
        asked = [need.channel for need in WatchScene(feed.inner, ["BTCUSDT"]).needs()]
        assert asked == ["quote", "mini_ticker", "kline_1m"]
        streamed = {Need("BTCUSDT", "ticker"), Need("ETHUSDT", "mini_ticker")}
        needs = WatchScene(feed.inner, ["BTCUSDT", "ETHUSDT"], streamed).needs()
        assert [need.channel for need in needs] == ["quote", "ticker", "kline_1m", "quote", "mini_ticker", "kline_1m"]


def test_without_tickers_the_change_is_against_the_first_bar_of_history_and_says_so(whole: LocalExchange) -> None:
    pytest.importorskip("polars")
    with LiveFeed(
        SYMBOLS, ["quote", "trade", "kline_1m"], Tickerless(), ws_url=whole.ws_url, rest_url=whole.rest_url
    ) as feed:
        scene = WatchScene(feed.inner, ["BTCUSDT"])
        assert [need.channel for need in scene.needs()] == ["quote", "trade", "kline_1m"]
        watching(feed, scene)
        feed._carry_out(scene.prepare(), 30)
        history = feed.history("BTCUSDT", "1m", CLOSES)
        watched = scene.watched["BTCUSDT"]
        assert (watched.reference, watched.last) == (history["open"][0], history["close"][-1])
        assert list(scene.frames(whole=False)[0].columns)[8] == (1.0,)
        assert "change 1 h" in scene.svg()
        whole.begin()
        assert whole.wait_done(60)
        feed.wait(idle=1.0)
        newest = feed.trades("BTCUSDT").tail(1)
        assert watched.change == pytest.approx(newest["price"][0] / history["open"][0] - 1)


def test_without_history_too_it_is_against_the_first_price() -> None:
    watched = Watched()
    for time, value in ((1, 100.0), (2, 110.0)):
        watched.take(price(time, value), has_day=False)
    assert watched.change == pytest.approx(0.1)
    assert watched.since == 2


def test_the_newest_price_counts_whatever_stream_it_comes_by() -> None:
    watched = Watched()
    watched.take(ticker(10, 101.0, 100.0), has_day=True)
    watched.take(price(12, 102.0), has_day=True)
    watched.take(ticker(11, 101.5, 100.0), has_day=True)  # the slower stream
    watched.take(price(5, 90.0), has_day=True)  # fetched back
    assert (watched.last, watched.time) == (102.0, 12)
    assert watched.change == pytest.approx(0.02)


def test_closes_are_those_of_their_minutes() -> None:
    watched = Watched()
    for minute in range(10, 13):
        watched.bar(bar(minute, float(minute)))
    assert known(watched) == [10.0, 11.0, 12.0]
    watched.take(price(12 * MINUTE + 5, 99.0), has_day=True)  # this minute is over
    assert known(watched) == [10.0, 11.0, 12.0]
    watched.take(price(13 * MINUTE + 5, 13.5), has_day=True)
    watched.take(bar(13, 13.7, closed=False), has_day=True)
    assert known(watched)[-1] == 13.7
    watched.take(bar(12, 12.5, closed=False), has_day=True)  # too late to say anything
    assert known(watched) == [10.0, 11.0, 12.0, 13.7]
    watched.take(bar(16, 16.0), has_day=True)
    assert watched.closes[-4:] == pytest.approx([13.7, nan, nan, 16.0], nan_ok=True)
    watched.take(bar(14, 14.0), has_day=True)  # fetched back
    assert known(watched) == [10.0, 11.0, 12.0, 13.7, 14.0, 16.0]
    watched.take(bar(1_000, 7.0), has_day=True)
    assert known(watched) == [7.0]
    assert len(watched.closes) == CLOSES
    assert not watched.take(bar(1_001, 8.0, interval="5m"), has_day=True)


def test_a_symbol_whose_history_cannot_be_had_is_told_and_the_others_are_shown(whole: LocalExchange) -> None:
    with LiveFeed(SYMBOLS, ["quote"], ws_url=whole.ws_url, rest_url=whole.rest_url) as feed:
        scene = WatchScene(feed.inner, SYMBOLS)
        scene.watched = {"BTCUSDT": Watched()}
        with pytest.raises(KeyError):
            feed._carry_out(scene.prepare(), 30)
        assert not isnan(scene.watched["BTCUSDT"].closes[-1])
        whole.stop()
        with pytest.raises(ExchangeError):
            feed._carry_out(scene.prepare(), 60)


def test_only_its_symbols_are_news(whole: LocalExchange) -> None:
    with LiveFeed(SYMBOLS, ["quote"], ws_url=whole.ws_url, rest_url=whole.rest_url) as feed:
        scene = WatchScene(feed.inner, ["ETHUSDT"], selected="ETHUSDT")
        assert not scene.take(price(1, 1.0))
        quote = Quote("binance", "ETHUSDT", 1, 1, 9.0, 1.0, 11.0, 1.0, 1, "simulated")
        assert scene.take(quote)
        svg = scene.svg()
        assert ">2\u2009000.00<" in svg  # basis points of spread
        assert "binance · 1 symbol · ● simulated" in svg


def test_lists_of_symbols_are_told_apart_as_in_the_browser() -> None:
    assert checksum(()) == 0x811C9DC5
    assert checksum(["BTCUSDT", "ETHUSDT"]) == 0xDA1EB39B
