"""`marketlab copy`: history from one store into another."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketlab.cli import INTERRUPTED
from marketlab.cli.options import End, Json, Start

if TYPE_CHECKING:
    from marketlab.lab.copying import Copying

__all__ = ["EXAMPLES", "copy"]

EXAMPLES = """
marketlab copy delta://marketdata influxdb://localhost:8086/market
marketlab copy influxdb://localhost:8086/market delta:///srv/archive --table trades --table klines
marketlab copy delta://marketdata postgresql://localhost/market --symbol BTCUSDT --start 2024-08-01 --end 2024-09-01
"""


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="URL of the store to read.", show_default=False)],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="URL of the store that is to have the same.", show_default=False)
    ],
    table: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="TABLE", help="Only this one, such as trades; may be given repeatedly."),
    ] = None,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this one; may be given repeatedly.")
    ] = None,
    start: Start = None,
    end: End = None,
    json: Json = False,
) -> None:
    """Copy what a store holds into another, oldest first, then count both sides: whatever lacks is named (exit code 3).

    What is there already is not copied again. After a failure or Ctrl-C the same command goes on where it stopped.
    Rows keep their origin, so that what is simulated stays marked; rows that the target refuses are named.
    """
    from marketlab.cli.reading import existing, lasting, require_time_between
    from marketlab.config import load_settings
    from marketlab.errors import StoreUnavailable
    from marketlab.lab.copying import Copying

    require_time_between(start, end)
    settings = load_settings()
    began = monotonic()
    with (
        existing(source, settings, "FROM is the store to copy") as giving,
        lasting(target, settings) as taking,
        _interruptible() as pause,
    ):
        copying = Copying(giving, taking, names=table or (), symbols=symbol or (), start=start, end=end, pause=pause)
        try:
            with _shown(copying) as show:
                for name in copying.run():
                    show(name)
                    pause(0)
        except KeyboardInterrupt:
            _tell(copying, giving.url, taking.url, monotonic() - began, ended="stopped", json=json)
            raise typer.Exit(INTERRUPTED) from None
        except StoreUnavailable as error:
            # What was copied so far stays, so how far it got is worth telling.
            raise type(error)(f"{error} {_how_far(copying)}") from error
        _tell(copying, giving.url, taking.url, monotonic() - began, ended="complete", json=json)
    _require_equal(copying, taking.url)


@contextmanager
def _interruptible() -> Iterator[Callable[[float], None]]:
    """A pause that Ctrl-C and SIGTERM end with KeyboardInterrupt; in between they wait for the next one."""
    from marketlab.cli.stopping import asked_to_stop

    with asked_to_stop() as stopping:

        def pause(seconds: float) -> None:
            until = monotonic() + seconds
            while not stopping() and (left := until - monotonic()) > 0:
                sleep(min(left, 0.1))
            if stopping():
                raise KeyboardInterrupt

        yield pause


@contextmanager
def _shown(copying: "Copying") -> Iterator[Callable[[str], None]]:
    """A progress bar on standard error, where that is a terminal; call it with the name of the table."""
    if not sys.stderr.isatty():
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("counting", total=0, rate="")

        def show(name: str) -> None:
            speed = progress.tasks[0].speed
            done = min(copying.done, copying.total)
            rate = f"{speed:,.0f}/s" if speed else ""
            progress.update(task, description=name, completed=done, total=copying.total, rate=rate)

        yield show


def _how_far(copying: "Copying") -> str:
    return f"Of about {copying.total:,} rows {min(copying.done, copying.total):,} are seen to; the same command goes on there."


def _tell(copying: "Copying", source: str, target: str, seconds: float, *, ended: str, json: bool) -> None:
    from marketlab.cli.terminal import note, print_json

    rows, lacking = sum(part.rows for part in copying.copied), sum(part.lacking for part in copying.copied)
    written, refused = copying.written.total(), copying.refused.total()
    if json:
        told: dict[str, Any] = {
            "from": source, "to": target, "ended": ended, "seconds": round(seconds, 3), "rows": rows,
            "written": written, "simulated": copying.simulated, "refused": refused, "examples": copying.examples,
            "lacking": lacking, "parts": copying.copied,
        }  # fmt: skip
        print_json(told)
    if ended == "stopped":
        note(f"Stopped. {_how_far(copying)}")
        return
    if not json:
        for name, count in _by_table(copying).items():
            print(f"  {name:<16}{count:>14,} rows {copying.written[name]:>14,} written")
    note(f"{written:,} rows written to {target} in {seconds:.1f} s; {rows:,} rows of {source} counted on both sides.")
    if copying.simulated:
        note(f"{copying.simulated:,} of these are simulated, and marked so there too.")


def _by_table(copying: "Copying") -> dict[str, int]:
    rows: dict[str, int] = {}
    for part in copying.copied:
        rows[part.table] = rows.get(part.table, 0) + part.rows
    return rows


def _require_equal(copying: "Copying", target: str) -> None:
    from marketlab.cli.terminal import note
    from marketlab.errors import StoreError

    for row in copying.examples:
        key = ", ".join(f"{name} {value}" for name, value in row.key.items())
        note(f"refused: {row.table} {key}: {row.reason}")
    if more := copying.refused.total() - len(copying.examples):
        note(f"refused: {more:,} more")
    differing = [part for part in copying.copied if part.lacking]
    if differing:
        named = "; ".join(
            f"{part.table}{f' {part.interval}' if part.interval else ''} of {part.symbol} on {part.exchange} "
            f"{part.lacking:,} of {part.rows:,}"
            for part in differing
        )
        raise StoreError(f"{target} lacks rows that the source has: {named}.")
