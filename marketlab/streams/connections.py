"""The connections of a feed, each with its runner in a task of its own."""

import asyncio
from collections.abc import Callable, Collection, Iterable

from marketlab.clock import Clock
from marketlab.errors import ConnectionLost
from marketlab.exchanges.contract import Connection, Exchange, Subscription
from marketlab.streams.link import Downstream
from marketlab.streams.pacing import Pace
from marketlab.streams.rest import Rest
from marketlab.streams.runner import Runner, StreamSettings

__all__ = ["Connections"]

_STOP_S = 5.0


class Connections:
    """Opens, extends and ends connections. `ended` is called with each task that ended by an error of its own."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        hosts: Iterable[str],
        rest: Rest,
        down: Downstream,
        clock: Clock,
        random: Callable[[], float],
        settings: StreamSettings,
        ended: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._exchange = exchange
        self._hosts = list(hosts)
        self._rest = rest
        self._down = down
        self._clock = clock
        self._random = random
        self._settings = settings
        self._ended = ended
        self._connects = Pace(exchange.limits.connections_per_five_minutes, 300.0, clock)
        self._runners: dict[asyncio.Task[None], Runner] = {}
        self._past_reconnects = 0
        self._past_failures = 0

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks of all connections."""
        return list(self._runners)

    @property
    def runners(self) -> list[Runner]:
        """The runners of all connections."""
        return list(self._runners.values())

    @property
    def url(self) -> str:
        """Where the first connection goes."""
        return next((runner.url for runner in self._runners.values()), self._hosts[0])

    @property
    def reconnects(self) -> int:
        """How often connections were opened again."""
        return self._past_reconnects + sum(runner.reconnects for runner in self._runners.values())

    @property
    def failures(self) -> int:
        """How often a connection could not be opened."""
        return self._past_failures + sum(runner.failures for runner in self._runners.values())

    @property
    def open_count(self) -> int:
        """How many of the connections are open just now."""
        return sum(runner.up_since is not None for runner in self._runners.values())

    @property
    def down_since(self) -> int | None:
        """The microsecond since which a connection is down, of several the first; None: all are open."""
        return min((at for runner in self._runners.values() if (at := runner.down_since) is not None), default=None)

    def up_since(self) -> dict[Subscription, int]:
        """Since which microsecond each stream's connection is open; those that are down are not in it."""
        return {
            stream: at
            for runner in self._runners.values()
            if (at := runner.up_since) is not None
            for stream in runner.connection.subscriptions
        }

    async def open(self, streams: Iterable[Subscription]) -> None:
        """Open connections for streams. Returns when all are open; if one cannot be had, none of them stays.

        Raises:
            ConnectionLost, Rejected, RateLimited, UsageError: the reason why one could not be had.
        """
        runners = [self._runner(connection) for connection in self._exchange.connections(list(streams))]
        tasks = [asyncio.create_task(runner.run(), name=f"runner {runner.url[:80]}") for runner in runners]
        self._runners.update(zip(tasks, runners, strict=True))
        for task in tasks:
            task.add_done_callback(self._done)
        opened = [runner.first for runner in runners]
        await asyncio.wait(opened, timeout=self._settings.start_timeout_s, return_when=asyncio.FIRST_EXCEPTION)
        reasons = [reason for runner in runners if (reason := _why_not(runner)) is not None]
        if reasons:
            await self._end(tasks)
            raise reasons[0]

    async def add(self, streams: Collection[Subscription]) -> None:
        """Stream more: over a connection with room for it, else over a new one, as `open` does."""
        for runner in self._runners.values():
            together = self._exchange.connections([*runner.connection.subscriptions, *streams])
            if len(together) == 1:
                runner.subscribe(together[0], streams)
                return
        await self.open(streams)

    async def remove(self, streams: Collection[Subscription]) -> None:
        """Stream less; a connection without streams is ended."""
        for task, runner in list(self._runners.items()):
            gone = [stream for stream in runner.connection.subscriptions if stream in streams]
            left = [stream for stream in runner.connection.subscriptions if stream not in streams]
            if gone and left:
                runner.unsubscribe(self._exchange.connections(left)[0], gone)
            elif gone:
                await self._end([task])

    def _runner(self, connection: Connection) -> Runner:
        return Runner(
            self._exchange,
            connection,
            hosts=self._hosts,
            rest=self._rest,
            down=self._down,
            clock=self._clock,
            connects=self._connects,
            random=self._random,
            settings=self._settings,
        )

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_STOP_S)

    def _done(self, task: asyncio.Task[None]) -> None:
        runner = self._runners.pop(task)
        self._past_reconnects += runner.reconnects
        self._past_failures += runner.failures
        if task.cancelled() or _why_not(runner) is None:  # else whoever asked for the connection is told
            self._ended(task)


def _why_not(runner: Runner) -> BaseException | None:
    """Why a connection has never been open."""
    if not runner.first.done():
        return runner.last_error or ConnectionLost(f"{runner.url} does not answer; check the address and the network.")
    return None if runner.first.cancelled() else runner.first.exception()
