"""Streams of one exchange as records: verified, healed where something was missing, and fanned out."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from marketlab.clock import Clock, SystemClock
from marketlab.errors import MarketlabError, StoreError, UnreadableFrame, UsageError
from marketlab.exchanges import find
from marketlab.exchanges.contract import Exchange, Subscription
from marketlab.instruments import Instrument, Instruments, canonical
from marketlab.market.market import Market
from marketlab.records import AggTrade, BookUpdate, Gap, Kline, Origin, Quote, Record, Trade
from marketlab.streams.book import Book, copy_of
from marketlab.streams.connections import Connections
from marketlab.streams.healing import Healer
from marketlab.streams.hub import Hub
from marketlab.streams.intake import Intake
from marketlab.streams.pacing import Priority
from marketlab.streams.recorder import Recorder
from marketlab.streams.reporting import is_current, report
from marketlab.streams.rest import Rest
from marketlab.streams.runner import StreamSettings
from marketlab.streams.status import FeedStatus
from marketlab.streams.waiting import Wish

__all__ = ["CHANNELS", "Feed", "Memory"]

CHANNELS = ("trade", "kline_1m", "quote", "book")
"""What is streamed where nothing else was asked for."""

Kept: TypeAlias = Trade | AggTrade | Kline | Quote | BookUpdate | Gap
Memory: TypeAlias = Callable[[Sequence[Subscription], int, Origin], Iterable[Kept]]
"""Says what is kept already of what will be streamed, for `Market.resume`; gets the exchange's time and origin too."""

_log = logging.getLogger("marketlab.streams")
_STOP_S = 5.0
_FLUSH_S = 1.0
_MANY_BOOKS = 20


class Feed:
    """Symbols and channels of one exchange, streamed until `stop`. An async context manager and iterator.

    Iterating gives every record from then on in the order it came; while the iterating code is far behind, the
    sockets are not read. Everything belongs to the event loop in which `start` was called.

    Args:
        symbols: In any spelling.
        channels: `trade`, `agg_trade`, `kline_<interval>`, `quote`, `book`, `ticker`, `mini_ticker`.
        exchange: Its name, or the exchange itself.
        ws_url: Another base URL for streams, such as that of a local exchange.
        rest_url: Another base URL for REST.
        clock: Another clock.
        settings: How streams behave.
        record: A new tape that gets everything that comes off the wire.
        market: Judges the records.
        memory: Asked once, in another thread, before the streams begin; what was missed since then is fetched back.

    Raises:
        UnknownExchange: no exchange of this name is installed.
        UsageError: no symbol or no channel was named, or what was named cannot be a symbol.
    """

    def __init__(
        self,
        symbols: str | Iterable[str],
        channels: str | Iterable[str] = CHANNELS,
        exchange: str | Exchange = "binance",
        *,
        ws_url: str | None = None,
        rest_url: str | None = None,
        clock: Clock | None = None,
        settings: StreamSettings | None = None,
        record: Path | str | None = None,
        market: Market | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.exchange = find(exchange) if isinstance(exchange, str) else exchange
        self.market = market or Market(self.exchange.name)
        self.hub = Hub()
        self.failure: BaseException | None = None
        self._asked = list(_product(symbols, channels))
        self._clock = clock or SystemClock()
        self._settings = settings or StreamSettings()
        self._record_to = record
        self._memory = memory
        self._instruments = Instruments(self.exchange.name, [])
        self._wanted: frozenset[Subscription] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = "new"
        self._stopping: asyncio.Task[None] | None = None
        self._intake = Intake(self.market, self.hub, self._clock, lambda need: self._healer.ask(need))
        self.rest = Rest(
            self.exchange,
            url=rest_url,
            clock=self._clock,
            backoff=self._settings.backoff,
            proxy=self._settings.proxy,
            tap=self._intake.tape_answer,
        )
        self._connections = Connections(
            self.exchange,
            hosts=[ws_url] if ws_url else self.exchange.endpoint.websocket,
            rest=self.rest,
            down=self._intake,
            clock=self._clock,
            random=random.random,
            settings=self._settings,
            ended=self._ended,
        )
        books = sum(stream.channel == "book" for stream in self._asked)
        self._healer = Healer(
            self.exchange,
            self.rest,
            clock=self._clock,
            random=random.random,
            backoff=self._settings.backoff,
            accept=self._intake.accept,
            mishap=self._intake.mishap,
            ended=self._ended,
            depth=5000 if books <= _MANY_BOOKS else 1000,  # a minute's weight is enough for 24 of 5000 levels
        )

    # Its life

    @property
    def running(self) -> bool:
        """Whether it streams."""
        return self._state == "running" and self.failure is None

    async def start(self) -> None:
        """Connect. Returns when every connection is open; no record is given out before.

        Raises:
            UnknownSymbol: the exchange lists no such symbol; the error names the nearest ones.
            Unsupported: the exchange has no such channel or interval.
            UsageError: the tape to record to exists already.
            ConnectionLost: the exchange cannot be reached, over REST or over WebSocket.
            Rejected, RateLimited: the exchange does not want us.
        """
        if self._state != "new":
            raise UsageError("A feed starts once; make a new one.")
        self._state = "running"
        try:
            self.exchange.check(self._asked)
            answer = await self.rest.fetch(self.exchange.instruments_request(), Priority.RESYNC, attempts=3)
            self._instruments = Instruments(self.exchange.name, self.exchange.instruments(answer.body))
            wanted = [Subscription(self.symbol(stream.symbol), stream.channel) for stream in self._asked]
            if self._memory is not None:
                await self._resume(self._memory, wanted)
            if self._record_to is not None:
                origin = "stream" if answer.origin == "rest" else answer.origin
                self._intake.recorder = Recorder(self._record_to, origin)
                self._start_task(self._flush_for_ever(self._intake.recorder))
            await self._connections.open(wanted)
        except BaseException:
            await self.stop()
            raise
        self._wanted |= frozenset(wanted)
        self._intake.open()
        for need in self.market.needs():
            self._healer.ask(need)

    async def _resume(self, memory: Memory, wanted: Sequence[Subscription]) -> None:
        answer = await self.rest.fetch(self.exchange.time_request(), Priority.RESYNC, attempts=3)
        now = self.exchange.time(answer.body)
        for record in await asyncio.to_thread(memory, wanted, now, answer.origin):
            self.market.resume(record)

    async def stop(self) -> None:
        """End every connection and task, within seconds; twice is once. Iterating ends after what is left."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        self._state = "stopped"
        tasks = [*self._connections.tasks, *self._tasks, *self._healer.tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_STOP_S)
        await self.rest.close()
        self.hub.close()
        self._intake.news.set()
        if self._intake.recorder is not None:
            try:
                self._intake.recorder.close()
            except StoreError as error:
                if self.failure is None:
                    raise
                _log.error("%s", error)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # What comes out of it

    def __aiter__(self) -> AsyncIterator[Record]:
        queue = self.hub.queue()

        async def records() -> AsyncIterator[Record]:
            with queue:
                while batch := await queue.get():
                    for record in batch:
                        yield record
            self._raise_failure()

        return records()

    def symbol(self, text: str) -> str:
        """The canonical symbol that a person means.

        Raises:
            UnknownSymbol: the exchange lists none.
        """
        return self._instruments.find(text).symbol if len(self._instruments) else canonical(text)

    def instrument(self, symbol: str) -> Instrument | None:
        """What the exchange says of a symbol; None before it has said anything.

        Raises:
            UnknownSymbol: the exchange lists none.
        """
        return self._instruments.find(symbol) if len(self._instruments) else None

    def book(self, symbol: str, levels: int = 20, *, within: float | None = None) -> Book:
        """A copy of the best levels of a book, or of all those within a fraction of the middle price (0.001: 0.1 %).

        Raises:
            UsageError: the feed has no book of this symbol, or `levels` or `within` is negative.
        """
        if levels < 0:
            raise UsageError(f"levels is {levels}; give 0 or more.")
        if within is not None and within < 0:
            raise UsageError(f"within is {within}; give a fraction of the price such as 0.001.")
        name = self.symbol(symbol)
        if Subscription(name, "book") not in self._wanted:
            raise UsageError(f"This feed has no book of {name}; subscribe({name!r}, 'book') streams it.")
        current = is_current(Subscription(name, "book"), self._intake.board, self._connections.up_since())
        return copy_of(self.market.book(name), self.market.counts()[name], levels, current=current, within=within)

    def wants(self, symbol: str, channel: str) -> bool:
        """Whether a channel of a canonical symbol is wanted, and so is streamed while there is a connection."""
        return Subscription(symbol, channel) in self._wanted

    def quote(self, symbol: str) -> Quote | None:
        """The newest best bid and ask; None: nothing came yet."""
        entry = self._intake.board.entry(Subscription(self.symbol(symbol), "quote"))
        return entry.last if entry is not None and isinstance(entry.last, Quote) else None

    async def history(self, symbol: str, interval: str, limit: int = 500) -> list[Kline]:
        """The newest `limit` klines over REST, by opening time; the last one may still be open.

        Raises:
            UsageError: an unknown symbol or interval.
            ExchangeError: the exchange did not answer, or refused.
        """
        name = self.symbol(symbol)
        self.exchange.check([Subscription(name, f"kline_{interval}")])
        return await self.rest.klines(name, interval, limit)

    async def wait(self, wish: Wish, timeout_s: float = 60.0) -> None:
        """Wait until a wish is fulfilled.

        Raises:
            TimeoutError: it was not, within `timeout_s` seconds; the message says what is missing.
            UsageError: nothing is wished for, or the update of a book that this feed has not.
        """
        if wish == Wish(symbol=wish.symbol):
            raise UsageError("Say what to wait for, such as trades=100, klines=2 or idle=1.5.")
        if wish.update_id is not None and not any(wish.symbol in (None, name) for name in self._books()):
            raise UsageError(f"This feed has no book of {wish.symbol or 'any symbol'} to wait for.")
        end = self._clock.monotonic() + timeout_s
        while missing := self._missing(wish):
            self._raise_failure()
            if self._state != "running":
                raise UsageError(f"The feed is not running; it had {', '.join(missing)}.")
            left = end - self._clock.monotonic()
            if left <= 0:
                raise TimeoutError(f"After {timeout_s:g} s there were {', '.join(missing)}.")
            quiet = self._intake.quiet_s
            pause = left if wish.idle is None or quiet >= wish.idle else min(left, wish.idle - quiet + 0.001)
            self._intake.news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._intake.news.wait()

    def _missing(self, wish: Wish) -> list[str]:
        return wish.missing(self._intake.board, self.market, self._books(), self._intake.quiet_s)

    @property
    def unreadable_frames(self) -> Sequence[UnreadableFrame]:
        """The newest hundred frames that could not be read."""
        return tuple(self._intake.unreadable_frames)

    @property
    def connected(self) -> bool:
        """Whether every connection is open just now."""
        return self._connections.down_since is None

    @property
    def words(self) -> str:
        """What is streamed, in one line that does not change from run to run."""
        streams = self._wanted or frozenset(self._asked)
        symbols = ", ".join(sorted({stream.symbol for stream in streams}))
        return f"{self.exchange.name}: {symbols} ({', '.join(sorted({stream.channel for stream in streams}))})"

    def status(self) -> FeedStatus:
        """What it is doing: counts, lag, gaps, books, errors."""
        return report(
            self.exchange.name,
            self._intake,
            self._connections,
            self.rest,
            streams=sorted(self._wanted),
            running=self.running,
            failure=self.failure,
        )

    def _books(self) -> list[str]:
        return sorted(stream.symbol for stream in self._wanted if stream.channel == "book")

    # More and less of it

    async def subscribe(self, symbol: str, *channels: str) -> None:
        """Stream more. Returns when it was asked for; what is streamed already stays.

        Raises:
            UsageError: an unknown symbol or channel, or none.
            ExchangeError: another connection was needed and could not be had.
        """
        if not all(isinstance(name, str) for name in (symbol, *channels)):
            raise UsageError(
                "Subscribe to one symbol and its channels, such as subscribe('ETHUSDT', 'trade', 'quote')."
            )
        wanted = [Subscription(self.symbol(symbol), channel) for channel in dict.fromkeys(channels)]
        if not wanted:
            raise UsageError("Name at least one channel to subscribe to.")
        await self.stream(wanted)

    async def stream(self, wanted: Iterable[Subscription]) -> None:
        """Stream more, of canonical symbols, in as few messages as there can be: exchanges take few a second.

        Raises:
            UsageError: an unknown channel.
            ExchangeError: another connection was needed and could not be had.
        """
        wanted = list(wanted)
        self.exchange.check(wanted)
        more = [stream for stream in wanted if stream not in self._wanted]
        if not more:
            return
        await self._connections.add(more)
        self._wanted |= frozenset(more)

    async def unsubscribe(self, symbol: str, *channels: str) -> None:
        """Stream less; without channels, nothing more of this symbol."""
        name = self.symbol(symbol)
        less = {
            stream for stream in self._wanted if stream.symbol == name and (not channels or stream.channel in channels)
        }
        self._wanted -= less
        await self._connections.remove(less)

    # Its tasks

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._ended)

    async def _flush_for_ever(self, recorder: Recorder) -> None:
        while True:
            await self._clock.sleep(_FLUSH_S)
            recorder.flush()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The boundary of every task: what one raises ends the feed, and is told to whoever uses it."""
        error = None if task.cancelled() else task.exception()
        if error is None or self.failure is not None:
            return
        self.failure = error
        known = isinstance(error, MarketlabError)
        _log.critical("The feed ends: %s", error if known else repr(error), exc_info=None if known else error)
        self._stopping = self._stopping or asyncio.create_task(self._stop())

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure


def _product(symbols: str | Iterable[str], channels: str | Iterable[str]) -> Iterator[Subscription]:
    names = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    kinds = (channels,) if isinstance(channels, str) else tuple(channels)
    if not names or not kinds:
        raise UsageError("Name at least one symbol and one channel.")
    for name in names:
        canonical(name)
        for channel in kinds:
            yield Subscription(name, channel)
