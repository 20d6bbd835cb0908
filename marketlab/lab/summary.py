"""What a run of the pipeline did, for people and for machines."""

from collections.abc import Iterable, Mapping

import msgspec

from marketlab.lab.keeping import Kept
from marketlab.market.market import Counts

__all__ = ["BookSummary", "Summary", "SymbolSummary", "by_symbol"]


class BookSummary(msgspec.Struct, frozen=True):
    """How often a book was compared with the exchange's own quotes and was equal, and how often it was loaded anew."""

    compared: int
    equal: int
    resyncs: int


class SymbolSummary(msgspec.Struct, frozen=True):
    """One symbol: records that came in, doubles that were dropped, gaps that were found and those fetched back."""

    records: int
    doubles: int
    gaps: int
    healed: int
    book: BookSummary


class Summary(msgspec.Struct, frozen=True):
    """A whole run. `ended` says why: idle, duration, stopped, end of tape, or failed."""

    exchange: str
    origin: str
    ended: str
    seconds: float
    frames: int
    unreadable: int
    reconnects: int
    gaps: int
    healed: int
    symbols: dict[str, SymbolSummary]
    stores: list[Kept]

    @property
    def simulated(self) -> bool:
        """Whether any of it is simulated."""
        return "simulated" in self.origin

    @property
    def rows(self) -> int:
        """Rows that the stores have acknowledged."""
        return sum(sum(kept.rows.values()) for kept in self.stores)

    @property
    def failures(self) -> list[str]:
        """What is not in its store, one sentence a store."""
        return [
            f"{kept.pending:,} records wait in the spool of {kept.store} for the next run. {kept.failure}".strip()
            for kept in self.stores
            if kept.pending
        ]


def by_symbol(counts: Mapping[str, Counts], only: Iterable[str] = ()) -> dict[str, SymbolSummary]:
    """The market's counts as they are told."""
    names = set(only) or set(counts)
    return {
        symbol: SymbolSummary(
            count.messages,
            count.doubles,
            count.gaps,
            count.healed,
            BookSummary(count.compared, count.equal, count.resyncs),
        )
        for symbol, count in sorted(counts.items())
        if symbol in names
    }
