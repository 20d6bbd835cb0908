"""What commands print: results on standard output, everything else on standard error."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import polars as pl

__all__ = ["counting", "note", "print_json", "print_table"]

# In a pipe a row is one line, however long.
_ENDLESS = 1_000_000


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")
    sys.stdout.flush()


def print_table(table: "pl.DataFrame") -> None:
    """Every row and column, numbers in full, times in UTC; in blocks that fit the screen."""
    from marketlab.cli.aligned import aligned

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _ENDLESS
    print("\n".join(aligned(table, width, _writable("─", "-"))))


def _writable(text: str, otherwise: str) -> str:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return otherwise
    return text


def note(text: str) -> None:
    """Something for people, out of the way of the result."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def counting(what: str, unit: str) -> Iterator[Callable[[int], None]]:
    """A running count with its rate, on standard error, where that is a terminal; call it with each increase."""
    if not sys.stderr.isatty():
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}  {task.completed:,.0f} " + unit + "  {task.fields[rate]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")

        def advance(more: int) -> None:
            speed = progress.tasks[0].speed
            progress.update(task, advance=more, rate=f"{speed:,.0f} {unit}/s" if speed else "")

        yield advance
