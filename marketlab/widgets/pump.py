"""Sends the frames of all widgets of a feed, in the feed's thread.

A feed has one pump, however many widgets it has, and all pumps of a process share one budget: jupyter_server silently
drops what exceeds 1,000 messages a second of a kernel. Since nothing here belongs to the kernel's own loop, pictures go
on while a cell computes.

A widget that fails stops alone: the log says why, neither the feed nor other widgets end, and none of them misses
anything.
"""

import contextlib
import contextvars
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial

from marketlab.streams.hub import Batch, Subscriber
from marketlab.streams.live import LiveFeed
from marketlab.widgets.alone import Alone
from marketlab.widgets.budget import LIVELY_S, MESSAGES_PER_SECOND, Budget
from marketlab.widgets.contract import Scene, State
from marketlab.widgets.flow import Report
from marketlab.widgets.preparing import Preparing
from marketlab.widgets.seat import Seat

__all__ = ["MESSAGES_PER_SECOND", "Pump", "pump_of", "running_pumps"]

_EARLY_ENOUGH_S = 0.0005


class Pump:
    """Sends the frames of the widgets of one feed; `pump_of` gives the feed's only one."""

    def __init__(self, feed: LiveFeed) -> None:
        self._feed = feed.inner
        self._loop = feed.loop
        self._seats: list[Seat] = []
        self._by_symbol: dict[str, list[Seat]] = {}
        self._posted: deque[Callable[[], object]] = deque()
        self._after = threading.RLock()
        # Else what is sent from here would answer whatever the kernel was asked when a timer was set.
        self._context = contextvars.Context()
        self._preparing = Preparing(self._feed, self._loop, self._renew)
        self._subscriber: Subscriber | None = None
        self.ended = False

    @property
    def seats(self) -> tuple[Seat, ...]:
        """The widgets' places."""
        return tuple(self._seats)

    # From any thread; what is asked for is done in the order it was asked

    def join(self, seat: Seat) -> None:
        """Begin to serve a widget; returns at once."""
        self.run(lambda: self._join(seat))

    def leave(self, seat: Seat) -> None:
        """Serve a widget no longer; returns at once."""
        self.run(lambda: self._leave(seat))

    def changed(self, seat: Seat) -> None:
        """The scene is another one, or needs something else: subscribe and fetch it now."""
        self.run(lambda: self._prepare(seat))

    def show(self, seat: Seat, scene: Scene) -> None:
        """Draw something else from now on; the next frame says so at once."""

        def show() -> None:
            seat.show(scene)
            self._prepare(seat)

        self.run(show)

    def shown(self, seat: Seat) -> None:
        """The widget was put into a cell's output."""
        self._heard(seat, seat.flow.shown)

    def opened(self, seat: Seat, page: str) -> None:
        """A page shows the widget anew."""
        self._heard(seat, lambda now: seat.flow.opened(page, now))

    def closed(self, seat: Seat, page: str) -> None:
        """A page shows the widget no longer."""
        self._heard(seat, lambda _: seat.flow.closed(page))

    def reported(self, seat: Seat, report: Report) -> None:
        """A page has reported."""
        self._heard(seat, lambda now: seat.flow.report(report, now))

    def refresh(self, seat: Seat, *, whole: bool = False) -> None:
        """The picture is another one, though no record came."""

        def renew(now: float) -> None:
            seat.dirty = True
            seat.flow.whole |= whole
            seat.changed_at = now

        self._heard(seat, renew)

    def run(self, work: Callable[[], object]) -> None:
        """Call something in the feed's thread, soon; here where the thread has ended."""
        self._posted.append(work)
        # What the ending loop leaves undone is done by `end`; what comes after that, here.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._do_posted, context=self._context)
        if self.ended:
            with self._after:
                self._do_posted()

    # In the feed's thread

    def _do_posted(self) -> None:
        while self._posted:
            self._posted.popleft()()

    def _join(self, seat: Seat) -> None:
        self._seats.append(seat)
        _serving.add(self)
        if self.ended:
            self._finish(seat)
            return
        if self._subscriber is None:
            self._subscriber = self._feed.hub.lossless(self._offer)
        self._prepare(seat)

    def _leave(self, seat: Seat) -> None:
        if seat not in self._seats:
            return
        self._seats.remove(seat)
        self._sort()
        self._preparing.cancel(seat)
        if seat.timer is not None:
            seat.timer.cancel()
            seat.timer = None
        if self._seats:
            return
        _serving.discard(self)
        if self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None

    def _sort(self) -> None:
        by_symbol: dict[str, list[Seat]] = {}
        for seat in self._seats:
            for symbol in dict.fromkeys(need.symbol for need in seat.scene.needs()):
                by_symbol.setdefault(symbol, []).append(seat)
        self._by_symbol = by_symbol

    def _prepare(self, seat: Seat) -> None:
        if seat not in self._seats:
            return
        self._sort()
        if self.ended:
            self._renew(seat)
            return
        self._preparing.begin(seat)
        self._look(seat)

    def _renew(self, seat: Seat) -> None:
        seat.dirty = seat.flow.whole = True
        self._look(seat)

    def _offer(self, batch: Batch) -> None:
        # At once: to be called later costs the loop another look at its sockets for every batch. What is raised even
        # where a widget is given up would end the feed.
        with Alone(_nothing):
            self._context.run(self._take, batch)

    def _take(self, batch: Batch) -> None:
        for record in batch:
            for seat in self._by_symbol.get(record.symbol, ()):
                with Alone(partial(self._give_up, seat)):
                    if seat.take(record):
                        self._news(seat)

    def _news(self, seat: Seat) -> None:
        now = self._loop.time()
        if now - seat.changed_at > LIVELY_S:
            _budget.renew()
        seat.changed_at = now
        self._look(seat)

    def _heard(self, seat: Seat, change: Callable[[float], None]) -> None:
        def hear() -> None:
            change(self._loop.time())
            self._look(seat)

        self.run(hear)

    def _look(self, seat: Seat) -> None:
        """Something about a widget has changed: make sure that we come back as soon as its next frame is due."""
        if seat not in self._seats:
            return
        now = self._loop.time()
        if not self.ended:
            self._come_back(seat, seat.due(now, self._share_hz(now)))
        elif seat.flow.whole:
            self._put_out(seat, State.STOPPED, now)

    def _come_back(self, seat: Seat, due: float | None) -> None:
        timer = seat.timer
        if timer is not None:
            if due is not None and timer.when() <= due:
                return
            timer.cancel()
        seat.timer = None if due is None else self._loop.call_at(due, self._turn, seat, context=self._context)

    def _turn(self, seat: Seat) -> None:
        """Send a widget's frame where it is due, and come back when the next one is."""
        seat.timer = None
        if self.ended:
            return
        now = self._loop.time()
        share_hz = self._share_hz(now)
        due = seat.due(now, share_hz)
        if due is not None and due <= now + _EARLY_ENOUGH_S:
            if seat.flow.silent(now) and seat.heard():
                seat.flow.abandon()
                return
            self._put_out(seat, self._state(), now)
            due = seat.due(now, share_hz)
        if seat in self._seats:
            self._come_back(seat, due)

    def _put_out(self, seat: Seat, state: State, now: float) -> None:
        with Alone(partial(self._give_up, seat)):
            if state is State.RUNNING:
                seat.check(self._feed.wants)
            seat.put_out(state, now)

    def _share_hz(self, now: float) -> float:
        return _budget.share_hz(now, (seat for pump in tuple(_serving) for seat in pump.seats))

    def _give_up(self, seat: Seat) -> None:
        self._leave(seat)
        seat.say("This widget has failed; the log says why.")

    def _state(self) -> State:
        if self._feed.running:
            return State.RUNNING if self._feed.connected else State.RECONNECTING
        for seat in self._seats if self._feed.failure is not None else ():
            seat.say(f"The feed has ended: {self._feed.failure}")
        return State.STOPPED

    def end(self) -> None:
        """The feed has stopped: every widget gets a last frame that says so. The thread of the feed has ended."""
        with self._after, contextlib.ExitStack() as endings:
            if self.ended:
                return
            self.ended = True
            served = self.seats
            self._do_posted()
            self._state()
            for seat in served:
                if seat in self._seats:
                    endings.callback(self._finish, seat)

    def _finish(self, seat: Seat) -> None:
        seat.flow.whole = True
        seat.release()
        self._put_out(seat, State.STOPPED, time.monotonic())
        with Alone(partial(self._give_up, seat)):
            seat.ended()


def _nothing() -> None:
    """There is nobody to tell."""


_budget = Budget()
_pumps: "weakref.WeakKeyDictionary[LiveFeed, Pump]" = weakref.WeakKeyDictionary()
_making = threading.Lock()
_serving: set[Pump] = set()


def pump_of(feed: LiveFeed) -> Pump:
    """The pump of a feed; made when it is first asked for."""
    with _making:
        pump = _pumps.get(feed)
        if pump is not None:
            return pump
        pump = _pumps[feed] = Pump(feed)
    feed.when_stopped(pump.end)
    return pump


def running_pumps() -> int:
    """How many pumps serve widgets in this process."""
    return sum(not pump.ended for pump in tuple(_serving))
