"""Fetches what lies before the streams of a scene, in the feed's thread.

There is one task for each seat: another scene ends the fetching for the former one. What cannot be had now is tried
again later, for as long as the widget is there.
"""

import asyncio
import itertools
from collections.abc import Callable

from marketlab.errors import ExchangeError, MarketlabError, StoreError
from marketlab.exchanges.contract import Subscription
from marketlab.streams.feed import Feed
from marketlab.widgets.alone import Alone
from marketlab.widgets.contract import Scene
from marketlab.widgets.seat import Seat

__all__ = ["Preparing"]

_WAITS_S = (2.0, 4.0, 8.0, 16.0, 32.0)
_LONGEST_S = 60.0


class Preparing:
    """Prepares scenes.

    Args:
        feed: Whose streams they need.
        loop: Of the feed's thread.
        ready: Called after every attempt, with the seat whose picture may be another one now.
    """

    def __init__(self, feed: Feed, loop: asyncio.AbstractEventLoop, ready: Callable[[Seat], None]) -> None:
        self._feed = feed
        self._loop = loop
        self._ready = ready
        self._lock = asyncio.Lock()
        self._subscribing: set[asyncio.Task[MarketlabError | None]] = set()

    def begin(self, seat: Seat) -> None:
        """Subscribe to what the seat's scene needs, and prepare it; what was begun for the seat before ends."""
        self.cancel(seat)
        seat.preparing = self._loop.create_task(self._prepare(seat, seat.scene))

    def cancel(self, seat: Seat) -> None:
        """Nothing is fetched for it any more."""
        if seat.preparing is not None:
            seat.preparing.cancel()
            seat.preparing = None

    async def _prepare(self, seat: Seat, scene: Scene) -> None:
        for wait_s in itertools.chain(_WAITS_S, itertools.repeat(_LONGEST_S)):
            failure = await self._attempt(seat, scene)
            if seat.scene is not scene or not self._feed.running:
                return
            seat.say("" if failure is None else str(failure))
            if failure is None:
                seat.prepared()
            self._ready(seat)
            if not isinstance(failure, ExchangeError | StoreError):
                return
            await asyncio.sleep(wait_s)

    async def _attempt(self, seat: Seat, scene: Scene) -> MarketlabError | None:
        subscribing = self._loop.create_task(self._subscribe(seat, scene))
        self._subscribing.add(subscribing)
        subscribing.add_done_callback(self._subscribing.discard)
        # A subscription that is half made would not be known to the feed.
        if failure := await asyncio.shield(subscribing):
            return failure
        failures: list[MarketlabError] = []
        with Alone(lambda: failures.append(MarketlabError("History cannot be had; the log says why."))):
            try:
                await scene.prepare()
            except MarketlabError as error:
                failures.append(error)
        return failures[0] if failures else None

    async def _subscribe(self, seat: Seat, scene: Scene) -> MarketlabError | None:
        async with self._lock:  # what several widgets lack is asked for once
            if seat.scene is not scene or seat.preparing is None:
                return None
            try:
                await self._feed.stream([Subscription(need.symbol, need.channel) for need in scene.needs()])
            except MarketlabError as error:
                return error
        return None
