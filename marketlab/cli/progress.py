"""What collect, record, replay and demo show while they run, and in the end."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from marketlab.cli.terminal import note, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from marketlab.lab.summary import Summary
    from marketlab.streams.status import BookStatus, FeedStatus

__all__ = ["feed_table", "show_summary", "statistics_in_log", "watching"]


def statistics_in_log(level: str) -> None:
    """Log lines on standard error, with UTC times."""
    from time import gmtime

    handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("marketlab")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())


@contextmanager
def watching(title: str, *, quiet: bool = False) -> "Iterator[Callable[[FeedStatus], None] | None]":
    """A live table of a feed on standard error, where that is a terminal; give it a status now and then."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.live import Live

    began = monotonic()
    with Live(console=Console(stderr=True), transient=True, refresh_per_second=8) as live:
        yield lambda status: live.update(feed_table(title, status, monotonic() - began))


def feed_table(title: str, status: "FeedStatus", seconds: float) -> "Table":
    """A feed as a table that fits 80 columns: counts, lag, gaps, best prices, and how often the books were equal."""
    from rich.table import Table

    mark = "  SIMULATED" if "simulated" in status.origins else ""
    lost = "" if status.connections == status.connections_wanted else "  RECONNECTING"
    rate = status.frames / seconds if seconds else 0.0
    left: dict[str, Any] = {"title_justify": "left", "caption_justify": "left"}
    table = Table(title=f"{title}{mark}{lost}", box=None, padding=(0, 1, 0, 0), **left)
    table.caption = (
        f"{seconds:.0f} s   {status.frames:,} frames ({rate:,.0f}/s)   {status.records:,} records\n"
        f"gaps {status.gaps:,} (healed {status.healed:,})   reconnects {status.reconnects:,}   Ctrl-C stops"
    )
    late = any(stream.lag_s is not None for stream in status.streams)
    for name in ("symbol", "channel"):
        table.add_column(name, no_wrap=True)
    for name in ("records", *(["lag s"] if late else []), "bid", "ask", "bps", "book equal"):
        table.add_column(name, justify="right", no_wrap=True)
    books = {book.symbol: book for book in status.books}
    for stream in status.streams:
        book = books.get(stream.symbol) if stream.channel == "book" else None
        prices = ("", "", "", "") if book is None else _prices(book)
        lag = [] if not late else ["" if stream.lag_s is None else f"{stream.lag_s:.3f}"]
        table.add_row(stream.symbol, stream.channel, f"{stream.records:,}", *lag, *prices)
    return table


def _prices(book: "BookStatus") -> tuple[str, str, str, str]:
    equal = f"{book.equal:,}/{book.compared:,}"
    return _number(book.best_bid), _number(book.best_ask), _number(book.spread_bps), equal


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.8g}" if value >= 1 else f"{value:.4g}"


def show_summary(summary: "Summary", *, json: bool) -> None:
    """What a run did: JSON for machines, else some lines for people."""
    if json:
        print_json(summary)
        return
    note(
        f"{summary.frames:,} frames in {summary.seconds:.1f} s from {summary.exchange} "
        f"({summary.origin.replace('simulated', 'SIMULATED') or 'nothing came'}); ended: {summary.ended}."
    )
    for symbol, told in summary.symbols.items():
        book = told.book
        proof = (
            f"; book equal to the exchange's quotes {book.equal:,} of {book.compared:,} times" if book.compared else ""
        )
        doubles = f"{told.doubles:,} doubles left out, " if told.doubles else ""
        note(f"  {symbol}: {told.records:,} records, {doubles}{told.gaps} gaps ({told.healed} healed){proof}")
    for kept in summary.stores:
        rows = ", ".join(f"{count:,} {name}" for name, count in sorted(kept.rows.items())) or "nothing"
        note(f"  {kept.store}: {rows} ({sum(kept.changed.values()):,} rows new or better)")
        if kept.dead_letters:
            note(f"  {kept.dead_letters:,} rows were refused and are in the dead-letter file of the spool")
    if summary.reconnects:
        note(f"  connections were opened again {summary.reconnects:,} times")
    if summary.unreadable:
        note(f"  {summary.unreadable:,} frames were unreadable and set aside")
