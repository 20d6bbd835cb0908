import asyncio
import math
import random
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

from marketlab.errors import ConnectionLost, Unsupported
from marketlab.exchange_server.local import LocalExchange
from marketlab.exchange_server.source import TapeSource
from marketlab.exchanges.contract import Exchange
from marketlab.market.candles import period
from marketlab.records import Gap, Kline, Record, Trade
from marketlab.streams.backoff import Backoff
from marketlab.streams.feed import Feed
from marketlab.streams.hub import Batch
from marketlab.streams.live import LiveFeed
from marketlab.streams.runner import StreamSettings
from marketlab.widgets.contract import Flag, Frame, Kind, Need, Scene
from marketlab.widgets.kline_bars import HEALED, MISSING, PARTIAL
from marketlab.widgets.kline_scene import KlineScene

from .klines import MINUTE, START, candle, kline, trade

INTERVALS = ("1s", "1m", "5m")
MOMENTS = 200


@pytest.fixture(scope="module")
def tape(tapes: Path) -> list[Record]:
    """What a feed gives of the tape of a real exchange, in its order, with the klines that the local one sends."""
    told: list[Record] = []

    def keep(batch: Batch) -> None:
        told.extend(batch)

    source = TapeSource(tapes / "btcusdt_20240809.gz")
    with LocalExchange(source, speed=math.inf, start_after=0.1) as local:
        channels = ["trade", *(f"kline_{interval}" for interval in INTERVALS)]
        with LiveFeed("BTCUSDT", channels, ws_url=local.ws_url, rest_url=local.rest_url, lossless=[keep]) as feed:
            feed.wait(trades=10_147)
            feed.wait(idle=0.5)
    return told


@pytest.fixture
def feed() -> Feed:
    """A feed that was never started: what it would give, a test gives. Nobody answers where it would ask."""
    settings = StreamSettings(backoff=Backoff(0.001, 1.0, 0.001))
    return Feed("BTCUSDT", "trade", rest_url="http://127.0.0.1:9", settings=settings)


def scene_of(feed: Feed, interval: str = "1m", past: Sequence[Trade] = (), size: int = 500) -> KlineScene:
    return KlineScene(feed, "BTCUSDT", interval, size, past=lambda: past)


def rows(scene: Scene, *, whole: bool = False) -> list[tuple[float, ...]]:
    (frame,) = scene.frames(whole=whole)
    return list(zip(*(list(column) for column in frame.columns[:9]), strict=True))


def numbers(frame: Frame) -> list[float]:
    return list(frame.columns[-1])


def opened(exchange: Exchange, interval: str, time: int) -> int:
    return period(interval, exchange.intervals[interval], time)[0]


def test_it_needs_trades_and_klines_of_its_interval(feed: Feed) -> None:
    scene = scene_of(feed, "5m")
    assert isinstance(scene, Scene)
    assert list(scene.needs()) == [Need("BTCUSDT", "trade"), Need("BTCUSDT", "kline_5m")]
    with pytest.raises(Unsupported, match="binance has no kline interval '7m'; it offers 1s, 1m"):
        scene_of(feed, "7m")


@pytest.mark.parametrize("interval", INTERVALS)
def test_at_random_moments_the_last_candle_is_that_of_the_trades_so_far(
    tape: list[Record], feed: Feed, interval: str
) -> None:
    scene = scene_of(feed, interval)
    moments = set(random.Random(interval).sample(range(50, len(tape)), MOMENTS))
    seen: dict[float, list[Trade]] = {}
    last: Trade | None = None
    for place, record in enumerate(tape):
        scene.take(record)
        if isinstance(record, Trade):
            last = record
            seen.setdefault(opened(feed.exchange, interval, last.time), []).append(last)
        if place not in moments or last is None:
            continue
        time, *told, _ = rows(scene)[-1]
        if time in seen:
            assert tuple(told) == candle(seen[time]), place
        else:  # the exchange says that a period has begun in which nobody has traded yet
            assert time > last.time
            assert told == [last.price] * 4 + [0.0, 0.0, 0]
        assert scene.frames(whole=False)[0].id == int(last.trade_id)


@pytest.mark.parametrize("seed", range(3))
def test_whoever_joins_in_the_middle_of_a_period_shows_the_exchanges_carried_on_by_trades(
    tape: list[Record], feed: Feed, seed: int
) -> None:
    chance = random.Random(seed)
    begun = chance.randrange(1_000, len(tape) - 6_000)
    scene = scene_of(feed)
    told: Kline | None = None
    before = [record for record in tape[:begun] if isinstance(record, Trade)]
    since: list[Trade] = []
    first = before[-1].time // MINUTE
    for record in tape[begun : begun + 6_000]:
        scene.take(record)
        if isinstance(record, Kline) and record.interval == "1m":
            told = record
        if isinstance(record, Trade):
            since.append(record)
        if told is None or not since or chance.random() > 0.02:
            continue
        time, *shown, _ = rows(scene)[-1]
        minute = since[-1].time // MINUTE
        if time != minute * MINUTE:
            continue
        true = candle(each for each in (*before, *since) if each.time // MINUTE == minute)
        if minute > first:
            assert tuple(shown) == true
        else:
            # The prices are true; what was traded is as far as the exchange has told.
            assert tuple(shown[:4]) == true[:4]
            assert told.trade_count <= shown[6] <= true[6]


def test_with_the_trades_that_the_feed_had_before_it_is_exact_at_once(tape: list[Record], feed: Feed) -> None:
    begun = 5_000
    past = [record for record in tape[:begun] if isinstance(record, Trade)]
    scene = scene_of(feed, past=past)
    with pytest.raises(ConnectionLost, match=r"Cannot reach http://127\.0\.0\.1:9"):
        asyncio.run(scene.prepare())
    for record in tape[begun : begun + 50]:
        scene.take(record)
        if isinstance(record, Trade):
            past.append(record)
        minute = past[-1].time // MINUTE
        assert rows(scene)[-1][1:8] == candle(each for each in past if each.time // MINUTE == minute)


def test_a_hole_in_the_trades_gives_the_word_to_the_exchange_until_the_next_period(feed: Feed) -> None:
    scene = scene_of(feed)
    scene.take(trade(1, -5, 100.0))
    for id in range(2, 5):
        scene.take(trade(id, id))
    assert rows(scene)[-1][1:8] == (100.0, 100.0, 100.0, 100.0, 3.0, 300.0, 3)
    scene.take(trade(9, 9, 110.0))
    scene.take(kline(0, 105.0, 8, closed=False, volume=10.0))
    assert rows(scene)[-1][1:8] == (104.0, 110.0, 100.0, 105.0, 10.0, 1050.0, 8)
    for id in range(10, 20):
        scene.take(trade(id, MINUTE - 1, 120.0))
    assert rows(scene)[-1][1:8] == (104.0, 120.0, 100.0, 120.0, 10.0, 1050.0, 8)
    for id in (5, 6, 7, 8):  # fetched back
        scene.take(trade(id, 7, 130.0))
    assert rows(scene)[-1][1:8] == (104.0, 120.0, 100.0, 120.0, 10.0, 1050.0, 8)
    scene.take(trade(20, MINUTE + 1, 90.0, 0.5))
    assert rows(scene)[-2][8] == PARTIAL
    assert rows(scene)[-1][1:8] == (90.0, 90.0, 90.0, 90.0, 0.5, 45.0, 1)
    scene.take(kline(0, 121.0, 18))
    assert rows(scene)[-2][4:9] == (121.0, 2.0, 242.0, 18, 0)


def test_frames_are_the_last_two_bars_and_everything_where_something_else_changed(feed: Feed) -> None:
    scene = scene_of(feed, size=5)
    assert list(scene.frames(whole=True)) == [Frame(Kind.BLANK, flags=Flag.LOADING)]
    for minute in range(4):
        scene.take(kline(minute, 100.0 + minute))
    (first,) = scene.frames(whole=False)
    assert (first.kind, first.counts, first.origin) == (Kind.BARS_SNAPSHOT, (4, 6), "rest")
    (frame,) = scene.frames(whole=False)
    assert (frame.kind, frame.counts, frame.flags) == (Kind.BARS, (2, 3), Flag.LOADING), "nobody has asked for history"
    assert [row[0] for row in rows(scene)] == [START + 2 * MINUTE, START + 3 * MINUTE]
    assert numbers(frame) == [pytest.approx(103 / 99 - 1), MINUTE, numbers(first)[2]]
    scene.take(kline(0, 90.0, 20))
    (again,) = scene.frames(whole=False)
    assert again.kind is Kind.BARS_SNAPSHOT
    assert numbers(again)[2] != numbers(first)[2]
    assert numbers(again)[3:] == [START, 0.0, 0.0]
    scene.take(kline(9))
    assert [row[8] for row in rows(scene, whole=True)] == [MISSING] * 4 + [0]
    assert [row[8] for row in rows(scene)] == [MISSING, 0]


def test_the_first_bar_stands_alone(feed: Feed) -> None:
    scene = scene_of(feed)
    scene.take(trade(1, 5))
    assert scene.frames(whole=True)[0].counts == (1, 6)
    assert scene.frames(whole=False)[0].counts == (1, 3)


def test_what_was_fetched_back_is_marked(feed: Feed) -> None:
    scene = scene_of(feed)
    for minute in range(4):
        scene.take(kline(minute))
    start, end = START + 2 * MINUTE - 10, START + 2 * MINUTE + 10
    told = ("binance", "BTCUSDT", "trade", start, end, "1", "5", "missing trade ids")
    assert not scene.take(Gap(*told, None, None, end, "stream"))
    assert not scene.take(Gap("binance", "BTCUSDT", "book", *told[3:], end, "rest", end, "stream"))
    assert scene.take(Gap(*told, end, "rest", end, "stream"))
    assert [row[8] for row in rows(scene, whole=True)] == [0, HEALED, HEALED, 0]
    assert scene.take(Gap("binance", "BTCUSDT", "kline_1m", START, START + 1, None, None, "", end, "rest", end, "rest"))
    assert rows(scene, whole=True)[0][8] == HEALED


def test_klines_of_other_intervals_are_no_news(feed: Feed) -> None:
    scene = scene_of(feed, "5m")
    assert not scene.take(kline(0))
    assert [frame.kind for frame in scene.frames(whole=True)] == [Kind.BLANK]


def test_the_change_is_that_since_the_first_bar_that_is_known_as_in_the_picture(feed: Feed) -> None:
    scene = scene_of(feed, size=5)
    for minute, close in ((-3, 100.0), (1, 101.0), (2, 120.0), (4, 150.0)):
        scene.take(kline(minute, close))
    (frame,) = scene.frames(whole=True)
    assert rows(scene, whole=True)[0][8] == MISSING
    assert numbers(frame)[0] == pytest.approx(150 / 100 - 1)
    assert "▲ +50.00\u2009%" in scene.svg()
    # It becomes known, and so does what the change begins with.
    scene.take(kline(0, 76.0))
    assert numbers(scene.frames(whole=False)[0])[0] == pytest.approx(150 / 75 - 1)
    assert "▲ +100.00\u2009%" in scene.svg()


def test_the_change_follows_where_the_bar_before_the_last_becomes_known(feed: Feed) -> None:
    scene = scene_of(feed, size=2)
    scene.take(kline(-5))
    scene.take(kline(1, 150.0))
    assert numbers(scene.frames(whole=True)[0])[0] == pytest.approx(150 / 149 - 1)
    scene.take(kline(0, 101.0))
    assert numbers(scene.frames(whole=False)[0])[0] == pytest.approx(150 / 100 - 1)


def test_without_a_price_to_begin_with_there_is_no_change(feed: Feed) -> None:
    scene = scene_of(feed)
    scene.take(kline(0, 1.0))  # opened at 0
    assert math.isnan(numbers(scene.frames(whole=True)[0])[0])
    assert "%" not in "".join(ET.fromstring(scene.svg()).itertext())


def test_a_trade_that_was_fetched_back_does_not_bring_an_old_id(feed: Feed) -> None:
    scene = scene_of(feed)
    for id in (3, 7, 5):
        scene.take(trade(id, id))
    assert scene.frames(whole=True)[0].id == 7
