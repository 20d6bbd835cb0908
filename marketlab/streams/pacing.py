"""Keeping to what an exchange allows: so many messages a second, so much weight a minute.

Both are synchronous books with one `async` door; time comes from the clock that is passed in.
"""

import asyncio
import enum
import heapq
import itertools
from collections import deque

from marketlab.clock import Clock
from marketlab.errors import RateLimited

__all__ = ["Pace", "Priority", "WeightBudget", "retry_after"]

_MINUTE_US = 60_000_000


class Pace:
    """At most `count` events in any `seconds`; those who wait go in the order they came."""

    def __init__(self, count: int, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._times: deque[float] = deque(maxlen=max(count, 1))
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Return when one more event is allowed, and count it. Cancelling is safe and counts nothing."""
        async with self._turn:
            times = self._times
            if len(times) == times.maxlen:
                ahead = times[0] + self._seconds - self._clock.monotonic()
                if ahead > 0:
                    await self._clock.sleep(ahead)
            times.append(self._clock.monotonic())


class Priority(enum.IntEnum):
    """Who goes first, and how much of the budget each may touch, when weight is short."""

    RESYNC = 0
    HEAL = 1
    BACKFILL = 2
    CHARTS = 3


_SHARE = {Priority.RESYNC: 0.95, Priority.HEAL: 0.9, Priority.BACKFILL: 0.75, Priority.CHARTS: 0.6}
"""The part of a minute's weight that a priority may use up; the rest is left for those before it."""


class WeightBudget:
    """REST weight of one address for each minute of the exchange's clock.

    What the exchange reports as used counts too, so that other programs on the same address are seen.
    """

    def __init__(self, limit: int, clock: Clock, *, patience_s: float = 120.0) -> None:
        self.limit = limit
        self._clock = clock
        self._patience_s = patience_s
        self._minute = 0
        self._used = 0
        self._paused_until = 0.0
        self._banned = False
        self._order = itertools.count()
        self._waiting: list[tuple[Priority, int, asyncio.Event]] = []

    @property
    def used(self) -> int:
        """Weight used in the running minute, by us and, as far as the exchange told, by others."""
        self._roll()
        return self._used

    async def spend(self, weight: int, priority: Priority) -> None:
        """Return when a request of this weight may go out, and count it. Cancelling is safe and counts nothing.

        Raises:
            RateLimited: the exchange wants us to stay away for longer than anybody waits for an answer.
        """
        ticket = (priority, next(self._order), asyncio.Event())
        heapq.heappush(self._waiting, ticket)
        try:
            while True:
                if self._waiting[0] is not ticket:
                    ticket[2].clear()
                    await ticket[2].wait()
                elif delay := self._delay(weight, priority):
                    await self._clock.sleep(delay)
                else:
                    break
            self._used += weight
        finally:
            self._waiting.remove(ticket)
            heapq.heapify(self._waiting)
            if self._waiting:
                self._waiting[0][2].set()

    def report(self, used: int) -> None:
        """What the exchange says has been used in this minute."""
        self._roll()
        self._used = max(self._used, used)

    def pause(self, seconds: float, *, banned: bool = False) -> None:
        """Nobody asks for so long, because the exchange said so."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        self._banned = banned

    def _roll(self) -> None:
        minute = self._clock.now() // _MINUTE_US
        if minute != self._minute:
            self._minute = minute
            self._used = 0

    def _delay(self, weight: int, priority: Priority) -> float:
        paused = self._paused_until - self._clock.monotonic()
        if paused > self._patience_s:
            raise RateLimited(paused, banned=self._banned)
        if paused > 0:
            return paused
        self._roll()
        # A request heavier than its share goes out when the minute is still untouched: it would wait for ever.
        if self._used == 0 or self._used + weight <= self.limit * _SHARE[priority]:
            return 0.0
        return (_MINUTE_US - self._clock.now() % _MINUTE_US) / 1_000_000 + 0.001


def retry_after(header: str | None, default: float) -> float:
    """Seconds that a Retry-After header names; the default where there is none, or a date."""
    return float(header) if header is not None and header.strip().isdigit() else default
