"""Where the records of all connections meet: judged by the market, counted, given to the hub."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from marketlab.clock import Clock
from marketlab.errors import ExchangeError, UnreadableFrame
from marketlab.exchanges.contract import Subscription
from marketlab.market.market import Market, Need
from marketlab.records import Record
from marketlab.streams.board import Board
from marketlab.streams.hub import Hub
from marketlab.streams.recorder import Recorder
from marketlab.streams.rest import Answer

__all__ = ["Intake"]

_log = logging.getLogger("marketlab.streams")
_SUSPICIOUS = 2_000  # records; no overlap of two connections brings so many doubles
_KEPT_UNREADABLE = 100


class Intake:
    """The `Downstream` of all connections of a feed. Nothing comes in before `open`.

    Args:
        market: Judges every record.
        hub: Gets what is better than what came in.
        clock: For `quiet_s`.
        ask: Gets what the market needs.
    """

    def __init__(self, market: Market, hub: Hub, clock: Clock, ask: Callable[[Need], None]) -> None:
        self.market = market
        self.hub = hub
        self.board = Board()
        self.recorder: Recorder | None = None
        self.frames = 0
        self.unreadable_count = 0
        self.unreadable_frames: deque[UnreadableFrame] = deque(maxlen=_KEPT_UNREADABLE)
        self.mishaps = 0
        self.last_error: ExchangeError | None = None
        self.news = asyncio.Event()
        self._clock = clock
        self._ask = ask
        self._opened = asyncio.Event()
        self._last_heard = clock.monotonic()
        self._old_in_a_row = 0

    def open(self) -> None:
        """Let records come."""
        self._last_heard = self._clock.monotonic()
        self._opened.set()

    @property
    def quiet_s(self) -> float:
        """Seconds since the last record, or since `open`."""
        return self._clock.monotonic() - self._last_heard

    @property
    def has_room(self) -> bool:
        """Whether records may come."""
        return self._opened.is_set() and self.hub.has_room

    async def room(self) -> None:
        """Return when records may come."""
        await self._opened.wait()
        await self.hub.room()

    def tape(self, frames: list[bytes], at: int) -> None:
        """Frames as they came, before anybody has looked at them."""
        self.frames += len(frames)
        if self.recorder is not None:
            self.recorder.frames(frames, at)

    def tape_answer(self, answer: Answer) -> None:
        """A REST answer as it came."""
        if self.recorder is not None:
            self.recorder.answer(answer)

    def accept(self, records: list[Record]) -> None:
        """Records in the order they came."""
        accept = self.market.accept
        better: list[Record] = []
        for record in records:
            for output in accept(record):
                if isinstance(output, Need):
                    self._ask(output)
                else:
                    better.append(output)
        if not better:
            self._told_nothing_new(len(records))
            return
        self._old_in_a_row = 0
        self._last_heard = self._clock.monotonic()
        self.board.add(better)
        self.hub.publish(better)
        self.news.set()

    def _told_nothing_new(self, count: int) -> None:
        before, self._old_in_a_row = self._old_in_a_row, self._old_in_a_row + count
        if before < _SUSPICIOUS <= self._old_in_a_row:
            _log.warning(
                "%d records in a row are older than what came before, and left out. "
                "If the exchange was started anew, as a local one may be, start a new feed.",
                self._old_in_a_row,
            )

    def unreadable(self, error: UnreadableFrame) -> None:
        """A frame that could not be read; the stream goes on."""
        self.unreadable_count += 1
        self.unreadable_frames.append(error)
        _log.warning("%s", error)

    def mishap(self, error: ExchangeError) -> None:
        """Something that was asked for and failed; the stream goes on."""
        self.mishaps += 1
        self.last_error = error
        _log.warning("%s", error)

    def last_seen(self, stream: Subscription) -> int | None:
        """The microsecond of a stream's last record."""
        return self.board.last_seen(stream)
