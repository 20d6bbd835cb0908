import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.records import Record, Trade
from marketlab.streams.hub import Batch
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Flag, Frame, Kind, State, unpack
from marketlab.widgets.pump import MESSAGES_PER_SECOND, pump_of, running_pumps

from .screens import Counter, Screen, until


@pytest.fixture(autouse=True)
def _nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    gc.collect()
    assert running_pumps() == 0
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


class Noting(Counter):
    """Notes the ids of all trades."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[int] = []

    def take(self, record: Record) -> bool:
        if isinstance(record, Trade):
            self.ids.append(int(record.trade_id))
        return super().take(record)


class Loading(Counter):
    """Says that its history is being fetched."""

    loading = True

    def frames(self, *, whole: bool) -> Sequence[Frame]:
        flags = Flag.LOADING if self.loading else Flag(0)
        return [msgspec.structs.replace(frame, flags=flags) for frame in super().frames(whole=whole)]


def test_a_feed_has_one_pump(feed: LiveFeed, exchange: LocalExchange) -> None:
    assert pump_of(feed) is pump_of(feed)
    assert running_pumps() == 0
    with LiveFeed("ETHUSDT", "trade", ws_url=exchange.ws_url, rest_url=exchange.rest_url) as other:
        assert pump_of(other) is not pump_of(feed)
        screens = [Screen(feed), Screen(feed), Screen(other, Counter("ETHUSDT"))]
        until(lambda: running_pumps() == 2)
        for screen in screens:
            screen.wait(2)
            screen.leave()
        until(lambda: running_pumps() == 0)


def test_frames_show_what_has_come_until_then(feed: LiveFeed) -> None:
    screen = Screen(feed)
    until(lambda: screen.scene.count > 20)
    screen.wait(2)
    frames = [unpack(packed) for packed in screen.packed]
    sequences = [words["sequence"] for _, words in frames]
    assert sequences == list(range(1, len(frames) + 1))
    shown = [next(iter(frame.columns[0])) for frame, _ in frames if frame.kind is Kind.TRADES]
    assert shown == sorted(shown)
    for frame, words in frames:
        if frame.kind is Kind.TRADES and words["newest"]:
            assert 0 < words["oldest"] <= words["newest"] <= words["sent"]
            assert words["origin"] == 5  # simulated
    screen.leave()


def test_what_the_feed_lacks_is_subscribed_to_once(feed: LiveFeed) -> None:
    screens = [Screen(feed, Counter("ETHUSDT")) for _ in range(3)]
    for screen in screens:
        screen.wait_count(3)
        assert screen.said == []
    assert [stream.symbol for stream in feed.status().streams if stream.channel == "trade"] == ["BTCUSDT", "ETHUSDT"]
    for screen in screens:
        screen.leave()


def test_all_widgets_together_send_no_more_than_the_budget(feed: LiveFeed) -> None:
    screens = [Screen(feed) for _ in range(12)]
    times: list[float] = []
    while len(times) < 700:
        for screen in screens:
            screen.report()
        time.sleep(0.05)
        times = sorted(unpack(packed)[1]["sent"] / 1e6 for screen in screens for packed in tuple(screen.packed))
    for at, start in enumerate(times):
        within = sum(start <= later < start + 1 for later in times[at : at + 600])
        assert within <= MESSAGES_PER_SECOND * 1.2
    for screen in screens:
        screen.leave()


def test_where_nothing_is_new_heartbeats_say_that_all_is_well(feed: LiveFeed) -> None:
    screen = Screen(feed, Counter(channel="quote"))  # its news would be trades
    screen.scene.take = lambda _: False
    screen.wait(3)
    assert screen.last.kind is Kind.BLANK
    assert screen.states[-1] is State.RUNNING
    screen.leave()


def test_nothing_is_sent_where_no_page_is_open(feed: LiveFeed) -> None:
    shown, unseen = Screen(feed), Screen(feed, page="")
    shown.wait(10)
    assert unseen.packed == []
    shown.pump.closed(shown.seat, "page")
    unseen.pump.shown(unseen.seat)
    unseen.wait(1)
    sent = len(shown.packed)
    unseen.wait(10)
    assert len(shown.packed) == sent
    for screen in (shown, unseen):
        screen.leave()


def test_what_a_page_that_opens_gets_is_whole(feed: LiveFeed) -> None:
    screen = Screen(feed)
    screen.wait(5)
    before = screen.scene.whole_times
    screen.pump.opened(screen.seat, "another")
    until(lambda: screen.scene.whole_times > before)
    screen.leave()


def test_a_hidden_page_costs_little(feed: LiveFeed) -> None:
    hidden, shown = Screen(feed), Screen(feed)
    while len(shown.packed) < 100:
        hidden.report(visible=False)
        shown.report()
        time.sleep(0.02)
    assert len(hidden.packed) < 30
    hidden.report()
    hidden.wait(2)
    for screen in (shown, hidden):
        screen.leave()


def paused_screen(feed: LiveFeed) -> Screen:
    screen = Screen(feed)
    screen.wait(3)
    screen.pump.run(lambda: screen.seat.pause(True))
    screen.pump.refresh(screen.seat, whole=True)
    screen.wait_state(State.PAUSED)
    return screen


def test_a_paused_widget_keeps_its_picture(feed: LiveFeed) -> None:
    screen = paused_screen(feed)
    held = screen.last
    picture = screen.seat.svg()
    assert picture == f"<svg>{next(iter(held.columns[0])):.0f}</svg>"
    seen = screen.scene.count
    until(lambda: screen.scene.count > seen + 50)
    assert screen.seat.svg() == picture
    screen.pump.opened(screen.seat, "another")
    until(lambda: screen.last.kind is Kind.TRADES and screen.states[-1] is State.PAUSED and len(screen.packed) > 4)
    assert screen.last.columns == held.columns
    screen.pump.run(lambda: screen.seat.pause(False))
    screen.pump.refresh(screen.seat, whole=True)
    screen.wait_state(State.RUNNING)
    assert next(iter(screen.last.columns[0])) > seen
    assert screen.seat.svg() != picture
    screen.leave()


def test_a_widget_that_is_paused_before_there_is_anything_keeps_the_first_picture(feed: LiveFeed) -> None:
    screen = Screen(feed, page="")

    def nothing_yet() -> str:
        screen.seat.pause(True)
        screen.scene.count = 0
        return screen.seat.svg()

    assert feed.ask(nothing_yet) == "<svg>0</svg>"
    until(lambda: screen.scene.count > 0)
    first = feed.ask(screen.seat.svg)
    assert first != "<svg>0</svg>"
    seen = screen.scene.count
    until(lambda: screen.scene.count > seen + 20)
    assert feed.ask(screen.seat.svg) == first
    screen.leave()


def test_a_stream_that_was_ended_is_told_until_it_is_back(feed: LiveFeed) -> None:
    screen = Screen(feed)
    screen.wait(3)
    feed.unsubscribe("BTCUSDT", "trade")
    told = "trade of BTCUSDT is not streamed any more; feed.subscribe('BTCUSDT', 'trade') brings it back."
    until(lambda: screen.said[-1:] == [told])
    feed.subscribe("BTCUSDT", "trade")
    until(lambda: screen.said[-1:] == [""])
    screen.wait(3)
    screen.leave()


def test_the_last_picture_of_a_paused_widget_is_the_last_one_there_is(feed: LiveFeed) -> None:
    screen = paused_screen(feed)
    held = list(screen.last.columns[0])
    seen = screen.scene.count
    until(lambda: screen.scene.count > seen + 50)
    feed.stop()
    assert screen.states[-1] is State.STOPPED
    assert list(screen.last.columns[0]) == [screen.scene.count] != held
    assert screen.seat.svg() == f"<svg>{screen.scene.count}</svg>"


def test_another_scene_begins_with_a_whole_picture(feed: LiveFeed) -> None:
    screen = Screen(feed)
    screen.wait(3)
    other = Counter("ETHUSDT")
    screen.pump.show(screen.seat, other)
    until(lambda: other.count > 3)
    until(lambda: other.whole_times)
    fresh = [frame for frame, _ in map(unpack, screen.packed) if frame.flags & Flag.FRESH]
    assert len(fresh) == 1
    seen = screen.scene.count
    screen.wait(3)
    assert screen.scene.count == seen
    assert screen.last.id == other.newest or screen.last.id <= other.newest
    screen.leave()


# The end of a feed


def test_the_last_frame_says_that_the_feed_has_stopped(feed: LiveFeed) -> None:
    screen, unseen = Screen(feed), Screen(feed, page="")
    screen.wait(3)
    feed.stop()
    feed.stop()
    assert screen.states[-1] is unseen.states[-1] is State.STOPPED
    assert (screen.endings, unseen.endings) == (1, 1)
    assert next(iter(screen.last.columns[0])) == screen.scene.count
    screen.leave()
    screen.leave()


def test_a_page_that_opens_after_the_end_gets_the_last_picture(feed: LiveFeed) -> None:
    screen = Screen(feed)
    screen.wait(3)
    feed.stop()
    sent = len(screen.packed)
    screen.report()
    screen.pump.closed(screen.seat, "page")
    assert len(screen.packed) == sent
    screen.pump.opened(screen.seat, "reloaded")
    assert len(screen.packed) == sent + 1
    assert screen.last.kind is Kind.TRADES
    assert screen.states[-1] is State.STOPPED
    late = Screen(feed)
    assert late.states == [State.STOPPED, State.STOPPED]
    assert late.endings == 1
    for one in (screen, late):
        one.leave()


def test_it_may_be_stopped_from_any_thread(feed: LiveFeed) -> None:
    screens = [Screen(feed) for _ in range(3)]
    screens[0].wait(2)
    threads = [threading.Thread(target=feed.stop) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for screen in screens:
        screen.wait_end()
        assert screen.states[-1] is State.STOPPED
        assert screen.endings == 1


def test_it_may_be_stopped_from_its_own_thread(feed: LiveFeed) -> None:
    screen = Screen(feed)
    screen.wait(2)
    feed.loop.call_soon_threadsafe(feed.stop)
    until(lambda: screen.endings == 1)
    assert screen.states[-1] is State.STOPPED


def test_widgets_that_are_made_while_a_feed_stops_are_told(exchange: LocalExchange) -> None:
    for _ in range(5):
        feed = LiveFeed("BTCUSDT", "trade", ws_url=exchange.ws_url, rest_url=exchange.rest_url)
        stopping = threading.Thread(target=feed.stop)
        screens = [Screen(feed)]
        stopping.start()
        while stopping.is_alive():
            screens.append(Screen(feed))
            time.sleep(0.001)
        stopping.join()
        screens.append(Screen(feed))
        for screen in screens:
            assert screen.states[-1] is State.STOPPED
            assert screen.endings == 1
            screen.leave()


def test_a_feed_that_failed_says_why(feed: LiveFeed, caplog: pytest.LogCaptureFixture) -> None:
    screen = Screen(feed)
    screen.wait(2)

    def break_it(_: Batch) -> None:
        raise ZeroDivisionError("nothing to divide by")

    feed.lossless(break_it)
    screen.wait_state(State.STOPPED)
    assert screen.said == ["The feed has ended: nothing to divide by"]
    feed.stop()
    assert screen.said == ["The feed has ended: nothing to divide by"]
    assert screen.endings == 1
    assert "The feed ends" in caplog.text


def test_a_feed_that_reconnects_says_so() -> None:
    with LocalExchange(Simulation(), speed=20.0, start_after=0.1) as first:
        port = int(first.rest_url.rpartition(":")[2])
        feed = LiveFeed("BTCUSDT", "trade", ws_url=first.ws_url, rest_url=first.rest_url)
        screen = Screen(feed)
        screen.wait_state(State.RUNNING)
    screen.wait_state(State.RECONNECTING)
    with LocalExchange(Simulation(), speed=20.0, start_after=0.1, port=port):
        screen.wait_state(State.RUNNING)
        feed.stop()
    screen.wait_state(State.STOPPED)


# What goes wrong in one of them


def test_what_a_scene_refuses_is_told_until_it_can(feed: LiveFeed) -> None:
    screen = Screen(feed)
    until(lambda: screen.scene.count > 3)
    screen.scene.refuses = "This feed has no book."
    until(lambda: screen.said)
    screen.wait(3)
    assert screen.said == ["This feed has no book."]
    assert screen.last.kind is Kind.BLANK
    screen.scene.refuses = ""
    until(lambda: screen.last.kind is Kind.TRADES)
    until(lambda: screen.said == ["This feed has no book.", ""])
    screen.leave()


@pytest.mark.parametrize("part", ["take", "frames"])
def test_a_broken_widget_stops_alone(feed: LiveFeed, part: str, caplog: pytest.LogCaptureFixture) -> None:
    broken, sound = Screen(feed), Screen(feed)
    broken.wait(2)
    broken.scene.broken = part
    until(lambda: broken.said)
    sound.wait(10)
    assert broken.said == ["This widget has failed; the log says why."]
    assert feed.running
    (record,) = [record for record in caplog.records if record.name == "marketlab.widgets"]
    assert record.exc_info is not None
    assert "the scene is broken" in str(record.exc_info[1])
    for screen in (broken, sound):
        screen.leave()


def test_neighbours_of_a_broken_widget_miss_nothing(feed: LiveFeed) -> None:
    feed.wait(trades=1)
    sound = Screen(feed, Noting())
    for _ in range(8):
        broken = Screen(feed)
        broken.wait_count(1)
        broken.scene.broken = "take"
        until(broken.said.copy)
    sound.wait_count(sound.scene.count + 20)
    ids = sound.scene.ids
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    sound.leave()


def test_a_widget_that_cannot_even_say_that_it_failed_fails_alone(
    feed: LiveFeed, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = Screen(feed), Screen(feed)
    broken.wait(2)

    def fail(_: str) -> None:
        raise ZeroDivisionError("nobody can be told")

    broken.seat.tell = fail
    broken.scene.broken = "take"
    until(lambda: "nobody can be told" in caplog.text)
    sound.wait(10)
    assert feed.running
    for screen in (broken, sound):
        screen.leave()


def test_a_widget_that_fails_in_its_last_frame_fails_alone(feed: LiveFeed) -> None:
    broken, sound = Screen(feed), Screen(feed)
    later: list[str] = []
    feed.when_stopped(lambda: later.append("called"))
    for screen in (broken, sound):
        screen.wait(2)

    def fail() -> None:
        later.append("ended")
        raise ZeroDivisionError("no last picture")

    broken.seat.ended = fail
    broken.pump.closed(broken.seat, "page")
    feed.ask(lambda: setattr(broken.scene, "broken", "frames"))
    feed.stop()
    assert broken.said == ["This widget has failed; the log says why."]
    assert later == ["ended", "called"]
    assert (sound.states[-1], sound.endings) == (State.STOPPED, 1)
    sound.leave()


def test_what_cannot_be_prepared_is_told_and_the_rest_is_shown(feed: LiveFeed) -> None:
    from marketlab.errors import ExchangeError

    async def refuse() -> None:
        raise ExchangeError("binance", "no history today")

    scene = Counter()
    scene.prepared = refuse
    screen = Screen(feed, scene)
    until(lambda: screen.said)
    assert "no history today" in screen.said[0]
    until(lambda: screen.packed and screen.last.kind is Kind.TRADES)
    screen.leave()


def test_what_could_not_be_had_is_asked_for_again_until_it_is_there(feed: LiveFeed) -> None:
    from marketlab.errors import ExchangeError

    attempts: list[int] = []

    async def at_last() -> None:
        attempts.append(len(attempts))
        if len(attempts) < 2:
            raise ExchangeError("binance", "no history yet")

    scene = Counter()
    scene.prepared = at_last
    screen = Screen(feed, scene)
    until(lambda: len(screen.said) == 2)
    assert "no history yet" in screen.said[0]
    assert screen.said[1] == ""
    seen = screen.scene.count
    screen.wait_count(seen + 20)
    assert attempts == [0, 1]
    screen.leave()


def test_a_broken_preparation_is_told_and_the_rest_is_shown(feed: LiveFeed, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ZeroDivisionError("the history is broken")

    scene = Counter()
    scene.prepared = fail
    screen = Screen(feed, scene)
    until(lambda: screen.said == ["History cannot be had; the log says why."])
    until(lambda: screen.packed and screen.last.kind is Kind.TRADES)
    assert "the history is broken" in caplog.text
    screen.leave()


def test_nothing_is_fetched_for_scenes_that_are_gone(feed: LiveFeed) -> None:
    working: set[int] = set()
    begun: list[int] = []

    def scene(number: int) -> Counter:
        async def fetch() -> None:
            begun.append(number)
            working.add(number)
            try:
                await asyncio.sleep(3600)
            finally:
                working.discard(number)

        made = Counter()
        made.prepared = fetch
        return made

    screen = Screen(feed, scene(0))
    until(lambda: working)
    for number in range(1, 11):
        screen.pump.show(screen.seat, scene(number))
    until(lambda: working == {10})
    screen.leave()
    until(lambda: not working)
    assert begun[-1] == 10


def test_a_paused_widget_holds_no_torso(feed: LiveFeed) -> None:
    screen = Screen(feed)
    screen.wait(3)
    screen.pump.run(lambda: screen.seat.pause(True))
    history, other = asyncio.Event(), Loading()

    async def fetch() -> None:
        await history.wait()
        other.loading = False

    other.prepared = fetch
    screen.pump.show(screen.seat, other)
    until(lambda: screen.last.flags & Flag.LOADING)
    seen = other.count
    screen.wait(3)
    until(lambda: other.count > seen + 20)
    feed.loop.call_soon_threadsafe(history.set)
    until(lambda: not screen.last.flags & Flag.LOADING and screen.last.kind is Kind.TRADES)
    assert next(iter(screen.last.columns[0])) > seen
    held = screen.last.columns
    seen = other.count
    until(lambda: other.count > seen + 20)
    sent = len(screen.packed)
    screen.pump.opened(screen.seat, "another")
    until(lambda: len(screen.packed) > sent and screen.last.kind is Kind.TRADES)
    assert screen.last.columns == held
    screen.leave()


def test_a_channel_that_there_is_not_is_told(feed: LiveFeed) -> None:
    screen = Screen(feed, Counter(channel="kline_7m"))
    until(lambda: screen.said)
    assert "7m" in screen.said[0]
    screen.leave()


def test_what_is_still_being_prepared_ends_with_the_feed(feed: LiveFeed) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    scene = Counter()
    scene.prepared = wait
    screen = Screen(feed, scene)
    assert begun.wait(30)
    feed.stop()
    assert ended.is_set()
    assert screen.endings == 1


# Coming and going


def test_whoever_has_left_gets_nothing_more(feed: LiveFeed) -> None:
    leaving, staying = Screen(feed), Screen(feed)
    leaving.wait(2)
    leaving.leave()
    leaving.leave()
    leaving.report()
    feed.ask(lambda: None)
    sent, seen = len(leaving.packed), leaving.scene.count
    staying.wait(20)
    assert (len(leaving.packed), leaving.scene.count, leaving.endings) == (sent, seen, 0)
    staying.leave()


def test_a_thousand_that_come_and_go_leave_nothing(feed: LiveFeed) -> None:
    feed.wait(trades=1)
    pump = pump_of(feed)
    tasks = feed.ask(lambda: len(asyncio.all_tasks(feed.loop)))
    subscribers = feed.ask(lambda: len(feed.inner.hub.__dict__["_subscribers"]))
    gone = []
    for number in range(1000):
        screen = Screen(feed, page=f"page {number}")
        screen.leave()
        gone.append(weakref.ref(screen.scene))
    del screen
    until(lambda: feed.ask(lambda: len(asyncio.all_tasks(feed.loop))) <= tasks)
    assert pump.seats == ()
    assert feed.ask(lambda: len(feed.inner.hub.__dict__["_subscribers"])) == subscribers
    gc.collect()
    assert [one for one in gone if one() is not None] == []


def test_a_pump_keeps_no_feed_alive(exchange: LocalExchange) -> None:
    feed = LiveFeed("BTCUSDT", "trade", ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    screen = Screen(feed)
    screen.wait(2)
    gone = weakref.ref(feed)
    del feed
    gc.collect()
    until(lambda: gone() is None)
    assert screen.states[-1] is State.STOPPED
