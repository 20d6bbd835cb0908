import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("anywidget")

import traitlets as t
from ipywidgets.widgets.widget import _instances

import marketlab as ml
from marketlab.errors import UnknownSymbol, UsageError
from marketlab.exchange_server import LocalExchange
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Flag, Scene, unpack
from marketlab.widgets.live import LiveWidget
from marketlab.widgets.pump import pump_of, running_pumps

from .screens import Counter, until


class Count(LiveWidget):
    """A widget that shows how many trades came."""

    module = "count"
    start = t.Int(0, help="What is counted from.").tag(sync=True)

    def scene(self) -> Scene:
        if self.start < 0:
            raise UsageError("start is negative.")
        scene = Counter(self.symbol)
        scene.count = self.start
        return scene

    def rebuilt_by(self) -> set[str]:
        return {"symbol", "start"}

    @property
    def counter(self) -> Counter:
        assert self._seat is not None
        assert isinstance(self._seat.scene, Counter)
        return self._seat.scene

    def speak(self, **content: Any) -> None:
        """What the browser would send."""
        self._handle_custom_msg(content, [])


def wait_frames(widget: Count, count: int) -> None:
    until(lambda: widget.frames_sent >= count)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = set(_instances)
    yield
    for one in [_instances[name] for name in set(_instances) - before]:
        one.close()
    gc.collect()
    assert running_pumps() == 0


def test_its_options_are_attributes(feed: LiveFeed) -> None:
    widget = Count(feed, "btc/usdt", start=7, height=300, palette="cvd", layout={"width": "50%"})
    assert (widget.symbol, widget.exchange, widget.start, widget.height) == ("BTCUSDT", "binance", 7, 300)
    assert (widget.palette, widget.layout.width) == ("cvd", "50%")
    assert repr(widget) == str(widget) == "<Count BTCUSDT on binance>"


def test_decimals_are_the_instrument_s(feed: LiveFeed) -> None:
    widget = Count(feed, "BTCUSDT")
    instrument = feed.inner.instrument("BTCUSDT")
    assert instrument is not None
    assert instrument.tick == 10**-widget.price_decimals
    assert instrument.step == 10**-widget.size_decimals


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (["BTCUSDT"], {"hight": 300}, "Count has no option 'hight'; there are height, layout, "),
        (["BTCUSDT"], {"exchange": "kraken"}, "Count has no option 'exchange'"),
        (["BTCUSDT"], {"height": 3}, "Count: .*height.*120.*3"),
        (["BTCUSDT"], {"palette": "pink"}, "Count: .*palette.*pink"),
        (["BTCUSDT"], {"start": -1}, "start is negative."),
        ([], {}, "Count takes a symbol, such as Count\\(feed, 'BTCUSDT'\\)"),
        ([["BTCUSDT"]], {}, "Count takes a symbol, such as Count\\(feed, 'BTCUSDT'\\), not \\['BTCUSDT'\\]"),
    ],
)
def test_a_wrong_option_is_told_in_a_sentence_and_leaves_nothing(
    feed: LiveFeed, arguments: list[Any], options: dict[str, Any], sentence: str
) -> None:
    before = set(_instances)
    with pytest.raises(UsageError, match=sentence):
        Count(feed, *arguments, **options)
    feed.ask(lambda: None)
    assert pump_of(feed).seats == ()
    assert set(_instances) == before


def test_an_unknown_symbol_and_what_is_no_feed(feed: LiveFeed) -> None:
    with pytest.raises(UnknownSymbol, match="Did you mean BTCUSDT"):
        Count(feed, "BTCUSDTT")
    wrong: Any = "binance"
    with pytest.raises(UsageError, match=r"Count takes a feed, which ml.live\(...\) returns, not 'binance'"):
        Count(wrong, "BTCUSDT")
    feed.stop()
    with pytest.raises(UsageError, match="The feed was stopped; start another one to give to Count"):
        Count(feed, "BTCUSDT")


def test_another_symbol_is_another_scene(feed: LiveFeed) -> None:
    widget = Count(feed, "BTCUSDT")
    widget.speak(type="open", page="p")
    first = widget.counter
    until(lambda: first.count > 3)
    widget.symbol = "eth-usdt"
    until(lambda: widget.counter is not first)
    assert (widget.symbol, repr(widget)) == ("ETHUSDT", "<Count ETHUSDT on binance>")
    until(lambda: widget.counter.count > 3)
    with pytest.raises(UnknownSymbol):
        widget.symbol = "ETHUSDTT"
    assert widget.symbol == "ETHUSDT"
    widget.start = 1000
    until(lambda: widget.counter.count > 1000)


def test_nothing_of_the_former_symbol_goes_out_under_the_new_name(feed: LiveFeed) -> None:
    log: list[str] = []

    class Logged(Count):
        def send(self, content: Any, buffers: Any = None) -> None:
            frame, _ = unpack(buffers[0])
            log.append("fresh" if Flag.FRESH in frame.flags else "frame")
            super().send(content, buffers)

        def send_state(self, key: Any = None) -> None:
            if key == "symbol":
                log.append("name")
            super().send_state(key)

    widget = Logged(feed, "BTCUSDT")
    widget.speak(type="open", page="p")
    widget.observe(lambda _: wait_frames(widget, widget.frames_sent + 3), "symbol")  # somebody who takes his time
    for symbol in ["ETHUSDT", "BTCUSDT"] * 10:
        log.clear()
        widget.symbol = symbol
        until(lambda: "fresh" in log)
        assert log[log.index("name") + 1] == "fresh"


def test_a_scene_that_cannot_be_made_leaves_the_former_one(feed: LiveFeed) -> None:
    widget = Count(feed, "BTCUSDT")
    widget.speak(type="open", page="p")
    with pytest.raises(UsageError, match="start is negative"):
        widget.start = -1
    wait_frames(widget, widget.frames_sent + 5)
    widget.start = 500
    until(lambda: widget.counter.count > 500)


def test_it_may_be_paused_from_the_first_picture_on(feed: LiveFeed) -> None:
    widget = Count(feed, "BTCUSDT", paused=True, start=1)
    widget.speak(type="open", page="p")
    until(lambda: widget.counter.count > 30)
    sent = widget.frames_sent
    assert sent < 30
    widget.paused = False
    until(lambda: widget.frames_sent > sent + 10)
    widget.rate = 1
    assert widget.frames_sent > sent


def test_what_the_browser_says(feed: LiveFeed, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[dict[str, Any]] = []

    class Asked(Count):
        def asked(self, content: dict[str, Any]) -> None:
            asked.append(content)

    widget = Asked(feed, "BTCUSDT")
    assert widget.frames_sent == 0
    widget.speak(type="open", page="p")
    until(lambda: widget.frames_sent > 3)
    widget.speak(type="report", page="p", ack=3, painted=3)
    widget.speak(type="report", page="p", ack=None, wait_ms="soon")
    assert caplog.messages[0].startswith("A page's report cannot be read: ")
    widget.speak(type="whole")
    until(lambda: widget.counter.whole_times > 1)
    widget.speak(type="ask", what="older")
    assert asked == [{"type": "ask", "what": "older"}]
    widget.speak(type="close", page="p")
    feed.ask(lambda: None)
    sent, seen = widget.frames_sent, widget.counter.count
    until(lambda: widget.counter.count > seen + 20)
    assert widget.frames_sent == sent


def opened_and_closed(feed: LiveFeed) -> weakref.ref[Count]:
    before = len(_instances)
    widget = Count(feed, "BTCUSDT")
    widget.speak(type="open", page="p")
    until(lambda: widget.frames_sent > 3)
    widget.close()
    sent = widget.frames_sent
    widget.close()
    widget.symbol = "ETHUSDT"
    widget.paused = True
    feed.ask(lambda: None)
    assert pump_of(feed).seats == ()
    assert widget.frames_sent == sent
    assert len(_instances) == before
    return weakref.ref(widget)


def test_a_closed_widget_leaves_nothing(feed: LiveFeed) -> None:
    gone = opened_and_closed(feed)
    gc.collect()
    assert gone() is None


def test_it_may_be_closed_while_frames_are_sent(feed: LiveFeed, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(30):
        widget = Count(feed, "BTCUSDT")
        widget.speak(type="open", page="p")
        wait_frames(widget, 1)
        threads = [threading.Thread(target=widget.close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert caplog.records == []


def test_where_there_are_no_cells_nothing_is_replaced(feed: LiveFeed) -> None:
    widgets = [Count(feed, "BTCUSDT"), Count(feed, "BTCUSDT")]
    assert all(widget.comm is not None for widget in widgets)


def test_the_picture_stays(feed: LiveFeed, tmp_path: Path) -> None:
    widget = Count(feed, "BTCUSDT", start=5)
    picture = widget.picture()
    assert repr(picture) == f"<Picture, {len(picture.svg)} characters of SVG>"
    assert picture._repr_svg_() == picture.svg
    picture.save(tmp_path / "count.svg")
    assert (tmp_path / "count.svg").read_text() == picture.svg
    feed.stop()
    assert widget.picture().svg == f"<svg>{widget.counter.count}</svg>"


def test_a_feed_that_failed_is_told_in_the_middle(feed: LiveFeed) -> None:
    widget = Count(feed, "BTCUSDT")
    widget.speak(type="open", page="p")

    def break_it(_: object) -> None:
        raise ZeroDivisionError("nothing to divide by")

    feed.lossless(break_it)
    until(lambda: widget.notice == "The feed has ended: nothing to divide by")


def test_what_was_not_built_says_what_to_run(feed: LiveFeed) -> None:
    esm = str(Count(feed, "BTCUSDT").get_state()["_esm"])
    assert "export default" in esm
    assert "run `make widgets`" in esm


def test_a_program_that_ends_with_live_widgets_says_nothing(exchange: LocalExchange) -> None:
    program = f"""
        import gc
        from marketlab.streams.live import live
        from marketlab.widgets import BookLadder
        feed = live("BTCUSDT", ["trade", "book"], ws_url={exchange.ws_url!r}, rest_url={exchange.rest_url!r})
        ladders = [BookLadder(feed, "BTCUSDT", depth=depth) for depth in (5, 10)]
        ladders[1]._handle_custom_msg({{"type": "open", "page": "p"}}, [])
        while not ladders[1].frames_sent:
            feed.wait(records=1)
        print("the end")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end\n", "")


def test_a_stopped_feed_shows_what_it_has_shown_and_nothing_under_another_name() -> None:
    with ml.local_exchange(simulate=True, speed=20) as exchange:
        feed = ml.live(["BTCUSDT", "ETHUSDT"], ["trade"], exchange, name="stopped")
        ladder, watch = ml.BookLadder(feed, "BTCUSDT"), ml.Watchlist(feed)
        chart = ml.KlineChart(feed, "BTCUSDT")
        feed.wait(trades=10)
        feed.stop()
        for widget, name, wanted in (
            (ladder, "symbol", "ETHUSDT"),
            (chart, "symbol", "ETHUSDT"),
            (chart, "interval", "5m"),
            (watch, "symbols", ["ETHUSDT"]),
        ):
            with pytest.raises(UsageError, match="The feed was stopped"):
                setattr(widget, name, wanted)
        with pytest.raises(UsageError, match="The feed was stopped"):
            chart.bars = 10
        # A page's wish comes another way.
        picture = chart.picture().svg
        for wish in ({"interval": "5m"}, {"bars": 10}, {"symbol": "ETHUSDT"}):
            chart.set_state(wish)
        ladder.set_state({"symbol": "ETHUSDT"})
        assert chart.picture().svg == picture
        assert (chart.bars, ladder.symbol) == (500, "BTCUSDT")
        ladder.symbol = "btc/usdt"
        assert (ladder.symbol, chart.symbol, chart.interval) == ("BTCUSDT", "BTCUSDT", "1m")
        assert "simulated · stopped" in chart.picture().svg
