import gc
import math
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import marketlab as ml
from marketlab import tables
from marketlab.errors import MissingDependency, UnknownSymbol, UsageError
from marketlab.exchange_server.local import LocalExchange
from marketlab.exchange_server.simulation import Simulation
from marketlab.stores.memory import MemoryStore
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Flag, Frame, Kind
from marketlab.widgets.kline_bars import HEALED, row_of
from marketlab.widgets.kline_chart import KlineChart
from marketlab.widgets.kline_scene import KlineScene

from .klines import MINUTE, candle

PATIENCE_S = 60.0


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Simulates without an end, twenty times as fast as it would be."""
    with LocalExchange(Simulation(["BTCUSDT", "ETHUSDT"]), speed=20.0, start_after=0.1) as local:
        yield local


@pytest.fixture
def feed(exchange: LocalExchange) -> Iterator[LiveFeed]:
    with LiveFeed("BTCUSDT", ["trade"], ws_url=exchange.ws_url, rest_url=exchange.rest_url) as running:
        yield running


@pytest.fixture
def charts() -> Iterator[list[KlineChart]]:
    made: list[KlineChart] = []
    yield made
    for chart in made:
        chart.close()


def scene(chart: KlineChart) -> KlineScene:
    assert chart._seat is not None
    assert isinstance(chart._seat.scene, KlineScene)
    return chart._seat.scene


def look(chart: KlineChart) -> Frame:
    """What it would send to somebody who has nothing yet."""
    frames = chart.feed.ask(lambda: scene(chart).frames(whole=True))
    return frames[0] if frames else Frame(Kind.BLANK, flags=Flag.LOADING)


def rows(frame: Frame) -> list[tuple[float, ...]]:
    return list(zip(*frame.columns[:9], strict=True)) if frame.kind is Kind.BARS_SNAPSHOT else []


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_ready(chart: KlineChart) -> bool:
    return look(chart).flags == Flag(0)


def test_it_begins_with_history_and_goes_on_with_every_trade(feed: LiveFeed, charts: list[KlineChart]) -> None:
    chart = KlineChart(feed, "btc/usdt", bars=100)
    charts.append(chart)
    until(lambda: is_ready(chart))
    assert repr(chart) == "<KlineChart BTCUSDT on binance>"
    assert (chart.interval, chart.overlays) == ("1m", ["sma 20", "vwap"])
    before = {row[0]: row for row in rows(look(chart))}
    assert len(before) == 100
    last = max(before)
    until(lambda: rows(look(chart))[-1][0] >= last + 3 * MINUTE)
    told = tables.to_records("klines", feed.history("BTCUSDT", "1m", 100))
    shown = {row[0]: row for row in rows(look(chart))}
    assert [shown[kline.open_time] for kline in told[-50:-1]] == [row_of(kline, 0) for kline in told[-50:-1]]


def test_while_it_runs_the_last_candle_is_that_of_the_trades_so_far(feed: LiveFeed, charts: list[KlineChart]) -> None:
    feed.wait(trades=20)
    chart = KlineChart(feed, "BTCUSDT")
    charts.append(chart)
    until(lambda: is_ready(chart))

    def both() -> tuple[Frame, Sequence[Any]]:
        (frame,) = scene(chart).frames(whole=True)
        return frame, tables.to_records("trades", feed.trades("BTCUSDT"))

    for _ in range(20):
        frame, trades = feed.ask(both)
        shown = rows(frame)[-1]
        # What has just come is kept before it is drawn.
        drawn = [trade for trade in trades if int(trade.trade_id) <= frame.id]
        minute = [trade for trade in drawn if trade.time // MINUTE * MINUTE == shown[0]]
        assert shown[1:8] == candle(minute)
        feed.wait(trades=len(trades) + 5)


def test_another_interval_is_another_picture_and_the_feed_streams_it(feed: LiveFeed, charts: list[KlineChart]) -> None:
    chart = KlineChart(feed, "BTCUSDT", bars=50)
    charts.append(chart)
    until(lambda: is_ready(chart))
    chart.interval = "5m"
    until(lambda: is_ready(chart) and len(rows(look(chart))) == 50)
    frame = look(chart)
    assert list(frame.columns[-1])[1] == 5 * MINUTE
    told = tables.to_records("klines", feed.history("BTCUSDT", "5m", 50))
    assert rows(frame)[:-1] == [row_of(kline, 0) for kline in told[:-1]]
    assert "kline_5m" in repr(feed)
    chart.bars = 10
    until(lambda: is_ready(chart) and len(rows(look(chart))) == 10)
    chart.symbol = "ETH-USDT"
    until(lambda: is_ready(chart) and rows(look(chart))[-1][4] < 10_000)
    assert len(rows(look(chart))) == 10


def test_the_browser_may_ask_for_older_bars(feed: LiveFeed, charts: list[KlineChart]) -> None:
    chart = KlineChart(feed, "BTCUSDT", bars=20)
    charts.append(chart)
    until(lambda: is_ready(chart))
    chart._heard(chart, {"type": "older"}, [])
    until(lambda: is_ready(chart) and len(rows(look(chart))) > 500)
    assert not any(row[8] for row in rows(look(chart)))


def test_history_comes_from_a_store(feed: LiveFeed, charts: list[KlineChart]) -> None:
    told = tables.to_records("klines", feed.history("BTCUSDT", "1m", 1_000))
    store = MemoryStore()
    store.write("klines", tables.to_table("klines", told).with_columns(trade_count=pl.lit(7_000_000, pl.Int64)))
    chart = KlineChart(feed, "BTCUSDT", store=store, bars=50)
    charts.append(chart)
    until(lambda: is_ready(chart))
    assert sum(row[7] == 7_000_000 for row in rows(look(chart))) > 40
    chart.close()
    assert not store.read("klines").is_empty()  # it is the caller's


def test_a_store_by_its_url_is_opened_and_closed(feed: LiveFeed, charts: list[KlineChart], tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    chart = KlineChart(feed, "BTCUSDT", store=f"delta://{tmp_path}", bars=50)
    charts.append(chart)
    until(lambda: is_ready(chart))
    assert chart.notice == ""
    assert len(rows(look(chart))) == 50
    with pytest.raises(UsageError, match="A store's URL has :// after its kind"):
        KlineChart(feed, "BTCUSDT", store="nonsense")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"interval": "7m"}, "binance has no klines of '7m'; it offers 1s, 1m, 3m"),
        ({"interval": 5}, "KlineChart: The 'interval' trait"),
        ({"intervals": ["1m", "2m"]}, "binance has no klines of '2m'; it offers"),
        ({"overlays": "rsi 14"}, "There is no overlay 'rsi 14': write 'sma 20'"),
        ({"overlays": ["sma 20", "sma"]}, "There is no overlay 'sma': write 'sma 20'"),
        ({"overlays": 5}, "KlineChart takes overlays as a list such as ['sma 20', 'vwap'], not 5."),
        ({"overlays": None}, "KlineChart takes overlays as a list such as ['sma 20', 'vwap'], not None."),
        ({"overlays": [5]}, "KlineChart: "),
        ({"store": 5}, "store is 5; give a URL such as 'delta://marketdata', or what open_store returned."),
        ({"bars": 1}, "KlineChart: The value of the 'bars' trait"),
        ({"colour": "red"}, "KlineChart has no option 'colour'; there are bars, "),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(feed: LiveFeed, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as told:
        KlineChart(feed, "BTCUSDT", **wrong)
    assert str(told.value).startswith(said)


def test_a_wrong_feed_or_symbol_is_said(feed: LiveFeed) -> None:
    with pytest.raises(UsageError, match=r"KlineChart takes a feed, which ml\.live\(\.\.\.\) returns, not 'BTCUSDT'"):
        KlineChart("BTCUSDT", "BTCUSDT")  # type: ignore[arg-type]
    with pytest.raises(UnknownSymbol):
        KlineChart(feed, "BTCUSD")


def test_a_wrong_interval_later_changes_nothing(feed: LiveFeed, charts: list[KlineChart]) -> None:
    chart = KlineChart(feed, "BTCUSDT", overlays="EMA50")
    charts.append(chart)
    with pytest.raises(UsageError, match="binance has no klines of '9m'"):
        chart.interval = "9m"
    with pytest.raises(UsageError, match="There is no overlay 'x'"):
        chart.overlays = ["x"]
    assert (chart.interval, chart.overlays) == ("1m", ["ema 50"])


def test_its_picture_is_drawn_from_the_same_bars_and_follows_its_options(
    feed: LiveFeed, charts: list[KlineChart]
) -> None:
    chart = KlineChart(feed, "BTCUSDT", overlays=["ema 9"], palette="cvd")
    charts.append(chart)
    until(lambda: is_ready(chart))
    drawn = chart.picture().svg
    assert "binance · BTCUSDT · 1m · ● simulated" in drawn
    assert "EMA 9" in drawn
    assert "#D55E00" in drawn
    chart.overlays = ["vwap"]
    until(lambda: "VWAP" in chart.picture().svg)
    assert "EMA 9" not in chart.picture().svg


def test_what_was_missing_and_fetched_back_is_marked(charts: list[KlineChart]) -> None:
    with (
        LocalExchange(Simulation(["BTCUSDT"]), speed=30.0, start_after=0.1, faults=["hole"], fault_every=200) as local,
        LiveFeed("BTCUSDT", ["trade"], ws_url=local.ws_url, rest_url=local.rest_url) as feed,
    ):
        chart = KlineChart(feed, "BTCUSDT", bars=20)
        charts.append(chart)

        def healed() -> set[float]:
            return {row[0] for row in rows(look(chart)) if int(row[8]) & HEALED}

        until(healed)
        shown = healed()
        gaps = feed.gaps("BTCUSDT").drop_nulls("healed_at")
        between = zip(gaps["start"].to_physical().to_list(), gaps["end"].to_physical().to_list(), strict=True)
        assert shown <= {
            minute * MINUTE for start, end in between for minute in range(start // MINUTE, end // MINUTE + 1)
        }


def test_where_history_cannot_be_had_live_bars_are_drawn_and_the_reason_is_said(charts: list[KlineChart]) -> None:
    class Away(MemoryStore):
        def read(self, name: str, **asked: Any) -> Any:
            raise MissingDependency("psycopg", "postgres", "PostgreSQL")

    with (
        LocalExchange(Simulation(["BTCUSDT"]), speed=5.0, start_after=0.1) as local,
        LiveFeed("BTCUSDT", ["trade"], ws_url=local.ws_url, rest_url=local.rest_url) as feed,
    ):
        chart = KlineChart(feed, "BTCUSDT", store=Away(), bars=20)
        charts.append(chart)
        until(lambda: chart.notice)
        assert chart.notice == "PostgreSQL needs the package psycopg: run pip install 'marketlab[postgres]'."
        assert len(rows(look(chart))) == 20


def test_a_chart_keeps_no_feed_alive(exchange: LocalExchange) -> None:
    feed = LiveFeed("BTCUSDT", ["trade"], ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    KlineChart(feed, "BTCUSDT").close()
    seen = weakref.ref(feed)
    del feed
    until(lambda: gc.collect() >= 0 and seen() is None)


def test_it_is_a_public_name() -> None:
    assert ml.KlineChart is KlineChart
    assert math.isfinite(KlineChart.bars.default_value)


def test_lines_that_are_chosen_with_an_interval_belong_to_it() -> None:
    with ml.local_exchange(simulate=True, speed=5) as exchange, ml.live("BTCUSDT", ["trade"], exchange) as feed:
        chart = ml.KlineChart(feed, "BTCUSDT", bars=50)
        feed.wait(trades=5)
        for interval, lines in (("5m", ["sma 10", "ema 30"]), ("15m", ["vwap"]), ("1m", ["ema 7"])):
            chart.interval, chart.overlays = interval, lines
            scene = feed.ask(lambda: chart._seat.scene if chart._seat is not None else None)
            assert isinstance(scene, KlineScene)
            assert (scene.interval, [str(each) for each in scene.look.overlays]) == (interval, lines)
