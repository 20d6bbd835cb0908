import asyncio
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import pytest

pytest.importorskip("polars")

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab.exchange_server import LocalExchange, Simulation, TapeSource
from marketlab.records import Quote, Record, Side, Trade
from marketlab.streams.feed import Feed
from marketlab.streams.hub import Batch
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Frame, Kind, Need, State, pack, unpack
from marketlab.widgets.past import past_trades
from marketlab.widgets.trade_scene import KEPT, TradeScene, rank

from .screens import Screen, until

ROWS = 20


@pytest.fixture
def feed() -> Iterator[LiveFeed]:
    with (
        LocalExchange(Simulation(seed=4), speed=20.0, start_after=0.1) as local,
        LiveFeed("BTCUSDT", ["trade"], ws_url=local.ws_url, rest_url=local.rest_url) as running,
    ):
        yield running


def trade(id: int, time: int, *, size: float = 1.0, side: Side = "buy", price: float = 100.0) -> Trade:
    return Trade("binance", "BTCUSDT", str(id), time, price, size, side, time, "simulated")


def rows(frame: Frame) -> list[tuple[float, float, float]]:
    times, prices, sizes = frame.columns[:3]
    return list(zip(times, prices, sizes, strict=True))


def words(frame: Frame) -> list[float]:
    return list(frame.columns[3])


def ids(scene: TradeScene) -> list[int]:
    return [int(trade.trade_id) for trade in scene.trades]


class Witness:
    """Compares a scene with the trades that came, at random moments, and with what the feed gives back."""

    def __init__(self, feed: LiveFeed, scene: TradeScene, *, least: float) -> None:
        self.feed = feed
        self.scene = scene
        self.least = least
        self.looks = 0
        self.wrong: list[str] = []
        self._random = Random(3)
        self._came: list[Trade] = []
        self._tables = 0

    def __call__(self, batch: Batch) -> None:
        for record in batch:
            self.scene.take(record)
            if isinstance(record, Trade) and record.size >= self.least:
                self._came.append(record)
                if self.looks < 300 and self._random.random() < 0.3:
                    self._look([(row.time, row.price, row.size, row.side) for row in sorted(self._came, key=rank)])
        if self._tables >= 20:
            return
        self._tables += 1
        table = self.feed.trades("BTCUSDT").filter(pl.col("size") >= self.least)
        table = table.with_columns(pl.col("time").to_physical())
        self._look(table.select("time", "price", "size", "side").rows())

    def _look(self, truth: Sequence[tuple[int, float, float, str]]) -> None:
        frames = self.scene.frames(whole=False)
        if not frames:
            return
        self.looks += 1
        newest = truth[: -ROWS - 1 : -1]
        if rows(frames[0]) != [(time, price, size if side == "buy" else -size) for time, price, size, side in newest]:
            self.wrong.append(f"look {self.looks} at trade {frames[0].id}")


@pytest.mark.parametrize("least", [0.0, 0.05])
def test_its_rows_are_the_newest_trades_of_the_feed_at_any_moment(tapes: Path, least: float) -> None:
    with (
        LocalExchange(TapeSource(tapes / "btcusdt_20240809.gz"), speed=math.inf, start_after=None) as local,
        LiveFeed("BTCUSDT", ["trade"], ws_url=local.ws_url, rest_url=local.rest_url) as feed,
    ):
        witness = Witness(feed, TradeScene(feed.inner, "BTCUSDT", ROWS, least), least=least)
        feed.lossless(witness)
        local.begin()
        feed.wait(trades=2_000, idle=1.0)
        assert witness.looks >= (20 if least else 200)
        assert witness.wrong == []


def test_what_the_feed_had_before_comes_first_and_once(feed: LiveFeed) -> None:
    before = [trade(number, number) for number in range(1, 4)]
    scene = TradeScene(feed.inner, "BTCUSDT", past=lambda: before)
    scene.take(before[-1])
    assert scene.frames(whole=True) == []
    feed._carry_out(scene.prepare(), 10)
    assert ids(scene) == [1, 2, 3]
    scene.take(trade(4, 4))
    assert ids(scene) == [1, 2, 3, 4]


def test_a_batch_that_comes_while_it_prepares_is_kept_once() -> None:
    # Nothing is played in this hour: the feed gets what is published here.
    with (
        LocalExchange(Simulation(), start_after=3600.0) as local,
        LiveFeed("BTCUSDT", ["trade"], ws_url=local.ws_url, rest_url=local.rest_url) as feed,
    ):
        past = past_trades(feed, "BTCUSDT", lambda newest: islice(newest, KEPT))
        scene = TradeScene(feed.inner, "BTCUSDT", past=past)
        screen = Screen(feed, scene)
        screen.wait(1)
        batch: list[Record] = [trade(number, number // 2, size=number % 100) for number in range(1, 1_500)]

        async def publish_and_prepare() -> None:
            feed.inner.hub.publish(batch)
            await scene.prepare()

        feed._carry_out(publish_and_prepare(), 10)
        last = trade(1_500, 750)
        feed.ask(lambda: feed.inner.hub.publish([last]))
        until(lambda: feed.ask(lambda: scene.trades[-1]) == last)
        assert feed.ask(lambda: ids(scene)) == list(range(501, 1_501))
        (frame,) = feed.ask(lambda: scene.frames(whole=False))
        assert words(frame)[0] == 1_500, "all that it has seen"
        assert words(frame)[2:] == [98.0, 99.0]
        screen.leave()


@settings(deadline=None)
@given(st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_whatever_comes_again_is_kept_and_counted_once(before: list[int], early: list[int], late: list[int]) -> None:
    made = {number: trade(number, number // 3) for number in range(41)}
    past = [made[number] for number in sorted({*before, *early})]
    scene = TradeScene(Feed("BTCUSDT"), "BTCUSDT", past=lambda: past)
    for number in early:
        scene.take(made[number])
    asyncio.run(scene.prepare())
    for number in late:
        scene.take(made[number])
    kept = sorted({*before, *early, *late})
    assert ids(scene) == kept
    assert scene._total == len(kept)


def test_a_trade_that_was_missed_and_fetched_back_takes_its_place(feed: LiveFeed) -> None:
    scene = TradeScene(feed.inner, "BTCUSDT")
    for id, time in [(8, 10), (9, 10), (11, 10), (12, 11), (10, 10)]:
        scene.take(trade(id, time))
    assert ids(scene) == [8, 9, 10, 11, 12]


def test_only_the_newest_are_sent_and_all_that_are_kept_where_a_view_opens(feed: LiveFeed) -> None:
    scene = TradeScene(feed.inner, "BTCUSDT", rows=3)
    for number in range(1, 2 * KEPT + 500):
        scene.take(trade(number, number, side="sell" if number % 2 else "buy"))
    kept, shown = scene.frames(whole=True)
    assert (kept.kind, kept.counts) == (Kind.TRADES_KEPT, (KEPT, 4))
    assert (shown.kind, shown.counts) == (Kind.TRADES, (3, 4))
    last = 2 * KEPT + 499
    assert rows(shown) == [(last, 100.0, -1.0), (last - 1, 100.0, 1.0), (last - 2, 100.0, -1.0)]
    assert words(shown)[0] == last
    (alone,) = scene.frames(whole=False)
    assert alone.kind is Kind.TRADES
    unpacked, _ = unpack(pack(shown, sequence=1, state=State.RUNNING))
    assert unpacked.id == shown.id == last


def test_a_fiftieth_of_the_trades_is_large_unless_a_size_is_given(feed: LiveFeed) -> None:
    sizes = [float(number) for number in range(1, 201)]
    own, given = TradeScene(feed.inner, "BTCUSDT"), TradeScene(feed.inner, "BTCUSDT", large=7.0)
    for scene in (own, given):
        scene.take(trade(0, 0, size=1.0))
        assert math.isinf(scene._ranks()[0]) is (scene is own)
        for number, size in enumerate(sizes, 1):
            scene.take(trade(number, number, size=size))
    assert sum(size >= own._ranks()[0] for size in sizes) in (4, 5)
    assert given._ranks() == (7.0, 200.0)


def test_small_trades_count_for_the_rate_only(feed: LiveFeed) -> None:
    scene = TradeScene(feed.inner, "BTCUSDT", rows=1, least=1.0)
    assert scene.take(trade(1, 1, size=0.5))
    scene.take(trade(2, 2, size=1.0))
    assert ids(scene) == [2]
    assert scene.needs() == [Need("BTCUSDT", "trade")]
    assert not scene.take(Quote("binance", "BTCUSDT", 1, 1, 1.0, 1.0, 2.0, 1.0, 1, "simulated"))


def test_the_rate_is_that_of_the_last_seconds(feed: LiveFeed) -> None:
    scene = TradeScene(feed.inner, "BTCUSDT", rows=1)
    second = 1_000_000
    begun = 5 * second
    for number in range(100):
        scene.take(trade(number, begun + number * second // 10))
    assert scene._rate(begun + 10 * second) == pytest.approx(10.0)
    scene.take(trade(100, 60 * second))
    assert scene._rate(60 * second) == 0.1


def test_the_rate_of_what_has_just_begun_is_that_of_the_time_it_had(feed: LiveFeed) -> None:
    scene = TradeScene(feed.inner, "BTCUSDT", rows=1)
    second = 1_000_000
    scene.take(trade(1, 60 * second))
    assert scene._rate(60 * second) == 1.0
    scene.take(trade(2, 62 * second))
    assert scene._rate(64 * second) == 0.5
    assert scene._rate(69 * second) == pytest.approx(2 / 9)
    assert words(scene.frames(whole=False)[0])[1] == 0.0  # that was long ago


def test_its_picture_has_names_mark_and_rows(feed: LiveFeed) -> None:
    scene = TradeScene(feed.inner, "BTCUSDT", least=0.5, decimals=(1, 3))
    assert "No trade of BTCUSDT of 0.5 or more has come yet." in scene.svg()
    assert "No trade of BTCUSDT has come yet." in TradeScene(feed.inner, "BTCUSDT").svg()
    assert "● waiting" in scene.svg()
    scene.take(trade(1, 1_723_161_600_123_456, price=61_234.56, size=0.75, side="sell"))
    svg = scene.svg()
    for words in ("binance · BTCUSDT · from 0.5 · ● simulated", "00:00:00.123", "61\u2009234.6", ">0.750<", "▼ sell"):
        assert words in svg
    assert svg == scene.svg()
