"""What a run of the pipeline did, for people and for machines."""

from collections.abc import Iterable, Mapping

import msgspec

from marketlab.lab.keeping import Kept
from marketlab.market.market import Counts

__all__ = ["BookSummary", "Summary", "SymbolSummary", "by_symbol", "refusal"]


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
    """A whole run. `ended` says why: idle, duration, stopped, end of tape, damaged tape, or failed (then `failure`
    says how)."""

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
    failure: str = ""

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
        """What is not in its store, or else why the run broke off, and what a store has refused, a sentence each."""
        missing = [_told(kept) for kept in self.stores if kept.pending or kept.dropped or kept.missed]
        refused = [
            refusal(kept.dead_letters, kept.store, kept.dead_letter_file) for kept in self.stores if kept.dead_letters
        ]
        return (missing or [self.failure] * bool(self.failure)) + refused


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


def refusal(count: int, store: str, file: str) -> str:
    """What a store has refused, and where it is, in a sentence."""
    return f"{count:,} rows were refused by {store} and are in {file}."


def _told(kept: Kept) -> str:
    waiting = kept.pending - kept.unspooled
    parts = [f"{waiting:,} records wait in the spool of {kept.store} for the next run"] if waiting else []
    if kept.unspooled:
        parts.append(f"{kept.unspooled:,} records could not be kept")
    if kept.dropped:
        parts.append(f"{kept.dropped:,} records were given up when the spool of {kept.store} had reached its limit")
    if kept.missed:
        parts.append(f"{kept.missed:,} records did not get to {kept.store}")
    if not kept.pending and not kept.missed:
        return f"{parts[0]}."
    return f"{' and '.join(parts)}: {kept.failure or 'it took too long.'}"
