"""A scene that counts, and a screen that takes frames and speaks as a page does: real objects, without a browser."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from marketlab.errors import MarketlabError
from marketlab.records import Record, Trade
from marketlab.streams.live import LiveFeed
from marketlab.widgets.contract import Frame, Kind, Need, State, unpack
from marketlab.widgets.flow import Report
from marketlab.widgets.pump import Pump, pump_of
from marketlab.widgets.seat import Seat

__all__ = ["Counter", "Screen", "until"]

LIMIT_S = 30.0


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for something to become true; the limit only ends a test that has failed."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen in {LIMIT_S:g} s"
        time.sleep(0.005)


class Counter:
    """Shows how many trades of a symbol came and the id of the newest; fails where a test says so."""

    def __init__(self, symbol: str = "BTCUSDT", channel: str = "trade") -> None:
        self.symbol = symbol
        self.channel = channel
        self.count = 0
        self.whole_times = 0
        self.newest = 0
        self.refuses = ""
        self.broken = ""
        self.prepared: Callable[[], Any] | None = None

    def needs(self) -> Sequence[Need]:
        return [Need(self.symbol, self.channel)]

    async def prepare(self) -> None:
        if self.prepared is not None:
            await self.prepared()

    def take(self, record: Record) -> bool:
        if self.broken == "take":
            raise ZeroDivisionError("the scene is broken")
        if isinstance(record, Trade):
            self.count += 1
            self.newest = int(record.trade_id)
            return True
        return False

    def frames(self, *, whole: bool) -> Sequence[Frame]:
        if self.broken == "frames":
            raise ZeroDivisionError("the scene is broken")
        if self.refuses:
            raise MarketlabError(self.refuses)
        self.whole_times += whole
        return [Frame(Kind.TRADES, (1, 0), [[float(self.count)]], self.newest)] if self.count else []

    def svg(self) -> str:
        return f"<svg>{self.count}</svg>"


class Screen:
    """A seat at the pump of a feed, with what it has sent; `page` opens and closes at once."""

    def __init__(self, feed: LiveFeed, scene: Any = None, *, page: str = "page", rate: float = 60.0) -> None:
        self.scene: Any = scene or Counter()
        self.packed: list[bytes] = []
        self.said: list[str] = []
        self.endings = 0
        self.pump: Pump = pump_of(feed)
        self.seat = Seat(self.scene, self.packed.append, self.said.append, self._end, rate)
        self.pump.join(self.seat)
        if page:
            self.pump.opened(self.seat, page)

    def _end(self) -> None:
        self.endings += 1

    def report(self, *, visible: bool = True, page: str = "page") -> None:
        """Tell that everything was painted."""
        self.pump.reported(self.seat, Report(page, ack=self.seat.flow.sequence, painted=1, visible=visible))

    def leave(self) -> None:
        self.pump.leave(self.seat)

    @property
    def states(self) -> list[State]:
        return [State(int(unpack(packed)[1]["state"])) for packed in self.packed]

    @property
    def last(self) -> Frame:
        return unpack(self.packed[-1])[0]

    def wait(self, frames: int) -> None:
        """Wait for so many more frames."""
        wanted = len(self.packed) + frames
        until(lambda: len(self.packed) >= wanted, f"{frames} more frames")

    def wait_count(self, count: int) -> None:
        until(lambda: self.scene.count >= count, f"{count} trades")

    def wait_end(self) -> None:
        until(lambda: self.endings, "the end")

    def wait_state(self, state: State) -> None:
        until(lambda: self.packed and self.states[-1] is state, f"the state {state.name}")
