"""`marketlab query`: rows of a store, for people and for machines."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Annotated

import typer

from marketlab.cli.options import End, ExchangeName, Interval, Json, Start, StoreUrl

if TYPE_CHECKING:
    import polars as pl

    from marketlab.cli.formats import BatchWriter

__all__ = ["EXAMPLES", "query"]

EXAMPLES = """
marketlab query trades BTCUSDT                             # the newest 20 trades
marketlab query klines BTCUSDT --interval 1m --start 2024-08-09 --end 2024-08-10
marketlab query quotes ETHUSDT --columns time,bid_price,ask_price --limit 5
marketlab query gaps                                       # what is missing, of all symbols
marketlab query trades BTCUSDT --json | jq .price          # everything, an object a line
marketlab query trades BTCUSDT --csv > trades.csv
"""

_SHOWN = 20
# What a table leaves out unless it is named: a screen is narrow.
_RARELY_READ = ("close_time", "closed", "received", "taker_buy_volume", "taker_buy_quote_volume")


def query(
    table: Annotated[
        str,
        typer.Argument(
            help="trades, agg_trades, klines, quotes, tickers, book_snapshots, book_updates or gaps.",
            show_default=False,
        ),
    ],
    symbol: Annotated[str | None, typer.Argument(help="Such as BTCUSDT or BTC/USDT; all if left out.")] = None,
    interval: Interval = None,
    start: Start = None,
    end: End = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="Only these columns (origin always comes along).")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, help="The newest so many rows; 0 for all. As a table 20, else all."),
    ] = None,
    include_open: Annotated[bool, typer.Option("--include-open", help="Klines that still run, too.")] = False,
    exchange: ExchangeName = None,
    store: StoreUrl = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="For machines: CSV on standard output.")] = False,
) -> None:
    """Show rows of a store, oldest first. As a table, columns that are rarely read show up when they are named.

    TIME without a zone is UTC. Every row says where it came from (origin); what is simulated is never shown without
    that mark.
    """
    import polars as pl

    from marketlab.cli.columns import selected
    from marketlab.cli.formats import Csv, JsonLines
    from marketlab.cli.reading import opened
    from marketlab.config import load_settings
    from marketlab.errors import UsageError

    if json and csv:
        raise UsageError("Choose one of --json and --csv.")
    none = selected(table, columns)
    rows = limit if limit is not None else 0 if json or csv else _SHOWN
    settings = load_settings(store=store)
    with opened(settings, interval=interval, start=start, end=end) as source:
        found = source.batches(
            table,
            exchange=exchange,
            symbol=symbol,
            interval=interval,
            start=start,
            end=end,
            columns=none.columns,
            include_open=include_open,
        )
        batches = _newest(found, rows) if rows else found
        if json or csv:
            _write(JsonLines if json else Csv, batches, none)
        else:
            shown = pl.concat([none, *batches])
            _show(shown if columns else shown.drop(_RARELY_READ, strict=False))


def _newest(batches: "Iterator[pl.DataFrame]", rows: int) -> "list[pl.DataFrame]":
    kept: deque[pl.DataFrame] = deque()
    height = 0
    for batch in batches:
        kept.append(batch)
        height += batch.height
        while height - kept[0].height >= rows:
            height -= kept.popleft().height
    if height > rows:
        kept[0] = kept[0].tail(rows - height + kept[0].height)
    return list(kept)


def _write(format: "type[BatchWriter]", batches: "Iterable[pl.DataFrame]", none: "pl.DataFrame") -> None:
    # Not from polars to the output: its errors do not say that the reader is gone.
    memory = BytesIO()
    writer = format(memory, none)
    for batch in batches:
        writer.write(batch)
        _print(memory.getvalue())
        memory.seek(0)
        memory.truncate()
    writer.close()
    _print(memory.getvalue())


def _print(text: bytes) -> None:
    left = memoryview(text)
    while left:
        # Where Python's output is unbuffered, a part may be all that is taken.
        left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()


def _show(rows: "pl.DataFrame") -> None:
    from marketlab.cli.terminal import note, print_table

    print_table(rows)
    simulated = rows.get_column("origin").eq("simulated").sum()
    if simulated:
        note(f"{simulated} of these {rows.height} rows are simulated.")
    elif not rows.height:
        note("No rows.")
