"""A feed for notebooks: it runs in a thread of its own and is asked from any other.

It keeps streaming while a cell computes, and does not depend on the kernel's event loop. What it gives are copies,
taken in its thread. Running a cell again replaces its feed: the same call stops the former one, and a feed that
nobody refers to any more stops by itself.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from marketlab.clock import Clock
from marketlab.errors import MissingDependency, UsageError
from marketlab.exchanges.contract import Exchange
from marketlab.market.market import Market
from marketlab.records import AggTrade, Gap, Quote, Ticker, Trade
from marketlab.streams.book import Book
from marketlab.streams.feed import CHANNELS, Feed, Memory
from marketlab.streams.hub import Batch, Latest, Subscriber
from marketlab.streams.recent import Recent
from marketlab.streams.runner import StreamSettings
from marketlab.streams.status import FeedStatus
from marketlab.streams.waiting import Wish

if TYPE_CHECKING:
    import polars as pl

__all__ = ["LiveFeed", "live"]

_T = TypeVar("_T")
_Identity: TypeAlias = tuple[Any, ...]

_ANSWER_S = 30.0
_STOP_S = 8.0


class LiveFeed:
    """A feed in its own thread. Takes what `Feed` takes; the data flows when the constructor returns.

    Args:
        symbols: In any spelling.
        channels: `trade`, `agg_trade`, `kline_<interval>`, `quote`, `book`, `ticker`, `mini_ticker`.
        exchange: Its name, or the exchange itself.
        ws_url: Another base URL for streams, such as that of a local exchange.
        rest_url: Another base URL for REST.
        keep: How many records of each kind and symbol `trades`, `quotes` and so on can give back.
        lossless: Callbacks that get every batch of records from the very first on, in the feed's thread.
        ended: Called, in this order, when the feed has stopped, however that comes about.
        record: A new tape that gets everything that comes off the wire.
        settings: How streams behave.
        clock: Another clock.
        market: Judges the records.
        memory: Says what is kept already, see `Feed`.

    Raises:
        UsageError: an unknown symbol, channel or exchange, or a tape that exists already.
        ConnectionLost: the exchange cannot be reached.
    """

    def __init__(
        self,
        symbols: str | Iterable[str],
        channels: str | Iterable[str] = CHANNELS,
        exchange: str | Exchange = "binance",
        *,
        ws_url: str | None = None,
        rest_url: str | None = None,
        keep: int = 10_000,
        lossless: Iterable[Callable[[Batch], None]] = (),
        ended: Iterable[Callable[[], object]] = (),
        record: Path | str | None = None,
        settings: StreamSettings | None = None,
        clock: Clock | None = None,
        market: Market | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._recent = Recent(keep)
        self._feed = Feed(
            symbols,
            channels,
            exchange,
            ws_url=ws_url,
            rest_url=rest_url,
            record=record,
            settings=settings,
            clock=clock,
            market=market,
            memory=memory,
        )
        for callback in (*lossless, self._recent.add):
            self._feed.hub.lossless(callback)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="marketlab-feed", daemon=True)
        self._thread.start()
        # Also runs when nobody refers to this object any more, and at the end of the program.
        self._ended = _Endings(ended)
        self._end = weakref.finalize(self, _shut_down, self._feed, self._loop, self._thread, self._ended)
        try:
            self._carry_out(self._feed.start(), None)
        except BaseException:
            self._end()
            raise

    def book(self, symbol: str, levels: int = 20, *, within: float | None = None) -> Book:
        """The best levels of a book as they are now, or all those within a fraction of the middle (0.001: 0.1 %).

        Raises:
            UsageError: the feed has no book of this symbol, or `levels` or `within` is negative.
        """
        return self._ask(lambda: self._feed.book(symbol, levels, within=within))

    def quote(self, symbol: str) -> Quote | None:
        """The newest best bid and ask; None: nothing came yet."""
        quotes = self._records(Quote, symbol)
        return quotes[-1] if quotes else None

    def trades(self, symbol: str, limit: int | None = None) -> "pl.DataFrame":
        """The newest trades (table `trades`), by time and id, at most `limit` and as many as are kept."""
        return _table("trades", self._records(Trade, symbol), limit)

    def newest_trades(self, symbol: str) -> Iterator[Trade]:
        """The trades that are kept now as records, the newest first by time and id, each once.

        For whoever needs a few of them quickly: no table is made, and only what is taken costs much.
        """
        found = self._feed.symbol(symbol)
        return self._ask(lambda: self._recent.newest_trades(found))

    def agg_trades(self, symbol: str, limit: int | None = None) -> "pl.DataFrame":
        """The newest aggregate trades (table `agg_trades`), as for `trades`."""
        return _table("agg_trades", self._records(AggTrade, symbol), limit)

    def quotes(self, symbol: str, limit: int | None = None) -> "pl.DataFrame":
        """The newest quotes (table `quotes`), as for `trades`."""
        return _table("quotes", self._records(Quote, symbol), limit)

    def tickers(self, symbol: str, limit: int | None = None) -> "pl.DataFrame":
        """The newest tickers (table `tickers`), as for `trades`."""
        return _table("tickers", self._records(Ticker, symbol), limit)

    def gaps(self, symbol: str) -> "pl.DataFrame":
        """What was missing (table `gaps`), and whether it was fetched back."""
        return _table("gaps", self._records(Gap, symbol), None)

    def klines(self, symbol: str, interval: str, limit: int | None = None) -> "pl.DataFrame":
        """The klines that came over the stream (table `klines`), by opening time; the last one may still be open."""
        found = self._feed.symbol(symbol)
        return _table("klines", self._ask(lambda: self._recent.klines(found, interval)), limit)

    def history(self, symbol: str, interval: str, limit: int = 500) -> "pl.DataFrame":
        """The newest `limit` klines over REST (table `klines`), by opening time; the last one may still be open.

        Raises:
            UsageError: an unknown symbol or interval.
            ExchangeError: the exchange did not answer, or refused.
        """
        return _table("klines", self._carry_out(self._feed.history(symbol, interval, limit), None), None)

    def subscribe(self, symbol: str, *channels: str) -> None:
        """Stream more. Returns when it was asked for; what is streamed already stays."""
        self._carry_out(self._feed.subscribe(symbol, *channels), None)

    def unsubscribe(self, symbol: str, *channels: str) -> None:
        """Stream less; without channels, nothing more of this symbol."""
        self._carry_out(self._feed.unsubscribe(symbol, *channels), None)

    def wait(
        self,
        *,
        trades: int | None = None,
        klines: int | None = None,
        quotes: int | None = None,
        records: int | None = None,
        update_id: int | None = None,
        idle: float | None = None,
        symbol: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        """Wait for data: until everything that was named has come since the feed was started.

        Args:
            trades: So many trades.
            klines: So many closed klines.
            quotes: So many quotes.
            records: So many records of any kind.
            update_id: The book (of `symbol`, else every book) is verified and has this update id or a later one.
            idle: Some record came, and then none for so many seconds.
            symbol: Count only this symbol's.
            timeout: Seconds after which to give up.

        Raises:
            TimeoutError: it did not come; the message says what is missing.
        """
        name = None if symbol is None else self._feed.symbol(symbol)
        wish = Wish(trades, klines, quotes, records, update_id, idle, name)
        self._carry_out(self._feed.wait(wish, timeout), None)

    def status(self) -> FeedStatus:
        """What the feed is doing: counts, lag, gaps, books, errors."""
        return self._ask(self._feed.status)

    def lossless(self, callback: Callable[[Batch], None]) -> Subscriber:
        """Call `callback` with every batch of records from now on, in the feed's thread; it must not wait.

        What it raises ends the feed. Close the result to get no more.
        """
        return self._ask(lambda: self._feed.hub.lossless(callback))

    def latest(self, woken: Callable[[], None] | None = None) -> Latest:
        """The newest record for each symbol and channel, for whoever shows things; use it in the feed's thread."""
        return self._ask(lambda: self._feed.hub.latest(woken))

    def when_stopped(self, callback: Callable[[], object]) -> None:
        """Call something when the feed has stopped, however that comes about; after what was asked for before.

        Where it has stopped already, that is now.
        """
        self._ended.add(callback)

    def ask(self, question: Callable[[], _T]) -> _T:
        """The answer to something that is asked in the feed's thread, where nothing changes meanwhile."""
        return self._ask(question)

    def symbol(self, text: str) -> str:
        """The canonical symbol that a person means.

        Raises:
            UnknownSymbol: the exchange lists none.
        """
        return self._feed.symbol(text)

    @property
    def inner(self) -> Feed:
        """The feed itself, to be used in its thread only."""
        return self._feed

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the feed's thread, for tasks that belong beside it."""
        return self._loop

    @property
    def running(self) -> bool:
        """Whether it still streams."""
        return self._feed.running

    def stop(self) -> None:
        """End the streams and the thread, within seconds. What was kept can still be read; twice is once."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<LiveFeed {self._feed.words}{'' if self.running else ', stopped'}>"

    def _records(self, kind: type[Any], symbol: str) -> list[Any]:
        found = self._feed.symbol(symbol)
        return self._ask(lambda: self._recent.records(kind, found))

    def _ask(self, question: Callable[[], _T]) -> _T:
        async def answer() -> _T:
            return question()

        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return question()
        return self._carry_out(answer(), _ANSWER_S)

    def _carry_out(self, work: Coroutine[Any, Any, _T], timeout: float | None) -> _T:
        if not self._thread.is_alive():
            work.close()
            raise UsageError("This feed was stopped; make a new one.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        finally:
            future.cancel()  # where the caller was interrupted


_by_identity: "weakref.WeakValueDictionary[_Identity, LiveFeed]" = weakref.WeakValueDictionary()
_identities = threading.Lock()


def live(
    symbols: str | Iterable[str],
    channels: str | Iterable[str] = CHANNELS,
    exchange: str | Exchange = "binance",
    *,
    name: str | None = None,
    into: str | None = None,
    **options: Any,
) -> LiveFeed:
    """Stream in the background: see `LiveFeed` for the arguments, and for what to do with the result.

    The same call again, as when a notebook's cell is run again, stops the former feed. "The same" means: the same
    `name`, whatever else differs; without one, the same exchange, addresses, symbols and channels, and the same
    `into`, which says where the records go, such as a store's URL.
    """
    symbols = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    channels = (channels,) if isinstance(channels, str) else tuple(channels)
    spoken = exchange if isinstance(exchange, str) else exchange.name
    addresses = (options.get("ws_url"), options.get("rest_url"))
    what = (spoken, addresses, tuple(sorted(symbols)), tuple(sorted(channels)), into)
    identity = what if name is None else (name,)
    with _identities:
        former = _by_identity.pop(identity, None)
    if former is not None:
        former.stop()
    feed = LiveFeed(symbols, channels, exchange, **options)
    with _identities:
        _by_identity[identity] = feed
    return feed


class _Endings:
    """What is called, each once and in order, when a feed has stopped."""

    def __init__(self, calls: Iterable[Callable[[], object]]) -> None:
        self._calls = deque(calls)
        self._over = False
        self._lock = threading.Lock()

    def add(self, call: Callable[[], object]) -> None:
        with self._lock:
            if not self._over:
                self._calls.append(call)
                return
        call()

    def carry_out(self) -> None:
        # A store that cannot be written to keeps nobody else from hearing of the end.
        failures: list[BaseException] = []

        def keep(_: object, failure: BaseException | None, __: object) -> bool:
            failures.extend([failure] if failure is not None else [])
            return True

        while call := self._next():
            with contextlib.ExitStack() as one:
                one.push(keep)
                call()
        if failures:
            raise failures[0]

    def _next(self) -> Callable[[], object] | None:
        with self._lock:
            self._over = not self._calls
            return None if self._over else self._calls.popleft()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        # What others do beside the feed ends with it.
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_STOP_S / 4))
    finally:
        loop.close()


def _shut_down(feed: Feed, loop: asyncio.AbstractEventLoop, thread: threading.Thread, ended: _Endings) -> None:
    if threading.current_thread() is thread:  # the last reference went away in a callback
        ending = loop.create_task(feed.stop())
        ending.add_done_callback(lambda _: ended.carry_out())
        ending.add_done_callback(lambda _: loop.stop())
        return
    stopped = asyncio.run_coroutine_threadsafe(feed.stop(), loop)
    concurrent.futures.wait([stopped], timeout=_STOP_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(timeout=_STOP_S)
    ended.carry_out()


def _table(name: str, records: list[Any], limit: int | None) -> "pl.DataFrame":
    if limit is not None and limit < 0:
        raise UsageError(f"limit is {limit}; give 0 or more.")
    try:
        from marketlab import tables
    except ModuleNotFoundError as error:
        raise MissingDependency("polars", "history", f"A table of {name}") from error
    table = tables.in_order(name, tables.unique(name, tables.to_table(name, records)))
    return table if limit is None else table.tail(limit)
