"""From an exchange into stores until somebody says stop."""

import asyncio
import logging
import signal
from collections.abc import Callable
from time import monotonic

from marketlab.errors import StoreUnavailable
from marketlab.lab.keeping import Keeper
from marketlab.lab.summary import Summary, by_symbol
from marketlab.records import Record
from marketlab.streams.feed import Feed
from marketlab.streams.status import FeedStatus

__all__ = ["Collector"]

_log = logging.getLogger("marketlab.collect")
_LOOK_S = 0.1
_STATISTICS_S = 30.0


class Collector:
    """Runs a feed into stores.

    Ends after `duration` seconds, after `until_idle` seconds without a record, or by `stop`, SIGINT or SIGTERM; then
    everything that came is flushed. `look` is called ten times a second with the feed's status.
    """

    def __init__(
        self,
        feed: Feed,
        keeper: Keeper | None,
        *,
        duration: float | None = None,
        until_idle: float | None = None,
        look: Callable[[FeedStatus], None] | None = None,
    ) -> None:
        self._feed = feed
        self._keeper = keeper
        self._duration = duration
        self._until_idle = until_idle
        self._look = look
        self._began = self._heard = monotonic()
        self._stopping = False
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
                self._heard = monotonic()
                ended = await self._until_end()
        except StoreUnavailable as error:
            # What came before is flushed all the same, and the account says what is missing.
            failure, ended = str(error), "failed"
        finally:
            self._forget_signals()
            kept = [] if self._keeper is None else await asyncio.to_thread(self._keeper.close)
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
        began = told = monotonic()
        while True:
            await asyncio.sleep(_LOOK_S)
            now = monotonic()
            if self._feed.failure is not None:
                raise self._feed.failure
            if self._look is not None:
                self._look(self._feed.status())
            if now - told >= _STATISTICS_S:
                told = now
                self._tell()
            if self._stopping:
                return "stopped"
            if self._duration is not None and now - began >= self._duration:
                return "duration"
            if self._until_idle is not None and now - self._heard >= self._until_idle:
                return "idle"

    def _accept(self, records: list[Record]) -> None:
        self._heard = monotonic()
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
            _log.info(
                "%s: bid %s, ask %s, spread %s bps, %d of %d comparisons equal",
                *(book.symbol, book.best_bid, book.best_ask),
                *("-" if book.spread_bps is None else f"{book.spread_bps:.3f}", book.equal, book.compared),
            )
        for kept in self._keeper.account() if self._keeper else ():
            _log.info("%s: %d flushes, %d records pending %s", kept.store, kept.flushes, kept.pending, kept.failure)

    def _mind_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for which in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(which, self._told_to_stop)

    def _told_to_stop(self) -> None:
        # A second Ctrl-C ends at once; what is not stored by then stays in the spool.
        self.stop()
        self._forget_signals()

    def _forget_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for which in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(which)
