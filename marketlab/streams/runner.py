"""Keeps one connection of an exchange up for ever: reconnects when it is lost, replaces it before it has to be.

A replacement runs before the old connection ends. Its records are held back until then: so the old one's come first,
the new one's follow, and what both gave is told apart by its ids, while nothing is out of order.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from marketlab.clock import Clock
from marketlab.errors import ConnectionLost, ExchangeError, RateLimited, Rejected
from marketlab.exchanges.contract import Connection, Exchange, Subscription
from marketlab.streams.backoff import Backoff
from marketlab.streams.link import Downstream, Link
from marketlab.streams.pacing import Pace
from marketlab.streams.rest import Rest
from marketlab.streams.transport import Transport, connect
from marketlab.streams.watchdog import Watchdog

__all__ = ["Runner", "StreamSettings"]

_log = logging.getLogger("marketlab.streams")
_PATIENCE_TO_CLOSE_S = 3.0


class StreamSettings(msgspec.Struct, frozen=True):
    """How streams behave; every value in seconds has a default that suits a real exchange.

    `start_timeout_s` is how long a first connection may take before whoever asked is told that it cannot be had;
    `patience_s` says for each channel (klines of all intervals: `kline`) how much silence is believed.
    """

    backoff: Backoff = Backoff()
    open_timeout_s: float = 10.0
    start_timeout_s: float = 15.0
    overlap_s: float = 1.0
    handover_s: float = 10.0
    patience_s: Mapping[str, float] = {}
    proxy: str | None = None


class Runner:
    """One connection of an exchange, kept up.

    `first` is done when the connection was open for the first time; it fails with what trying again would not mend:
    Rejected, UsageError.
    """

    def __init__(
        self,
        exchange: Exchange,
        connection: Connection,
        *,
        hosts: Iterable[str],
        rest: Rest,
        down: Downstream,
        clock: Clock,
        connects: Pace,
        random: Callable[[], float],
        settings: StreamSettings,
    ) -> None:
        self.connection = connection
        self.opened = 0
        self.failures = 0
        self.last_error: ExchangeError | None = None
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exchange = exchange
        self._hosts = [host.rstrip("/") for host in hosts]
        self._rest = rest
        self._down = down
        self._clock = clock
        self._connects = connects
        self._random = random
        self._settings = settings
        self._delays = self._new_delays()
        self._warned: set[type[ExchangeError]] = set()
        self._watchdog = Watchdog(down.last_seen, settings.patience_s)
        self._links: list[Link] = []
        self._up_since: int | None = None
        self._down_since = clock.now()

    @property
    def url(self) -> str:
        """The address that is tried first just now."""
        return self._hosts[0] + self.connection.path

    @property
    def link(self) -> Link | None:
        """The newest connection that is open."""
        return self._links[-1] if self._links else None

    @property
    def up_since(self) -> int | None:
        """The microsecond since which there was always an open connection; None while there is none."""
        return self._up_since if self._is_up else None

    @property
    def down_since(self) -> int | None:
        """The microsecond since which no connection is open; None while one is."""
        return None if self._is_up else self._down_since

    @property
    def reconnects(self) -> int:
        """How often the connection was opened again."""
        return max(0, self.opened - 1)

    def subscribe(self, connection: Connection, more: Iterable[Subscription]) -> None:
        """Ask for more, now and after each reconnect; `connection` is the old one with more in it."""
        self.connection = connection
        for link in self._links:
            link.subscribe(more)

    def unsubscribe(self, connection: Connection, less: Iterable[Subscription]) -> None:
        """Ask for less, now and after each reconnect; `connection` is the old one with less in it."""
        self.connection = connection
        for link in self._links:
            link.unsubscribe(less)

    async def run(self) -> None:
        """Keep the connection up until cancelled. Ends by itself only by an error that retrying cannot mend."""
        current: Link | None = None
        try:
            while True:
                previous, current = current, await self._open()
                if not await self._take_over(current, previous):
                    await self._lost(current)
                    current = previous
                    continue
                await asyncio.wait({current.task, current.replaced}, return_when=asyncio.FIRST_COMPLETED)
                if current.task.done():
                    lost, current = current, None
                    await self._lost(lost)
                else:
                    _log.info("Replacing the connection to %s: %s.", self.url, current.reason)
        except Exception as error:
            if not self.first.done():
                self.first.set_exception(error)
            raise
        finally:
            self.first.cancel()
            await asyncio.gather(*map(_end, self._links))

    @property
    def _is_up(self) -> bool:
        return any(not link.task.done() for link in self._links)

    def _link_ended(self, _: object) -> None:
        if not self._is_up:
            self._down_since = self._clock.now()

    async def _open(self) -> Link:
        while True:
            await self._connects.wait()
            connection, url = self.connection, self.url
            try:
                transport = await connect(url, timeout_s=self._settings.open_timeout_s, proxy=self._settings.proxy)
            except ExchangeError as error:
                await self._failed(error)
            else:
                return self._linked(connection, transport)

    def _linked(self, connection: Connection, transport: Transport) -> Link:
        self.opened += 1
        session = self._exchange.session(connection, transport.origin or "stream")
        lifetime = self._exchange.limits.connection_lifetime_s * (0.95 - 0.1 * self._random())
        link = Link(
            session,
            transport,
            self.connection.subscriptions,
            limits=self._exchange.limits,
            lifetime_s=lifetime,
            rest=self._rest,
            down=self._down,
            watchdog=self._watchdog,
            clock=self._clock,
        )
        asked, wanted = set(connection.subscriptions), set(self.connection.subscriptions)
        if wanted - asked:
            link.subscribe(wanted - asked)
        if asked - wanted:
            link.unsubscribe(asked - wanted)
        if not self.first.done():
            self.first.set_result(None)
        return link

    async def _failed(self, error: ExchangeError) -> None:
        self.failures += 1
        self.last_error = error
        self._hosts.append(self._hosts.pop(0))
        if isinstance(error, Rejected) and not self.first.done():
            raise error
        delay = next(self._delays)
        if isinstance(error, RateLimited):
            delay = max(delay, error.retry_after)
        self._warn("%s Trying again in %.1f s.", error, delay)
        await self._clock.sleep(delay)

    def _warn(self, words: str, error: ExchangeError, delay: float) -> None:
        # Below a notebook's cell every warning is a red line: one for each kind of trouble, until data has flowed again.
        level = logging.INFO if type(error) in self._warned else logging.WARNING
        self._warned.add(type(error))
        _log.log(level, words, error, delay)

    async def _take_over(self, link: Link, previous: Link | None) -> bool:
        """Set a new connection to work; False if it was lost before it could take over from one that still works."""
        opened = self._clock.now()
        if previous is not None:
            link.hold()
        link.start()
        link.task.add_done_callback(self._link_ended)
        self._links.append(link)
        if previous is None:
            self._up_since = opened
            return True
        await self._overlap(link, previous)
        if link.task.done() and not previous.task.done():
            return False
        if previous.task.done():
            self._up_since = opened
        previous.retire()
        link.release()
        self._links.remove(previous)
        await _end(previous)
        return True

    async def _overlap(self, link: Link, previous: Link) -> None:
        """Until the new connection gives what the old one gave, or one of them is gone."""
        over = {link.task, previous.task}
        settings, first = self._settings, asyncio.FIRST_COMPLETED
        await asyncio.wait({*over, link.flowing}, timeout=settings.handover_s, return_when=first)
        while not (link.task.done() or previous.task.done() or link.settled):
            await self._clock.sleep(0.1)
        await asyncio.wait(over, timeout=settings.overlap_s, return_when=first)

    async def _lost(self, link: Link) -> None:
        self._links.remove(link)
        error = link.task.exception()
        if not isinstance(error, ConnectionLost):
            raise error or AssertionError("a link ends only by an error")
        self.last_error = error
        if link.flowing.done():
            self._delays = self._new_delays()
            self._warned.clear()
        delay = next(self._delays)
        self._warn("%s Connecting again in %.1f s.", error, delay)
        await self._clock.sleep(delay)

    def _new_delays(self) -> Iterator[float]:
        return self._settings.backoff.delays(self._random)


async def _end(link: Link) -> None:
    """Cancel a connection and wait, not for ever, until it is closed."""
    task = link.task
    task.cancel()
    await asyncio.wait({task}, timeout=_PATIENCE_TO_CLOSE_S)
    await link.close()
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        level = logging.DEBUG if isinstance(error, ConnectionLost) else logging.ERROR
        _log.log(level, "While closing: %s", error, exc_info=error)
