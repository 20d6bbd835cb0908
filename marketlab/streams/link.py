"""One socket and its session: frames in, records out, commands carried out, until the connection is lost."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from marketlab.clock import Clock
from marketlab.errors import ConnectionLost, ExchangeError, Rejected, UnreadableFrame
from marketlab.exchanges.contract import Fetch, Limits, Output, Reconnect, Send, Session, Subscription
from marketlab.records import Record
from marketlab.streams.pacing import Pace, Priority
from marketlab.streams.rest import Rest
from marketlab.streams.transport import Transport
from marketlab.streams.watchdog import Watchdog

__all__ = ["Downstream", "Link"]

_log = logging.getLogger("marketlab.streams")


class Downstream(Protocol):
    """Where a connection's records and mishaps go. Called from the loop's thread, never waiting but in `room`."""

    @property
    def has_room(self) -> bool:
        """Whether records may come."""
        ...

    async def room(self) -> None:
        """Return when records may come."""
        ...

    def tape(self, frames: list[bytes], at: int) -> None:
        """Frames as they came, before anybody has looked at them."""
        ...

    def accept(self, records: list[Record]) -> None:
        """Records in the order they came."""
        ...

    def unreadable(self, error: UnreadableFrame) -> None:
        """A frame that could not be read; the stream goes on."""
        ...

    def mishap(self, error: ExchangeError) -> None:
        """Something that was asked for and failed; the stream goes on."""
        ...

    def last_seen(self, stream: Subscription) -> int | None:
        """The microsecond of a stream's last record."""
        ...


class Link:
    """One open connection and its session.

    `flowing` is done once records came, `replaced` once the exchange, the watchdog or the connection's age wants
    another connection in its place, for `reason`.
    """

    def __init__(
        self,
        session: Session,
        transport: Transport,
        subscriptions: Iterable[Subscription],
        *,
        limits: Limits,
        lifetime_s: float,
        rest: Rest,
        down: Downstream,
        watchdog: Watchdog,
        clock: Clock,
    ) -> None:
        self.subscriptions = set(subscriptions)
        loop = asyncio.get_running_loop()
        self.flowing: asyncio.Future[None] = loop.create_future()
        self.replaced: asyncio.Future[None] = loop.create_future()
        self.reason = ""
        self._session = session
        self._transport = transport
        self._ping_s = limits.server_ping_s
        self._rest = rest
        self._down = down
        self._watchdog = watchdog
        self._clock = clock
        self._pace = Pace(int(limits.messages_per_second), 1.1, clock)
        self._opened = self._heard = clock.monotonic()
        self._lifetime_s = lifetime_s
        self._held_up = False
        self._outbox: deque[str] = deque()
        self._posted = asyncio.Event()
        self._early: list[Output] | None = []
        self._held: list[Record] | None = None
        self._retired = False
        self._tasks = asyncio.TaskGroup()
        self.task: asyncio.Task[None]

    def start(self) -> None:
        """Work in a task, `task`, until the connection is lost, which ends it by ConnectionLost.

        Cancelling the task closes the connection.
        """
        self.task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Let go of the socket, even if the task was cancelled before it began; twice is once."""
        await self._transport.close()

    async def _run(self) -> None:
        try:
            async with self._tasks as tasks:
                tasks.create_task(self._send())
                tasks.create_task(self._keep())
                early, self._early = self._early or [], None
                self._pass_on([*self._session.opened(), *early])
                await self._read()
        except ExceptionGroup as group:
            raise _first(group) from None
        finally:
            await self._transport.close()

    def subscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Ask for more on this connection."""
        wanted = list(subscriptions)
        self.subscriptions.update(wanted)
        self._ask(self._session.subscribe(wanted))

    def unsubscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Ask for less."""
        unwanted = list(subscriptions)
        self.subscriptions.difference_update(unwanted)
        self._ask(self._session.unsubscribe(unwanted))

    @property
    def settled(self) -> bool:
        """Whether everything that had to be asked for has been."""
        return not self._outbox

    def hold(self) -> None:
        """Keep records back, while the connection that this one replaces still gives the same ones."""
        self._held = []

    def release(self) -> None:
        """Pass on what was kept back; what the other connection gave already is told apart by its ids."""
        held, self._held = self._held, None
        if held:
            self._down.accept(held)

    def retire(self) -> None:
        """Pass nothing on any more; another connection does from here."""
        self._retired = True

    def _ask(self, outputs: Iterable[Output]) -> None:
        if self._early is None:
            self._pass_on(outputs)
        else:
            self._early += outputs

    async def _read(self) -> None:
        down, clock, receive, received = self._down, self._clock, self._transport.receive, self._session.received
        while True:
            if not down.has_room:
                self._held_up = True
                await down.room()
                self._held_up = False
            frames = await receive()
            at = clock.now()
            self._heard = clock.monotonic()
            down.tape(frames, at)
            outputs: list[Output] = []
            for frame in frames:
                try:
                    outputs += received(frame, at)
                except UnreadableFrame as error:
                    down.unreadable(error)
                except Rejected as error:
                    down.mishap(error)
                except Exception as error:
                    error.add_note(f"The frame that caused it: {frame[:1000]!r}")
                    raise
            self._pass_on(outputs)

    def _pass_on(self, outputs: Iterable[Output]) -> None:
        records: list[Record] = []
        for output in outputs:
            if not isinstance(output, _COMMANDS):
                records.append(output)
            elif isinstance(output, Send):
                self._outbox.append(output.text)
                self._posted.set()
            elif isinstance(output, Fetch):
                self._tasks.create_task(self._fetch(output))
            else:
                self.replace(output.reason)
        if not records or self._retired:
            return
        if not self.flowing.done():
            self.flowing.set_result(None)
        if self._held is None:
            self._down.accept(records)
        else:
            self._held += records

    def replace(self, reason: str) -> None:
        """Ask for another connection in the place of this one."""
        if not self.replaced.done():
            self.reason = reason
            self.replaced.set_result(None)

    async def _send(self) -> None:
        while True:
            while not self._outbox:
                self._posted.clear()
                await self._posted.wait()
            await self._pace.wait()
            await self._transport.send(self._outbox[0])
            self._outbox.popleft()

    async def _fetch(self, fetch: Fetch) -> None:
        try:
            answer = await self._rest.fetch(fetch.request, Priority.RESYNC)
            self._pass_on(self._session.answered(fetch, answer.body, answer.at))
        except ExchangeError as error:
            self._down.mishap(error)

    async def _keep(self) -> None:
        tick = min(self._ping_s, 5.0)
        while True:
            await self._clock.sleep(tick)
            now = self._clock.monotonic()
            if now - self._heard >= self._ping_s and not self._held_up:
                await self._ask_for_life()
            if now - self._opened >= self._lifetime_s:
                self.replace("its time was up")
            again, anew = self._watchdog.silent(self.subscriptions, self._clock.now())
            if again:
                _log.warning("Silent though subscribed, asking again: %s", _names(again))
                self._pass_on(self._session.unsubscribe(again))
                self._pass_on(self._session.subscribe(again))
            if anew:
                self.replace(f"silent though subscribed: {_names(anew)}")

    async def _ask_for_life(self) -> None:
        await self._pace.wait()
        try:
            async with asyncio.timeout(2 * self._ping_s):
                await self._transport.ping()
        except TimeoutError:
            if self._held_up:  # nobody was reading, so nobody could see the answer
                return
            raise ConnectionLost(f"No sign of life for {3 * self._ping_s:.0f} s.") from None
        self._heard = self._clock.monotonic()


_COMMANDS = (Send, Fetch, Reconnect)


def _names(streams: list[Subscription]) -> str:
    return ", ".join(f"{stream.symbol} {stream.channel}" for stream in streams[:5]) + (
        f" and {len(streams) - 5} more" if len(streams) > 5 else ""
    )


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """What ended the tasks: a mistake of ours rather than the loss of the connection, where there are both."""
    causes = [_first(error) if isinstance(error, ExceptionGroup) else error for error in group.exceptions]
    return next((error for error in causes if not isinstance(error, ConnectionLost)), causes[0])
