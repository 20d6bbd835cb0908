"""What is kept of a stream: every trade, quote, ticker, book update, book snapshot and gap, and a kline when it closes.

A store that overwrites a point (InfluxDB) also gets the running klines, with each of its batches.
"""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeGuard

import msgspec

from marketlab.errors import StoreUnavailable
from marketlab.records import Kline, Record, Trade

if TYPE_CHECKING:
    # Whoever records a tape keeps nothing in a store, and needs no polars.
    from marketlab.stores.contract import Sink, Store
    from marketlab.stores.writer import Report, Writer

__all__ = ["Keeper", "Kept", "RunningKlines", "can_be_read", "overwrites"]

_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """The account of one store.

    `rows` by table are acknowledged by the store and `changed` of them were new or better than what it had;
    `pending` records are not there: still in the spool but for `unspooled`, which are gone with this process.
    `dropped` records were given up because the spool had reached its limit; `missed` ones came after the store was
    given up, since when and why `failure` says, as it does of all others. The `dead_letters` rows that the store has
    refused are in `dead_letter_file`.
    """

    store: str
    rows: dict[str, int]
    changed: dict[str, int]
    flushes: int
    pending: int
    unspooled: int
    dead_letters: int
    dropped: int
    failure: str
    missed: int = 0
    dead_letter_file: str = ""


def can_be_read(sink: "Sink") -> "TypeGuard[Store]":
    """Whether it is a store, and not the queue before one."""
    return hasattr(sink, "read")


def overwrites(sink: "Sink") -> bool:
    """Whether a kline that is written again takes the place of what it was before."""
    return can_be_read(sink) and sink.overwrites


class RunningKlines:
    """The newest kline that is not closed, of each series. Used by the feed's thread; asked by any."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str, str], Kline] = {}

    def note(self, records: Iterable[Record]) -> None:
        """Take note of what came, in order."""
        for record in records:
            if type(record) is Kline:
                series = record.exchange, record.symbol, record.interval
                if not record.closed:
                    self._newest[series] = record
                elif series in self._newest and self._newest[series].open_time <= record.open_time:
                    del self._newest[series]

    def __call__(self) -> list[Kline]:
        """How they stand now."""
        return list(self._newest.values())


class Keeper:
    """Hands what is to be kept to the writers of one or more stores and queues, each with a pace of its own.

    `stores` are those that can be read: to be looked at, not written to; `spools` says for each where records wait for
    it, None where a read sees them anyhow. A store whose spool takes no more is given up, as long as there is another:
    with a hole in what it has, its end would not tell the next run what to fetch back.
    """

    def __init__(self, writers: "Iterable[tuple[Sink, Writer]]", running: RunningKlines | None = None) -> None:
        pairs = list(writers)
        self.stores = [sink for sink, _ in pairs if can_be_read(sink)]
        self.spools = [writer.spool if sink.spool is None else None for sink, writer in pairs if can_be_read(sink)]
        self._writers = [(sink.url, writer) for sink, writer in pairs]
        self._living = list(self._writers)
        self._given_up: dict[int, _GivenUp] = {}
        self._running = running

    def accept(self, records: Sequence[Record]) -> None:
        """Take a batch, in order; never waits for a store.

        Raises:
            StoreUnavailable: no spool takes any more, their disks having failed for so long that the backlogs are full.
        """
        if self._running is not None:
            # Before a closed one is accepted, so that no batch brings the running one behind it.
            self._running.note(records)
        kept = [record for record in records if type(record) is not Kline or record.closed]
        if not kept:
            return
        failures: dict[int, StoreUnavailable] = {}
        for _, writer in self._living:
            try:
                writer.accept(kept)
            except StoreUnavailable as error:
                failures[id(writer)] = error
        if failures and len(failures) == len(self._living):
            raise next(iter(failures.values()))
        for url, writer in self._living if failures else ():
            if id(writer) in failures:
                self._give_up(url, writer, failures[id(writer)])
        for given_up in self._given_up.values():
            given_up.missed += len(kept)

    def _give_up(self, url: str, writer: "Writer", error: StoreUnavailable) -> None:
        self._living = [(other, living) for other, living in self._living if living is not writer]
        since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        self._given_up[id(writer)] = _GivenUp(f"given up since {since}, as {error}")
        _log.error("%s gets nothing more from now on (%s): %s The others go on.", url, since, error)

    def trades(self, symbol: str, start: int, end: int) -> list[Trade]:
        """The trades of a symbol with start <= time < end that the first store has already, by time and id."""
        from marketlab import tables

        for store in self.stores[:1]:
            if any(found.symbol == symbol for found in store.coverage("trades", symbol=symbol)):
                return tables.to_records("trades", store.read("trades", symbol=symbol, start=start, end=end))
        return []

    def account(self) -> list[Kept]:
        """What the stores have so far."""
        return [self._kept(url, writer, writer.stats) for url, writer in self._writers]

    def close(self, timeout: float = 60.0) -> list[Kept]:
        """Flush everything and let go; what could not be stored stays in its spool, and the account says so."""
        # At once, so that one that does not answer takes no time from the others.
        with ThreadPoolExecutor(max(1, len(self._writers))) as pool:
            reports = pool.map(lambda writer: writer.close(timeout), [writer for _, writer in self._writers])
        return [self._kept(url, writer, report) for (url, writer), report in zip(self._writers, reports, strict=True)]

    def _kept(self, url: str, writer: "Writer", report: "Report") -> Kept:
        given_up = self._given_up.get(id(writer))
        return Kept(
            store=url,
            rows=report.rows,
            changed=report.changed,
            flushes=report.flushes,
            pending=report.pending,
            unspooled=report.unspooled,
            dead_letters=report.dead_letters,
            dropped=report.dropped,
            failure=report.failure if given_up is None else given_up.why,
            missed=0 if given_up is None else given_up.missed,
            dead_letter_file=str(writer.dead_letter_file) if report.dead_letters else "",
        )


class _GivenUp(msgspec.Struct):
    why: str
    missed: int = 0
