import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from marketlab.exchange_server import LocalExchange, Simulation, TapeSource
from marketlab.records import BookUpdate, Levels
from marketlab.streams.feed import Feed
from marketlab.streams.hub import Batch
from marketlab.streams.live import LiveFeed
from marketlab.widgets.book_picture import Shown, shown
from marketlab.widgets.book_scene import TRADES, BookScene
from marketlab.widgets.contract import Flag, Frame, Kind

CHANNELS = ["trade", "book", "quote"]
STEPS = (1.0, 10.0)


@pytest.fixture
def feed() -> Iterator[LiveFeed]:
    with (
        LocalExchange(Simulation(seed=4), speed=20.0, start_after=0.1) as local,
        LiveFeed("BTCUSDT", CHANNELS, ws_url=local.ws_url, rest_url=local.rest_url) as running,
    ):
        running.wait(trades=TRADES + 1, update_id=1)
        yield running


def frame_of(feed: LiveFeed, scene: BookScene) -> Frame:
    (frame,) = feed.ask(lambda: scene.frames(whole=True))
    assert frame.kind is Kind.BOOK
    return frame


class Witness:
    """Keeps a book of its own, the simplest way, beside scenes at the same feed; looks at random moments."""

    def __init__(self) -> None:
        self.feed: Feed | None = None
        self.looks = 0
        self.wrong: list[int] = []
        self._random = Random(7)
        self._id = -1
        self._sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
        self._scenes: list[BookScene] = []

    def __call__(self, batch: Batch) -> None:
        if self.feed is None:
            return
        if not self._scenes:
            self._scenes = [BookScene(self.feed, "BTCUSDT", 20, group) for group in (0.0, *STEPS)]
        book = self.feed.market.book("BTCUSDT")
        for record in batch:
            for scene in self._scenes:
                scene.take(record)
            if isinstance(record, BookUpdate) and self._id < record.last_id <= book.id and self._id >= 0:
                self._apply(record)
        if self._id < 0 and book.verified:
            bids, asks = book.top(100_000)
            self._id, self._sides = book.id, (dict(bids), dict(asks))
        if self._id >= 0 and self._random.random() < 0.5:
            self._look(self.feed)

    def _apply(self, update: BookUpdate) -> None:
        self._id = update.last_id
        for side, levels in zip(self._sides, (update.bids, update.asks), strict=True):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)

    def _look(self, feed: Feed) -> None:
        self.looks += 1
        plain, *joined = (frame for scene in self._scenes for frame in scene.frames(whole=False))
        book = feed.book("BTCUSDT", 20)
        bids, asks = self._sides
        own = (sorted(bids.items(), reverse=True)[:20], sorted(asks.items())[:20])
        told = shown(plain)
        right = plain.id == book.id == self._id
        right &= (told.bids, told.asks) == (book.bids, book.asks) == own
        for frame, step in zip(joined, STEPS, strict=True):
            levels = shown(frame)
            right &= frame.id == self._id
            right &= _joined(bids, step, -1) == levels.bids and _joined(asks, step, 1) == levels.asks
        if not right:
            self.wrong.append(self._id)


def _joined(side: dict[float, float], step: float, sign: int) -> Levels:
    ticks = round(step / 0.01)
    groups: dict[int, list[float]] = {}
    for price, size in side.items():
        groups.setdefault(-(-sign * round(price / 0.01) // ticks), []).append(size)
    return [(sign * key * step, math.fsum(groups[key])) for key in sorted(groups)[:20]]


def test_what_is_shown_is_the_book_at_random_moments_of_a_tape(tapes: Path) -> None:
    witness = Witness()
    with (
        LocalExchange(TapeSource(tapes / "btcusdt_20240809.gz"), speed=40.0, start_after=0.1) as local,
        LiveFeed("BTCUSDT", CHANNELS, ws_url=local.ws_url, rest_url=local.rest_url) as feed,
    ):
        subscriber = feed.lossless(witness)
        witness.feed = feed.inner
        feed.wait(records=1_000, idle=1.5)
        subscriber.close()
    assert witness.looks >= 200
    assert witness.wrong == []


def test_a_frame_says_what_the_book_says(feed: LiveFeed) -> None:
    scene = BookScene(feed.inner, "BTCUSDT", 7)
    assert [need.channel for need in scene.needs()] == ["book", "quote", "trade"]

    def take(batch: Batch) -> None:
        for record in batch:
            scene.take(record)

    subscriber = feed.lossless(take)
    so_far = sum(stream.records for stream in feed.status().streams if stream.channel == "trade")
    feed.wait(trades=so_far + TRADES + 1)
    subscriber.close()

    def both() -> tuple[Frame, Shown]:
        (frame,) = scene.frames(whole=True)
        book = feed.inner.book("BTCUSDT", 7)
        told = shown(frame)
        assert (told.bids, told.asks) == (book.bids, book.asks)
        assert told.best == (*book.bids[0], *book.asks[0])
        assert (told.compared, told.equal, told.group) == (book.compared, book.equal, 0.0)
        return frame, told

    frame, told = feed.ask(both)
    assert frame.counts == (7, 7)
    assert Flag.VERIFIED in frame.flags
    trades = feed.ask(lambda: list(scene._trades))
    assert len(told.trades) == TRADES
    assert [(price, abs(size)) for price, size, _ in told.trades] == [(trade.price, trade.size) for trade in trades]
    assert [size > 0 for _, size, _ in told.trades] == [trade.side == "buy" for trade in trades]
    times = [time for *_, time in told.trades]
    assert times == sorted(times, reverse=True)


def test_joined_levels_fill_the_depth_from_the_deeper_book(feed: LiveFeed) -> None:
    scene = BookScene(feed.inner, "BTCUSDT", 5, 1.0)
    frame = frame_of(feed, scene)
    told = shown(frame)
    assert frame.counts == (5, 5)
    assert told.group == 1.0
    assert all(price == round(price) for side in (told.bids, told.asks) for price, _ in side)
    assert told.bids[0][0] <= told.best[0]
    assert told.asks[0][0] >= told.best[2]
    scene.regroup(0.0)
    assert shown(frame_of(feed, scene)).group == 0.0


def test_before_the_book_there_is_nothing(feed: LiveFeed) -> None:
    scene = BookScene(feed.inner, "ETHUSDT", 5)
    assert feed.ask(lambda: scene.frames(whole=True)) == []
    assert "No book of ETHUSDT yet." in feed.ask(scene.svg)
    feed.subscribe("ETHUSDT", "book")
    feed.wait(update_id=1, symbol="ETHUSDT")
    assert frame_of(feed, scene).counts == (5, 5)


def test_the_last_good_levels_stay_while_the_book_is_fetched_anew(feed: LiveFeed) -> None:
    scene = BookScene(feed.inner, "BTCUSDT", 5)
    good = frame_of(feed, scene)

    def lose() -> list[Frame]:
        scene.frames(whole=True)
        feed.inner.market.book("BTCUSDT").discard()
        return list(scene.frames(whole=True))

    (kept,) = feed.ask(lose)
    assert kept.counts == (5, 5)
    assert kept.id >= good.id
    assert Flag.LOADING in kept.flags
    assert Flag.VERIFIED not in kept.flags
    feed.wait(update_id=kept.id + 1)
    anew = frame_of(feed, scene)
    assert anew.id > kept.id
    assert Flag.VERIFIED in anew.flags
    assert Flag.LOADING not in anew.flags


def test_the_last_levels_stay_after_the_end_and_when_nothing_is_streamed_any_more(feed: LiveFeed) -> None:
    scene = BookScene(feed.inner, "BTCUSDT", 5)
    frame_of(feed, scene)
    feed.unsubscribe("BTCUSDT", "book")
    kept = frame_of(feed, scene)
    assert kept.counts == (5, 5)
    assert Flag.VERIFIED not in kept.flags
    feed.stop()
    assert frame_of(feed, scene) == kept


def test_quotes_are_no_news() -> None:
    feed = Feed("BTCUSDT")
    scene = BookScene(feed, "BTCUSDT")
    update = BookUpdate("binance", "BTCUSDT", 1, 1, None, 1, [], [], 1, "stream")
    assert scene.take(update)
    assert not scene.frames(whole=True)
