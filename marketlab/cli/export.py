"""`marketlab export`: rows of a store as a file that other programs read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from marketlab.cli.options import End, ExchangeName, Interval, Json, Start, StoreUrl

if TYPE_CHECKING:
    import polars as pl

    from marketlab.cli.formats import BatchWriter

__all__ = ["EXAMPLES", "export"]

EXAMPLES = """
marketlab export trades btc.parquet --symbol BTCUSDT
marketlab export klines klines.csv --interval 1m --start 2024-08-01 --end 2024-09-01
marketlab export book_snapshots books.arrow --symbol ETHUSDT
"""


def export(
    table: Annotated[
        str, typer.Argument(help="trades, klines, quotes, ... as in marketlab query.", show_default=False)
    ],
    file: Annotated[
        Path, typer.Argument(help="Where to; the name ends in .parquet, .csv, .arrow or .jsonl.", show_default=False)
    ],
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only this symbol.")] = None,
    interval: Interval = None,
    start: Start = None,
    end: End = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="Only these columns (origin always comes along).")
    ] = None,
    include_open: Annotated[bool, typer.Option("--include-open", help="Klines that still run, too.")] = False,
    exchange: ExchangeName = None,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Write rows of a store to a file, oldest first, however many there are.

    The file appears when it is complete; until then, and after a failure or Ctrl-C, a file of that name stays as it
    was. Rows keep their origin, so that what is simulated stays marked.
    """
    from marketlab.cli.columns import selected
    from marketlab.cli.terminal import note, print_json
    from marketlab.config import load_settings
    from marketlab.stores.open import open_store

    format = _format(file)
    none = selected(table, columns)
    settings = load_settings(store=store)
    with open_store(settings.store) as source:
        batches = source.batches(
            table,
            exchange=exchange,
            symbol=symbol,
            interval=interval,
            start=start,
            end=end,
            columns=none.columns,
            include_open=include_open,
        )
        rows, simulated = _write(file, format, none, batches)
    size = file.stat().st_size
    if json:
        print_json({"table": table, "file": str(file), "rows": rows, "simulated": simulated, "bytes": size})
    else:
        note(f"{rows:,} rows of {table} in {file} ({size:,} bytes).")
        if simulated:
            note(f"{simulated:,} of them are simulated; the column origin says which.")


def _format(file: Path) -> "type[BatchWriter]":
    from marketlab.cli.formats import FORMATS
    from marketlab.errors import UsageError

    found = FORMATS.get(file.suffix.lower())
    if found is None:
        raise UsageError(f"{file.name} tells no format; end the name in {', '.join(FORMATS)}.")
    return found


def _write(
    file: Path, format: "type[BatchWriter]", none: "pl.DataFrame", batches: "Iterator[pl.DataFrame]"
) -> tuple[int, int]:
    from marketlab.cli.terminal import counting

    rows = simulated = 0
    with _appearing(file) as out, counting(f"{file.name}", "rows") as advance:
        writer = format(out, none)
        for batch in batches:
            writer.write(batch)
            rows += batch.height
            simulated += int(batch.get_column("origin").eq("simulated").sum())
            advance(batch.height)
        writer.close()
    return rows, simulated


@contextmanager
def _appearing(file: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name only when all of it is on the disk."""
    from marketlab.errors import StoreError

    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        try:
            with partial.open("wb") as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            partial.replace(file)
        except OSError as error:
            raise StoreError(f"Cannot write {file}: {error.strerror or error}.") from None
    finally:
        partial.unlink(missing_ok=True)
