import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab import tapes as tapes_files
from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.exchanges import find
from marketlab.exchanges.contract import Connection
from marketlab.market.market import Need
from marketlab.records import BookSnapshot, BookUpdate, Levels, Quote, Record, Trade
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


def records_of(tape: Path) -> Iterator[Record]:
    """The trades, quotes and book updates of a tape, and its snapshot; before a tape without one, an empty one."""
    exchange = find("binance")
    session = exchange.session(Connection("/stream", ()), "replay")
    request = exchange.snapshot_request("ETHUSDT", 1000)
    began = False
    for line in tapes_files.read(tape):
        at = line.received // 1000
        answer = tapes_files.answer(line.frame)
        found = (
            session.received(line.frame, at) if answer is None else exchange.answer(request, answer.body, at, "replay")
        )
        for record in found:
            assert isinstance(record, Trade | Quote | BookUpdate | BookSnapshot)
            if isinstance(record, BookUpdate) and not began and "btc" in tape.name:
                before = record.first_id - 1
                yield BookSnapshot("binance", record.symbol, before, at, [], [], 0, True, at, "replay")
            began |= isinstance(record, BookUpdate | BookSnapshot)
            yield record


class Witness:
    """Keeps a book of its own, the simplest way, beside scenes that are given the same."""

    def __init__(self, feed: Feed, symbol: str) -> None:
        self.feed = feed
        self.symbol = symbol
        self._scenes = [BookScene(feed, symbol, 20, group) for group in (0.0, *STEPS)]
        self._sides: tuple[dict[float, float], dict[float, float]] = ({}, {})

    def take(self, record: Record) -> None:
        for output in self.feed.market.accept(record):
            if isinstance(output, Need):
                continue
            for scene in self._scenes:
                scene.take(output)
        if isinstance(record, BookSnapshot):
            self._sides = (dict(record.bids), dict(record.asks))
        elif isinstance(record, BookUpdate):
            for side, levels in zip(self._sides, (record.bids, record.asks), strict=True):
                side.update(levels)

    def look(self) -> None:
        plain, *joined = (frame for scene in self._scenes for frame in scene.frames(whole=False))
        book = self.feed.book(self.symbol, 20)
        bids, asks = ({price: size for price, size in side.items() if size} for side in self._sides)
        told = shown(plain)
        assert plain.id == book.id > 0
        assert (told.bids, told.asks) == (book.bids, book.asks)
        assert (told.bids, told.asks) == (sorted(bids.items(), reverse=True)[:20], sorted(asks.items())[:20])
        for frame, step in zip(joined, STEPS, strict=True):
            levels = shown(frame)
            assert frame.id == book.id
            assert (levels.bids, levels.asks) == (_joined(bids, step, -1), _joined(asks, step, 1))


def _joined(side: dict[float, float], step: float, sign: int) -> Levels:
    ticks = round(step / 0.01)
    groups: dict[int, list[float]] = {}
    for price, size in side.items():
        groups.setdefault(-(-sign * round(price / 0.01) // ticks), []).append(size)
    return [(sign * key * step, math.fsum(groups[key])) for key in sorted(groups)[:20]]


@pytest.mark.parametrize(("symbol", "day"), [("BTCUSDT", 20240809), ("ETHUSDT", 20240808)])
def test_what_is_shown_is_the_book_at_random_moments_of_a_tape(tapes: Path, symbol: str, day: int) -> None:
    told = list(records_of(tapes / f"{symbol.lower()}_{day}.gz"))
    book_from = next(n for n, record in enumerate(told) if isinstance(record, BookSnapshot))
    moments = set(Random(7).sample(range(book_from + 1, len(told)), 200))
    # Nothing is played in this hour: what the exchange would send, it is given one by one.
    with (
        LocalExchange(Simulation(), start_after=3600.0) as local,
        LiveFeed(symbol, CHANNELS, ws_url=local.ws_url, rest_url=local.rest_url) as feed,
    ):
        witness = Witness(feed.inner, symbol)
        for n, record in enumerate(told):
            # Nothing else runs in the feed's thread, so that only looks need to be in it.
            witness.take(record)
            if n in moments:
                feed.ask(witness.look)


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


@settings(deadline=None)
@given(st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_its_trades_are_the_newest_and_each_is_there_once(before: list[int], early: list[int], late: list[int]) -> None:
    made = [Trade("binance", "BTCUSDT", str(n), n // 3, 1.0, 1.0, "buy", 1, "stream") for n in range(41)]
    past = [made[number] for number in sorted({*before, *early})]
    scene = BookScene(Feed("BTCUSDT"), "BTCUSDT", past=lambda: past)
    for number in early:
        scene.take(made[number])
    asyncio.run(scene.prepare())
    for number in late:
        assert scene.take(made[number])
    newest = sorted({*before, *early, *late}, reverse=True)[:TRADES]
    assert [int(trade.trade_id) for trade in scene._trades] == newest
