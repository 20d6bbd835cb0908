"""What is kept of a stream: every trade, quote, ticker, book update, book snapshot and gap, and a kline when it closes."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from marketlab.records import Kline, Record, Trade

if TYPE_CHECKING:
    # Whoever records a tape keeps nothing in a store, and needs no polars.
    from marketlab.stores.contract import Store
    from marketlab.stores.writer import Report, Writer

__all__ = ["Keeper", "Kept"]


class Kept(msgspec.Struct, frozen=True):
    """The account of one store.

    `rows` by table are acknowledged by the store and `changed` of them were new or better than what it had;
    `pending` records are not there: still in the spool but for `unspooled`, which are gone with this process.
    `failure` says why.
    """

    store: str
    rows: dict[str, int]
    changed: dict[str, int]
    flushes: int
    pending: int
    unspooled: int
    dead_letters: int
    failure: str


class Keeper:
    """Hands what is to be kept to the writers of one or more stores. `stores` are to be looked at, not written to."""

    def __init__(self, writers: "Iterable[tuple[Store, Writer]]") -> None:
        pairs = list(writers)
        self.stores = [store for store, _ in pairs]
        self._writers = [(store.url, writer) for store, writer in pairs]

    def accept(self, records: Sequence[Record]) -> None:
        """Take a batch, in order; never waits for a store.

        Raises:
            StoreUnavailable: a spool's disk has failed for so long that its backlog is full.
        """
        kept = [record for record in records if type(record) is not Kline or record.closed]
        if kept:
            for _, writer in self._writers:
                writer.accept(kept)

    def trades(self, symbol: str, start: int, end: int) -> list[Trade]:
        """The trades of a symbol with start <= time < end that the first store has already, by time and id."""
        from marketlab import tables

        store = self.stores[0]
        if not any(found.symbol == symbol for found in store.coverage("trades", symbol=symbol)):
            return []
        return tables.to_records("trades", store.read("trades", symbol=symbol, start=start, end=end))

    def account(self) -> list[Kept]:
        """What the stores have so far."""
        return [_kept(url, writer.stats) for url, writer in self._writers]

    def close(self, timeout: float = 60.0) -> list[Kept]:
        """Flush everything and let go; what could not be stored stays in its spool, and the account says so."""
        return [_kept(url, writer.close(timeout)) for url, writer in self._writers]


def _kept(url: str, report: "Report") -> Kept:
    return Kept(
        store=url,
        rows=report.rows,
        changed=report.changed,
        flushes=report.flushes,
        pending=report.pending,
        unspooled=report.unspooled,
        dead_letters=report.dead_letters,
        failure=report.failure,
    )
