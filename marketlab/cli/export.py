"""`marketlab export`: rows of a store as a file that other programs read."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from marketlab.cli import INTERRUPTED
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
        Path,
        typer.Argument(
            help="Where to; the name ends in .parquet, .csv, .arrow, .feather or .jsonl.", show_default=False
        ),
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
    from marketlab.cli.reading import opened
    from marketlab.cli.terminal import note, print_json
    from marketlab.config import load_settings

    format = _format(file)
    none = selected(table, columns)
    settings = load_settings(store=store)
    with opened(settings, interval=interval, start=start, end=end) as source:
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
        try:
            rows, simulated = _write(file, format, none, batches)
        except KeyboardInterrupt:
            note(f"Stopped; {file} was not written.")
            raise typer.Exit(INTERRUPTED) from None
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

    if file.is_dir():
        raise UsageError(f"'{file}' is a folder; name a file in it, such as {file / 'rows.parquet'}.")
    found = FORMATS.get(file.suffix.lower())
    if found is None:
        raise UsageError(f"'{file}' tells no format; end the name of the file in {', '.join(FORMATS)}.")
    return found


def _write(
    file: Path, format: "type[BatchWriter]", none: "pl.DataFrame", batches: "Iterator[pl.DataFrame]"
) -> tuple[int, int]:
    rows = simulated = 0
    # The writer is closed in any case: one that is left behind would write its footer into a closed file.
    with _appearing(file) as out, closing(format(out, none)) as writer, _counting(file) as advance:
        for batch in batches:
            writer.write(batch)
            rows += batch.height
            simulated += int(batch.get_column("origin").eq("simulated").sum())
            advance(batch.height)
    return rows, simulated


@contextmanager
def _counting(file: Path) -> Iterator[Callable[[int], None]]:
    """Counts rows; Ctrl-C and SIGTERM end it between two batches, where nothing is half done."""
    from marketlab.cli.stopping import asked_to_stop
    from marketlab.cli.terminal import counting

    with asked_to_stop() as stopping, counting(file.name, "rows") as advance:

        def count(rows: int) -> None:
            advance(rows)
            if stopping():
                raise KeyboardInterrupt

        yield count


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
