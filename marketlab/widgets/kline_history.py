"""What lies before the stream: klines out of a store, and the rest over REST."""

import asyncio
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from marketlab.errors import MarketlabError, StoreError, UnknownExchange, UnknownSymbol
from marketlab.records import Gap, Kline
from marketlab.stores.contract import Store
from marketlab.streams.feed import Feed
from marketlab.widgets.kline_bars import Bars

if TYPE_CHECKING:
    import polars as pl

__all__ = ["History", "OwnStore", "Readable"]

_PAGE = 1_000


class OwnStore:
    """A store that is closed when nobody reads from it any more."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._readers = 0
        self._over = False

    def read(self, name: str, **what: Any) -> "pl.DataFrame":
        """What `Store.read` gives.

        Raises:
            StoreError: it was closed, or the store could not be read.
        """
        with self._lock:
            if self._over:
                raise StoreError("This store was closed.")
            self._readers += 1
        try:
            return self._store.read(name, **what)
        finally:
            self._let_go(-1)

    def close(self) -> None:
        """Close it, or leave that to the last reader; never waits for one, and twice is once."""
        self._over = True
        self._let_go(0)

    def _let_go(self, more: int) -> None:
        with self._lock:
            self._readers += more
            unused = self._over and not self._readers
        if unused:
            self._store.close()


Readable: TypeAlias = Store | OwnStore


class History:
    """Fills a chart's window, in the thread of the feed.

    Args:
        feed: Whose exchange is asked.
        symbol: A canonical symbol.
        store: Asked first, in another thread; None: everything comes over REST.
    """

    def __init__(self, feed: Feed, symbol: str, store: Readable | None = None) -> None:
        self._feed = feed
        self._symbol = symbol
        self._store = store

    async def fill(self, bars: Bars) -> None:
        """Add the klines of the window that are missing, and those of its first day before it.

        The store gives what is closed. From the first period on that it lacks, the exchange is asked, which gives the
        running one too. What the exchange or the store can tell is added even where the other one fails.

        Raises:
            MarketlabError: one of them could not be asked; said when the other one was.
        """
        away: MarketlabError | None = None
        try:
            now = await self._now()
        except MarketlabError as error:
            if self._store is None or bars.last < 0:
                raise
            now, away = bars.last, error  # the stream's word for it
        end = bars.period(now)[0]
        start = bars.lead(bars.start(end, bars.size))
        failure = await self._from_store(bars, start, end)
        if away is None:
            await self._from_exchange(bars, bars.missing(start, end), now)
        for told in (away, failure):
            if told is not None:
                raise told

    async def _now(self) -> int:
        answer = await self._feed.rest.fetch(self._feed.exchange.time_request())
        return self._feed.exchange.time(answer.body)

    async def _from_store(self, bars: Bars, start: int, end: int) -> MarketlabError | None:
        if self._store is None:
            return None
        try:
            klines, gaps = await asyncio.to_thread(self._read, self._store, bars.interval, start, end)
        except MarketlabError as error:
            return error
        for kline in klines:
            bars.add(kline)
        for gap in gaps:
            bars.heal(gap.start, gap.end)
        return None

    def _read(self, store: Readable, interval: str, start: int, end: int) -> tuple[list[Kline], list[Gap]]:
        klines: list[Kline] = self._rows(store, "klines", start, end, interval)
        gaps: list[Gap] = self._rows(store, "gaps", start, end)
        touching = ("trade", f"kline_{interval}")
        return klines, [gap for gap in gaps if gap.healed_at is not None and gap.channel in touching]

    def _rows(self, store: Readable, name: str, start: int, end: int, interval: str | None = None) -> list[Any]:
        from marketlab import tables

        exchange, first, last = self._feed.exchange.name, _moment(start), _moment(end)
        try:
            table = store.read(name, exchange=exchange, symbol=self._symbol, interval=interval, start=first, end=last)
        except (UnknownExchange, UnknownSymbol):  # it may begin to be stored just now
            return []
        return tables.to_records(name, table)

    async def _from_exchange(self, bars: Bars, start: int, now: int) -> None:
        exchange, rest = self._feed.exchange, self._feed.rest
        while True:
            asked = exchange.klines_request(self._symbol, bars.interval, start, None, _PAGE)
            page = [record for record in await rest.records(asked) if isinstance(record, Kline)]
            for kline in page:
                # The last one of an answer does not say that it is over; the time that was asked for before does.
                bars.add(kline if kline.close_time >= now else msgspec.structs.replace(kline, closed=True))
            if len(page) < _PAGE:
                return
            start = page[-1].close_time + 1


def _moment(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1_000_000, UTC)
