"""Fetches over REST what a stream lacks: snapshots for books, trades and klines for holes.

A book is asked for until there is one, ever less often. A hole is tried a bounded number of times; what cannot be
fetched stays behind as the gap that was recorded for it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from marketlab.clock import Clock
from marketlab.errors import ExchangeError, RateLimited
from marketlab.exchanges.contract import Exchange
from marketlab.market.market import Need
from marketlab.records import AggTrade, Kline, Record, Trade
from marketlab.streams.backoff import Backoff
from marketlab.streams.pacing import Priority
from marketlab.streams.rest import Rest

__all__ = ["Healer"]

_log = logging.getLogger("marketlab.streams")
_ATTEMPTS = 5
_AT_ONCE = 8
_PAGE = 1000


class Healer:
    """Carries out needs, each in a task of its own.

    Args:
        exchange: Makes the requests.
        rest: Asks them.
        clock: For waiting.
        random: Numbers from 0 until before 1, for jitter.
        backoff: Delays between attempts.
        accept: Gets the records of every answer; may ask for more in turn.
        mishap: Told of every attempt that failed.
        ended: Called with each task when it is done, so that no exception is lost.
        depth: Levels a side to ask for.
    """

    def __init__(
        self,
        exchange: Exchange,
        rest: Rest,
        *,
        clock: Clock,
        random: Callable[[], float],
        backoff: Backoff,
        accept: Callable[[list[Record]], None],
        mishap: Callable[[ExchangeError], None],
        ended: Callable[[asyncio.Task[None]], None],
        depth: int,
    ) -> None:
        self._exchange = exchange
        self._rest = rest
        self._clock = clock
        self._random = random
        self._backoff = backoff
        self._accept = accept
        self._mishap = mishap
        self._ended = ended
        self._depth = depth
        self._books: dict[str, bool] = {}
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()

    def ask(self, need: Need) -> None:
        """See to it that a need is met, some time; asking twice for a book is asking once."""
        if need.kind != "book":
            self._start(self._fill(need))
        elif need.symbol in self._books:
            self._books[need.symbol] = True
        else:
            self._books[need.symbol] = True
            self._start(self._book(need.symbol))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(self._ended)

    async def _book(self, symbol: str) -> None:
        delays = self._delays()
        try:
            while self._books[symbol]:
                self._books[symbol] = False
                try:
                    request = self._exchange.snapshot_request(symbol, self._depth)
                    self._accept(await self._rest.records(request, Priority.RESYNC))
                except ExchangeError as error:
                    self._books[symbol] = True
                    await self._wait(error, next(delays))
                else:
                    if self._books[symbol]:  # it was too old
                        await self._clock.sleep(next(delays))
        finally:
            del self._books[symbol]

    async def _fill(self, need: Need) -> None:
        delays = self._delays()
        async with self._turn:
            for _ in range(_ATTEMPTS):
                try:
                    missing = await self._fetch(need)
                except ExchangeError as error:
                    await self._wait(error, next(delays))
                else:
                    if missing is None:
                        return
                    need = missing
                    await self._clock.sleep(next(delays))
        _log.warning("Could not fetch back %s of %s: it stays a gap.", need.kind, need.symbol)

    async def _fetch(self, need: Need) -> Need | None:
        """One round of answers; returns what is still missing, as far as is known."""
        return await (self._klines(need) if need.kind == "klines" else self._ids(need))

    async def _ids(self, need: Need) -> Need | None:
        first, last = int(need.from_id or 0), int(need.to_id or 0)
        ask = self._exchange.trades_request if need.kind == "trades" else self._exchange.agg_trades_request
        while first <= last:
            request = ask(need.symbol, str(first), min(last - first + 1, _PAGE))
            records = await self._rest.records(request, Priority.HEAL)
            wanted = [record for record in records if first <= _id(record) <= last]
            if not wanted:
                return Need(need.kind, need.symbol, from_id=str(first), to_id=str(last))
            self._accept(wanted)
            first = max(map(_id, wanted)) + 1
        return None

    async def _klines(self, need: Need) -> Need | None:
        start, end = need.start or 0, need.end or 0
        while True:
            request = self._exchange.klines_request(need.symbol, need.interval, start, end, _PAGE)
            records = await self._rest.records(request, Priority.HEAL)
            closed = [record for record in records if isinstance(record, Kline) and record.closed]
            if closed:
                self._accept(list(closed))
                start = closed[-1].close_time + 1
            if start >= end - 1:
                return None
            if len(records) < _PAGE or not closed:
                return Need("klines", need.symbol, need.interval, start=start, end=end)

    async def _wait(self, error: ExchangeError, delay: float) -> None:
        self._mishap(error)
        await self._clock.sleep(max(delay, error.retry_after) if isinstance(error, RateLimited) else delay)

    def _delays(self) -> Iterator[float]:
        return self._backoff.delays(self._random)


def _id(record: Record) -> int:
    if isinstance(record, Trade):
        return int(record.trade_id)
    return int(record.agg_id) if isinstance(record, AggTrade) else -1
