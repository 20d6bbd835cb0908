"""Fans records out to two kinds of subscriber.

*Lossless* ones (writers, iteration) get every record in order. A callback must take its batch without waiting; a
queue is bounded, and while one is full the sockets are not read: what waits, waits at the exchange's end.
*Latest* ones (widgets, sockets) get the newest record for each symbol and channel. They never hold anybody up; what
they were too slow for is counted.

Everything here belongs to one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from marketlab.records import AggTrade, BookSnapshot, BookUpdate, Gap, Kline, Quote, Record, Ticker, Trade

__all__ = ["Batch", "Hub", "Latest", "RecordQueue", "Subscriber", "channel_of"]

Batch: TypeAlias = list[Record]
"""Records in the order they came. Shared by all subscribers: never change one."""

SubscriberT = TypeVar("SubscriberT", bound="Subscriber")

_CHANNELS: Mapping[type[Any], str] = {
    Trade: "trade",
    AggTrade: "agg_trade",
    Quote: "quote",
    BookUpdate: "book",
    BookSnapshot: "book",
    Gap: "gap",
}


def channel_of(record: Record) -> str:
    """The channel that a record came over; gaps, which come over none, have their own: `gap`."""
    if type(record) is Kline:
        return f"kline_{record.interval}"
    if type(record) is Ticker:
        return "mini_ticker" if record.vwap is None else "ticker"
    return _CHANNELS[type(record)]


class Subscriber:
    """Anything that a hub gives records to, until it is closed; a context manager."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub

    @property
    def waiting(self) -> int:
        """Records that were handed over but not taken yet."""
        return 0

    def offer(self, batch: Batch) -> None:
        """Take a batch; never waits."""
        raise NotImplementedError

    def close(self) -> None:
        """Get no more records; twice is once."""
        self._hub.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Callback(Subscriber):
    def __init__(self, hub: "Hub", callback: Callable[[Batch], None]) -> None:
        super().__init__(hub)
        self._callback = callback

    def offer(self, batch: Batch) -> None:
        self._callback(batch)


class RecordQueue(Subscriber):
    """Every record, for one reader that takes batches when it likes. Full at `limit` records, give or take a batch."""

    def __init__(self, hub: "Hub", limit: int) -> None:
        super().__init__(hub)
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._waiting = 0
        self._filled = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Records that were handed over but not taken yet."""
        return self._waiting

    @property
    def full(self) -> bool:
        """Whether the sockets wait for this reader."""
        return self._waiting >= self._limit

    def offer(self, batch: Batch) -> None:
        """Take a batch; never waits."""
        self._batches.append(batch)
        self._waiting += len(batch)
        self._filled.set()

    async def get(self) -> Batch:
        """The next batch, not empty; cancelling loses nothing. An empty one says that no more will ever come."""
        while not self._batches:
            if self._hub.closed:
                return []
            self._filled.clear()
            await self._filled.wait()
        batch = self._batches.popleft()
        was_full = self.full
        self._waiting -= len(batch)
        if was_full and not self.full:
            self._hub.look_for_room()
        return batch

    def close(self) -> None:
        """Get no more records; twice is once."""
        super().close()
        self._batches.clear()
        self._waiting = 0
        self._hub.look_for_room()

    def wake(self) -> None:
        """Let a waiting reader see that the hub has closed."""
        self._filled.set()


class Latest(Subscriber):
    """The newest record for each symbol and channel since the last `take`.

    `dropped` counts the records that were replaced before anybody saw them. `woken`, if given, is called when the
    first one arrives after a `take`, so that nobody has to poll.
    """

    def __init__(self, hub: "Hub", woken: Callable[[], None] | None) -> None:
        super().__init__(hub)
        self._woken = woken
        self._newest: dict[tuple[str, str], Record] = {}
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Records that were handed over but not taken yet."""
        return len(self._newest)

    def offer(self, batch: Batch) -> None:
        """Take a batch; never waits."""
        newest = self._newest
        before = len(newest)
        for record in batch:
            newest[record.symbol, channel_of(record)] = record
        self.dropped += len(batch) - (len(newest) - before)
        if not before and newest and self._woken is not None:
            self._woken()

    def take(self) -> dict[tuple[str, str], Record]:
        """What is new, by symbol and channel; the next call starts empty."""
        taken, self._newest = self._newest, {}
        return taken


class Hub:
    """Hands every batch to every subscriber."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._queues: list[RecordQueue] = []
        self._room = asyncio.Event()
        self._room.set()
        self.closed = False

    def publish(self, batch: Batch) -> None:
        """Give a batch to everybody. What a callback raises comes out here."""
        for subscriber in tuple(self._subscribers):
            subscriber.offer(batch)
        if any(queue.full for queue in self._queues):
            self._room.clear()

    def lossless(self, callback: Callable[[Batch], None]) -> Subscriber:
        """Call `callback` with every batch, in the loop's thread. It must not wait."""
        return self._join(_Callback(self, callback))

    def queue(self, limit: int = 100_000) -> RecordQueue:
        """A queue of every record from now on; at `limit` records the sockets wait."""
        queue = RecordQueue(self, limit)
        self._queues.append(queue)
        return self._join(queue)

    def latest(self, woken: Callable[[], None] | None = None) -> Latest:
        """The newest record for each symbol and channel."""
        return self._join(Latest(self, woken))

    @property
    def has_room(self) -> bool:
        """Whether no queue is full."""
        return self._room.is_set()

    async def room(self) -> None:
        """Return once no queue is full."""
        await self._room.wait()

    def look_for_room(self) -> None:
        """Let the sockets be read again if no queue is full."""
        if not any(queue.full for queue in self._queues):
            self._room.set()

    @property
    def waiting(self) -> int:
        """Records that lie in queues."""
        return sum(queue.waiting for queue in self._queues)

    @property
    def dropped(self) -> int:
        """Records that latest subscribers were too slow for."""
        return sum(one.dropped for one in self._subscribers if isinstance(one, Latest))

    def leave(self, subscriber: Subscriber) -> None:
        """Give no more records to a subscriber."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
        if subscriber in self._queues:
            self._queues = [queue for queue in self._queues if queue is not subscriber]

    def close(self) -> None:
        """No more records will come; readers of queues get what is left and then an end."""
        self.closed = True
        self._room.set()
        for queue in self._queues:
            queue.wake()

    def _join(self, subscriber: SubscriberT) -> SubscriberT:
        self._subscribers.append(subscriber)
        return subscriber
