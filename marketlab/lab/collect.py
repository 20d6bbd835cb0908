"""From an exchange into stores until somebody says stop."""

import asyncio
import logging
import signal
from collections.abc import Callable
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from marketlab.errors import StoreUnavailable
from marketlab.lab.interrupting import end_at_once
from marketlab.lab.summary import Summary, by_symbol
from marketlab.records import Record
from marketlab.streams.feed import Feed
from marketlab.streams.status import FeedStatus

if TYPE_CHECKING:
    from marketlab.lab.keeping import Keeper

__all__ = ["Collector"]

_log = logging.getLogger("marketlab.collect")
_LOOK_S = 0.1
_SPOOLED_S = 1.0
_STATISTICS_S = 30.0


class Collector:
    """Runs a feed into stores.

    Ends after `duration` seconds, after `until_idle` seconds without a record while every connection was open, or by
    `stop`, SIGINT or SIGTERM; then everything that came is flushed. A second SIGINT or SIGTERM ends the process at
    once, with exit code 130. `look` is called ten times a second with the feed's status; every `statistics_s` seconds
    statistics go to the log.
    """

    def __init__(
        self,
        feed: Feed,
        keeper: "Keeper | None",
        *,
        duration: float | None = None,
        until_idle: float | None = None,
        look: Callable[[FeedStatus], None] | None = None,
        statistics_s: float = _STATISTICS_S,
    ) -> None:
        self._feed = feed
        self._keeper = keeper
        self._duration = duration
        self._until_idle = until_idle
        self._look = look
        self._statistics_s = statistics_s
        self._began = monotonic()
        self._heard = False
        self._idle_s = 0.0
        self._stopping = False
        self._handlers: dict[signal.Signals, Any] = {}
        feed.hub.lossless(self._accept)

    def stop(self) -> None:
        """End soon, with everything flushed. May be called in the event loop at any time."""
        self._stopping = True

    async def run(self) -> Summary:
        """Collect until the end.

        Raises:
            UsageError, ExchangeError: the feed cannot be started, or broke for good.
        """
        self._mind_signals()
        failure = ""
        try:
            async with self._feed:
                ended = await self._until_end()
        except StoreUnavailable as error:
            # What came before is flushed all the same, and the account says what is missing.
            failure, ended = str(error), "failed"
        finally:
            kept = [] if self._keeper is None else await asyncio.to_thread(self._keeper.close)
            self._forget_signals()
        status = self._feed.status()
        return Summary(
            exchange=status.exchange,
            origin=", ".join(status.origins),
            ended=ended,
            seconds=round(monotonic() - self._began, 3),
            frames=status.frames,
            unreadable=status.unreadable,
            reconnects=status.reconnects,
            gaps=status.gaps,
            healed=status.healed,
            symbols=by_symbol(self._feed.market.counts()),
            stores=kept,
            failure=failure,
        )

    async def _until_end(self) -> str:
        began = told = looked = monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            before, looked = looked, monotonic()
            now = looked
            self._count_idleness(now - before)
            if self._feed.failure is not None:
                raise self._feed.failure
            if self._look is not None:
                self._look(self._feed.status())
            if now - told >= self._statistics_s:
                told = now
                self._tell()
            if self._stopping:
                return "stopped"
            if self._duration is not None and now - began >= self._duration:
                return "duration"
            if self._until_idle is not None and self._idle_s >= self._until_idle:
                return "idle"

    def _count_idleness(self, passed: float) -> None:
        """Idle is an exchange that says nothing, not one that cannot be heard, nor a process that was asleep."""
        heard, self._heard = self._heard, False
        if heard or not self._feed.connected:
            self._idle_s = 0.0
        else:
            self._idle_s += min(passed, 2 * _LOOK_S)

    def _accept(self, records: list[Record]) -> None:
        self._heard = True
        if self._keeper is not None:
            self._keeper.accept(records)

    def _tell(self) -> None:
        status = self._feed.status()
        _log.info(
            "%d frames, %d records, %d unreadable, %d reconnects, %d errors, %d gaps (%d healed), %d waiting",
            *(status.frames, status.records, status.unreadable, status.reconnects),
            *(status.errors, status.gaps, status.healed, status.waiting),
        )
        for book in status.books:
            bps = "-" if book.spread_bps is None else f"{book.spread_bps:.3f}"
            _log.info(
                "%s: bid %s, ask %s, spread %s bps, %d of %d comparisons equal",
                *(book.symbol, book.best_bid, book.best_ask, bps, book.equal, book.compared),
            )
        booked = {book.symbol for book in status.books}
        for stream in status.streams:
            quote = self._feed.quote(stream.symbol) if stream.channel == "quote" else None
            if quote is not None and stream.symbol not in booked:
                spread, middle = quote.ask_price - quote.bid_price, (quote.ask_price + quote.bid_price) / 2
                bps = f"{spread / middle * 10_000:.3f}" if middle else "-"
                _log.info("%s: bid %s, ask %s, spread %s bps", quote.symbol, quote.bid_price, quote.ask_price, bps)
        for kept in self._keeper.account() if self._keeper else ():
            told = f"{kept.flushes} flushes, {kept.pending} records pending. {kept.failure}".rstrip()
            _log.info("%s: %s", kept.store, told)

    def _mind_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for which in (signal.SIGINT, signal.SIGTERM):
            self._handlers[which] = signal.getsignal(which)
            loop.add_signal_handler(which, self._told_to_stop)

    def _told_to_stop(self) -> None:
        if self._stopping:
            end_at_once(self._last_words())
        self.stop()

    def _last_words(self) -> str:
        if self._keeper is None:
            return "Ended at once."
        spooled = monotonic() + _SPOOLED_S
        while any(kept.unspooled for kept in self._keeper.account()) and monotonic() < spooled:
            sleep(_LOOK_S / 10)
        waiting = [kept for kept in self._keeper.account() if kept.pending]
        told = [f"{kept.pending:,} records wait in the spool of {kept.store} for the next run" for kept in waiting]
        return f"Ended at once; {' and '.join(told) or 'everything that came is stored'}."

    def _forget_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for which, handler in self._handlers.items():
            loop.remove_signal_handler(which)
            signal.signal(which, handler)
