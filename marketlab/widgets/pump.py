"""Sends the frames of all widgets of a feed, in the feed's thread.

A feed has one pump, however many widgets it has, and all pumps of a process share one budget: jupyter_server silently
drops what exceeds 1,000 messages a second of a kernel. Since nothing here belongs to the kernel's own loop, pictures go
on while a cell computes.
"""

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from marketlab.errors import MarketlabError
from marketlab.records import Record
from marketlab.streams.hub import Batch
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Frame, Kind, Scene, State, pack
from marketlab.widgets.flow import HEARTBEAT_S, Flow, Report

__all__ = ["MESSAGES_PER_SECOND", "Pump", "Seat", "pump_of", "running_pumps"]

MESSAGES_PER_SECOND = 240.0
"""Frames a second of all widgets of this process together."""

_log = logging.getLogger("marketlab.widgets")
_LIVELY_S = 1.0
_EARLY_ENOUGH_S = 0.0005

_pumps: "weakref.WeakKeyDictionary[LiveFeed, Pump]" = weakref.WeakKeyDictionary()


class Seat:
    """A widget's place at the pump. Everything but `post` belongs to the feed's thread.

    Args:
        scene: What is drawn.
        send: Takes a packed frame to the browser; called in the feed's thread, and never waits.
        tell: Told, in the feed's thread, what cannot be had, in one sentence; empty: all is well again.
        ended: Called once when the feed has stopped or the pump has let go.
    """

    def __init__(
        self,
        scene: Scene,
        send: Callable[[bytes], None],
        tell: Callable[[str], None],
        ended: Callable[[], None],
        rate: float = 60.0,
    ) -> None:
        self.scene = scene
        self.send = send
        self.tell = tell
        self.ended = ended
        self.flow = Flow(rate)
        self.paused = False
        self.dirty = True
        self.origin = ""
        self.changed_at = 0.0
        self.frames_sent = 0
        self.bytes_sent = 0
        self._oldest = 0
        self._newest = 0

    def take(self, record: Record) -> bool:
        """Take a record of one of the scene's symbols; returns whether it is the first news since the last frame."""
        if not self.scene.take(record):
            return False
        self.origin = record.origin
        self._newest = record.received
        if self._oldest:
            return False
        self._oldest = record.received
        first, self.dirty = not self.dirty, True
        return first

    def put_out(self, state: State, now: float) -> None:
        """Send the picture as it is now; only its state where it is paused or not yet there."""
        frames = [] if self.paused and not self.flow.whole else self.scene.frames(whole=self.flow.whole)
        whole: Iterable[Frame] = frames or (Frame(Kind.BLANK),)
        count = len(frames) or 1
        sequence = self.flow.sent(now, count)
        for place, frame in enumerate(whole):
            packed = pack(
                frame,
                sequence=sequence + place,
                state=State.PAUSED if self.paused and state is State.RUNNING else state,
                origin=self.origin,
                oldest=self._oldest,
                newest=self._newest,
                sent=time.time_ns() // 1000,
            )
            self.send(packed)
            self.frames_sent += 1
            self.bytes_sent += len(packed)
        self.dirty = False
        self._oldest = self._newest = 0


class Pump:
    """Sends the frames of the widgets of one feed; `pump_of` gives the feed's only one."""

    def __init__(self, feed: LiveFeed) -> None:
        self._feed = weakref.ref(feed)
        self._loop = feed.loop
        self._seats: list[Seat] = []
        self._by_symbol: dict[str, list[Seat]] = {}
        self._failure_told = False
        self._timer: asyncio.TimerHandle | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._subscriber: Any = None
        self.ended = False

    @property
    def seats(self) -> tuple[Seat, ...]:
        """The widgets' places."""
        return tuple(self._seats)

    # From any thread

    def join(self, seat: Seat) -> None:
        """Begin to serve a widget; returns at once."""
        self._soon(self._join, seat)

    def leave(self, seat: Seat) -> None:
        """Serve a widget no longer; returns at once."""
        self._soon(self._leave, seat)

    def changed(self, seat: Seat) -> None:
        """The scene's settings are others: subscribe and fetch what it needs now."""
        self._soon(self._prepare, seat)

    def shown(self, seat: Seat) -> None:
        """The widget was put into a cell's output."""
        self._soon(self._heard, seat, lambda now: seat.flow.shown(now))

    def opened(self, seat: Seat, page: str) -> None:
        """A page shows the widget anew."""
        self._soon(self._heard, seat, lambda now: seat.flow.opened(page, now))

    def closed(self, seat: Seat, page: str) -> None:
        """A page shows the widget no longer."""
        self._soon(seat.flow.closed, page)

    def reported(self, seat: Seat, report: Report) -> None:
        """A page has reported."""
        self._soon(self._heard, seat, lambda now: seat.flow.report(report, now))

    def refresh(self, seat: Seat, *, whole: bool = False) -> None:
        """The picture is another one, though no record came."""

        def renew() -> None:
            seat.dirty = True
            seat.flow.whole |= whole
            seat.changed_at = self._loop.time()
            self._look(seat)

        self._soon(renew)

    def run(self, work: Callable[[], Any]) -> None:
        """Call something in the feed's thread, soon; here where the thread has ended."""
        self._soon(work)

    def _soon(self, call: Callable[..., object], *arguments: Any) -> None:
        # After the end nothing runs beside the caller any more.
        if self.ended:
            call(*arguments)
            return
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop has closed in between
            call(*arguments)

    # In the feed's thread

    def _join(self, seat: Seat) -> None:
        if self.ended:
            seat.ended()
            return
        if self._subscriber is None:
            feed = self._feed()
            if feed is None:
                return
            self._subscriber = feed.lossless(self._offer)
        self._seats.append(seat)
        self._prepare(seat)

    def _leave(self, seat: Seat) -> None:
        if seat not in self._seats:
            return
        self._seats.remove(seat)
        self._sort()
        seat.ended()
        if not self._seats and self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None
            self._cancel_timer()

    def _sort(self) -> None:
        by_symbol: dict[str, list[Seat]] = {}
        for seat in self._seats:
            for symbol in dict.fromkeys(need.symbol for need in seat.scene.needs()):
                by_symbol.setdefault(symbol, []).append(seat)
        self._by_symbol = by_symbol

    def _prepare(self, seat: Seat) -> None:
        self._sort()
        if self.ended:
            return
        task = self._loop.create_task(self._prepared(seat))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _prepared(self, seat: Seat) -> None:
        feed = self._feed()
        if feed is None:
            return
        inner = feed.inner
        del feed  # a task that waits long keeps no feed alive
        told = ""
        try:
            for need in seat.scene.needs():
                await inner.subscribe(need.symbol, need.channel)
            await seat.scene.prepare()
        except MarketlabError as error:
            told = str(error)
        seat.tell(told)
        seat.dirty = seat.flow.whole = True
        self._look(seat)

    def _offer(self, batch: Batch) -> None:
        by_symbol = self._by_symbol
        for record in batch:
            for seat in by_symbol.get(record.symbol, ()):
                if seat.take(record):
                    seat.changed_at = self._loop.time()
                    self._look(seat)

    def _heard(self, seat: Seat, change: Callable[[float], None]) -> None:
        change(self._loop.time())
        self._look(seat)

    def _look(self, seat: Seat) -> None:
        """Something about a widget has changed: make sure that we come back as soon as its next frame is due."""
        if self.ended or seat not in self._seats:
            return
        now = self._loop.time()
        due = seat.flow.due(now, dirty=seat.dirty, share_hz=_share_hz(now))
        if due is not None and (self._timer is None or due < self._timer.when()):
            self._cancel_timer()
            self._timer = self._loop.call_at(max(due, now), self._send)

    def _send(self) -> None:
        """Send what is due, and come back when the next frame is."""
        self._timer = None
        if self.ended or not self._seats:
            return
        now = self._loop.time()
        share, state = _share_hz(now), self._current_state()
        soonest = now + HEARTBEAT_S
        for seat in tuple(self._seats):
            due = seat.flow.due(now, dirty=seat.dirty, share_hz=share)
            if due is not None and due <= now + _EARLY_ENOUGH_S:
                seat.put_out(state, now)
                due = seat.flow.due(now, dirty=seat.dirty, share_hz=share)
            if due is not None:
                soonest = min(soonest, due)
        self._timer = self._loop.call_at(soonest, self._send)

    def _current_state(self) -> State:
        feed = self._feed()
        if feed is None:
            return State.STOPPED
        if not feed.running:
            self._tell_failure(feed.inner.failure)
            return State.STOPPED
        return State.RUNNING if feed.inner.connected else State.RECONNECTING

    def _tell_failure(self, failure: BaseException | None) -> None:
        if failure is not None and not self._failure_told:
            self._failure_told = True
            for seat in self._seats:
                seat.tell(f"The feed has ended: {failure}")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """The feed has stopped: every widget gets a last frame that says so. The thread of the feed has ended."""
        if self.ended:
            return
        self.ended = True
        now = time.monotonic()
        for seat in self._seats:
            seat.flow.whole = True
            seat.put_out(State.STOPPED, now)
            seat.ended()
        self._seats.clear()
        self._by_symbol.clear()


def pump_of(feed: LiveFeed) -> Pump:
    """The pump of a feed; made when it is first asked for."""
    pump = _pumps.get(feed)
    if pump is None:
        pump = _pumps[feed] = Pump(feed)
        feed.when_stopped(pump.end)
    return pump


def running_pumps() -> int:
    """How many pumps serve widgets in this process."""
    return sum(bool(pump.seats) for pump in _pumps.values())


def _share_hz(now: float) -> float:
    seats = (seat for pump in tuple(_pumps.values()) for seat in pump.seats)
    busy = sum(seat.flow.watched and now - seat.changed_at < _LIVELY_S for seat in seats)
    return MESSAGES_PER_SECOND / max(busy, 1)
