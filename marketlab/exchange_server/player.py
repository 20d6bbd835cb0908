"""Plays a source over the routes: when it starts, how fast it goes, where it waits.

Start: when subscriptions have been quiet for a moment, or when told to. Pace: the source's own times of receipt, divided
by `speed`; at infinite speed as fast as the slowest client reads. Hold: where a diff-depth stream is subscribed, the
play waits after the first depth frame that follows the symbol's snapshot until that symbol's book has been asked for
once, so that full speed cannot outrun the snapshot.
"""

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping

from marketlab import tapes
from marketlab.clock import Clock
from marketlab.exchange_server.connection import Connection
from marketlab.exchange_server.faults import Faults
from marketlab.exchange_server.frames import PREFIX, event_time
from marketlab.exchange_server.klines import LATE
from marketlab.exchange_server.listing import Listing
from marketlab.exchange_server.routes import Route, Routes
from marketlab.exchange_server.source import Source, symbol_asked

__all__ = ["Player"]

_log = logging.getLogger("marketlab.exchange")
_LONGEST_HOLD_S = 30.0  # a client that goes on with the book it has never asks
_SLICE = 256  # frames between two looks at the clients
_TIDY = 4096  # frames between two looks at what is kept undecoded
_AT_ONCE = 0.001  # seconds; waiting for less costs more than it paces
_LEAP = 60_000_000_000  # nanoseconds of silence between two tapes that are not waited for


class Player:
    """One play of a source, from `start` until `done`."""

    def __init__(
        self,
        source: Source,
        listings: Mapping[str, Listing],
        routes: Routes,
        connections: Iterable[Connection],
        clock: Clock,
        *,
        speed: float,
        hold: bool,
        begins: int,
        faults: Faults | None = None,
    ) -> None:
        self.started = asyncio.Event()
        self.done = asyncio.Event()
        self.played = 0
        self.ended = False
        self.holding = ""
        """The symbol whose snapshot is waited for; empty while playing."""
        self._source = source
        self._listings = listings
        self._routes = routes
        self._connections = connections
        self._clock = clock
        self._speed = speed
        self._hold = hold
        self._faults = faults
        self._begins = begins
        self._timed = b""
        self._moved = asyncio.Event()
        self._anchor: tuple[float, int] | None = None
        self._previous = 0

    @property
    def now(self) -> int:
        """Exchange time in microseconds: that of the newest event played."""
        return (event_time(self._timed) if self._timed else 0) or self._begins

    @property
    def sure(self) -> int:
        """No trade from before this moment will follow."""
        return self.now if self.ended else self.now - LATE

    def moved(self) -> None:
        """Something happened that a holding player may wait for: a book was asked for, a subscription has gone."""
        self._moved.set()

    async def run(self) -> None:
        """Wait for the start and play everything. Raises TapeError where the source breaks."""
        await self.started.wait()
        try:
            for line in self._source.lines():
                await self._until_due(line.received)
                held = self._play(line)
                if held is not None:
                    await self._wait_for_snapshot(held)
                self.played += 1
                if self.played % _SLICE == 0:
                    await self._flush()
            self.ended = True
            for route in self._routes.derived():
                self._deliver(route, route.derived.finish(self.now) if route.derived else ())
            await self._flush()
        finally:
            self.done.set()

    def _play(self, line: tapes.Line) -> Listing | None:
        # Returns the symbol to hold for. This is the hot path: at full speed it takes most of the server's time.
        frame = line.frame
        name = frame[11 : frame.find(b'"', 11)]
        route = self._routes.find(name)
        if route is None:
            if not frame.startswith(PREFIX):
                self._take_answer(frame)
                return None
            route = self._routes.route(name)
        route.keep(frame)
        if route.timed:
            self._timed = frame
        if self._faults is not None:
            self._deliver(route, self._faults.frames(frame))
            self._faults.strike(self._connections)
        elif route.outlets:
            route.deliver(frame)
        return self._attend(route, frame) if route.watched else None

    def _deliver(self, route: Route, frames: Iterable[bytes]) -> None:
        for frame in frames:
            route.deliver(frame)

    def _attend(self, route: Route, frame: bytes) -> Listing | None:
        listing = route.listing
        if listing is None:
            return None
        if route.echo is not None:
            head = f'{{"stream":"{route.echo.name}"'.encode()
            route.echo.deliver(head + frame[len(PREFIX) + len(route.name.encode()) + 1 :])
        watching = self._routes.watching(listing.symbol)
        if watching:
            now = event_time(frame) or self.now
            for other in watching:
                if other.derived is not None:
                    self._deliver(other, other.derived.frames(now, traded=not route.is_depth))
        if route.is_depth and not listing.book.released and listing.book.continues_snapshot(frame):
            if self._hold and route.subscribed and not listing.book.asked:
                return listing
            listing.book.release()
        return None

    def _take_answer(self, frame: bytes) -> None:
        answered = tapes.answer(frame)
        if answered is None or not answered.request.startswith("/api/v3/depth"):
            return
        listing = self._listings.get(symbol_asked(answered.request))
        if listing is not None:
            listing.book.load(answered.body)

    async def _wait_for_snapshot(self, listing: Listing) -> None:
        await self._flush()
        self.holding = listing.symbol
        since = self._clock.monotonic()
        name = listing.symbol.lower()
        routes = [self._routes.route(f"{name}@{channel}".encode()) for channel in ("depth", "depth@100ms")]
        try:
            async with asyncio.timeout(_LONGEST_HOLD_S):
                while not listing.book.asked and any(route.outlets for route in routes):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            _log.warning("Nobody has asked for /depth of %s; the play goes on without.", listing.symbol)
        listing.book.release()
        self.holding = ""
        if self._anchor is not None:
            self._anchor = (self._anchor[0] + self._clock.monotonic() - since, self._anchor[1])

    async def _until_due(self, received: int) -> None:
        if math.isinf(self._speed):
            return
        now = self._clock.monotonic()
        leap = received - self._previous
        if self._anchor is None or leap < -_LEAP or leap > _LEAP:
            self._anchor = (now, received)
        self._previous = received
        wait = self._anchor[0] + (received - self._anchor[1]) / 1e9 / self._speed - now
        if wait > _AT_ONCE:
            await self._flush()
            await self._clock.sleep(wait)

    async def _flush(self) -> None:
        if self.played % _TIDY < _SLICE:
            for listing in self._listings.values():
                listing.settle_if_long()
        for connection in list(self._connections):
            if connection.outgoing:
                await connection.flush()
        await asyncio.sleep(0)
