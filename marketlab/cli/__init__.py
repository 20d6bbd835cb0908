"""The command line of marketlab: one module for each command, imported only when its command is chosen.

A command `name` is the function `name` in `marketlab/cli/name.py`; its docstring is the help text, its annotated
arguments the options, and `EXAMPLES` in the same module (text, an example a line) ends the help. Such a module
imports nothing slow at its top. Commands raise; `main` turns a `MarketlabError` into one sentence on standard
error and an exit code: 2 for the caller's mistake, 3 for something outside that failed (exchange, server, disk),
130 for Ctrl-C where a command does not define its own end, 141 when nobody reads the output any more.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from marketlab.errors import MarketlabError, StoreDenied, UsageError
from marketlab.extras import missing

__all__ = ["COMMANDS", "FAILED_OUTSIDE", "INTERRUPTED", "UNREAD", "USAGE", "command", "exit_code", "main", "program"]

USAGE = 2
FAILED_OUTSIDE = 3
INTERRUPTED = 130
UNREAD = 141  # as of a program that SIGPIPE ended

COMMANDS = {
    "demo": "Live prices of a local exchange, stored, read back, analysed.",
    "exchange": "Serve Binance's protocol here, from a tape or a simulation.",
    "collect": "Stream symbols from an exchange into a store, losing nothing.",
    "record": "Write an exchange's frames to a tape, as they come.",
    "replay": "Run tapes through the same pipeline into a store, without sockets.",
    "query": "Show rows of a store, as a table, JSON or CSV.",
    "analyze": "Price changes and statistics of stored klines.",
    "export": "Write rows of a store to a parquet, csv or arrow file.",
    "copy": "Copy a store into another, and count both sides.",
    "flush": "Take batches from a queue and store them.",
    "spool": "What waits for stores: list it, store it now, or throw it away.",
    "status": "Settings and their sources, versions, what the store holds.",
    "lab": "Open the shipped notebooks in JupyterLab.",
}
"""Every command and what it is for; the only list of them."""

EXAMPLES = """
marketlab demo                                    # start here: half a minute, no network
marketlab collect BTCUSDT ETHUSDT                 # live from Binance into ./marketdata
marketlab query trades BTCUSDT --limit 10         # what has been stored
marketlab analyze                                 # what it says
marketlab COMMAND --help                          # more examples
"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program, with the arguments of this process if none are given, and end with its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    chosen = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a character is no reason to fail
    try:
        if chosen:
            command(chosen)(args=arguments[1:], prog_name=f"marketlab {chosen}")
        else:
            program()(args=arguments, prog_name="marketlab")
        sys.exit()
    except MarketlabError as error:
        _end(error)
    except ModuleNotFoundError as error:
        told = missing(error, f"marketlab {chosen}".rstrip())
        if told is None:
            raise
        _end(told)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{where}{error.strerror or error}", file=sys.stderr)
        sys.exit(FAILED_OUTSIDE)


def command(name: str) -> typer.Typer:
    """One command by itself. As part of a group it would cost 0.1 s more: typer loads pydantic to read a group's
    options, though not to print a help text."""
    module = import_module(f"marketlab.cli.{name}")
    app = _app()
    app.command(name, epilog=_verbatim(module.EXAMPLES))(_ending_well(getattr(module, name)))
    return app


def _ending_well(run: Callable[..., None]) -> Callable[..., None]:
    # Here and not in main: what a command raises passes through typer first, which has ends of its own.
    @wraps(run)
    def running(*args: Any, **options: Any) -> None:
        try:
            run(*args, **options)
            sys.stdout.flush()
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            sys.exit(INTERRUPTED)
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            _forget_output()
            sys.exit(UNREAD)

    return running


def _forget_output() -> None:
    # What is still in a buffer would fail once more when the interpreter ends.
    with suppress(io.UnsupportedOperation), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def program() -> typer.Typer:
    """The names of all commands, to be listed or mistyped; none of them is imported."""
    app = _app(epilog=_verbatim(EXAMPLES), no_args_is_help=True)
    app.callback()(_options)
    for name, purpose in COMMANDS.items():
        app.command(name, help=purpose, short_help=purpose)(_only_a_name)
    return app


def _app(**settings: Any) -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)


def _print_version(wanted: bool) -> None:
    if wanted:
        from marketlab import __version__

        print(f"marketlab {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """The market-data lab: verified streams, history that loses nothing, and the same data back."""


def _only_a_name() -> None:
    raise AssertionError("a command that exists is run by itself")


def _verbatim(examples: str) -> str:
    """As an epilogue that keeps its lines."""
    lines: Sequence[str] = cleandoc(examples).strip().splitlines()
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def exit_code(error: MarketlabError) -> int:
    """2 for the caller's mistake, 3 for something outside that failed."""
    return USAGE if isinstance(error, UsageError | StoreDenied) else FAILED_OUTSIDE


def _end(error: MarketlabError) -> NoReturn:
    print(error, file=sys.stderr)
    sys.exit(exit_code(error))
