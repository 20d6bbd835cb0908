"""The command line of marketlab: one module for each command, imported only when its command is chosen.

A command `name` is the function `name` in `marketlab/cli/name.py`; its docstring is the help text, its annotated
arguments the options, and `EXAMPLES` in the same module (text, an example a line) ends the help. Such a module
imports nothing slow at its top. Commands raise; `main` turns a `MarketlabError` into one sentence on standard
error and an exit code: 2 for the caller's mistake, 3 for something outside that failed (exchange, server, disk),
130 for Ctrl-C where a command does not define its own end.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Annotated

import typer

from marketlab.errors import MarketlabError, MissingDependency, UsageError

__all__ = ["COMMANDS", "FAILED_OUTSIDE", "USAGE", "exit_code", "main", "program"]

USAGE = 2
FAILED_OUTSIDE = 3

COMMANDS = {
    "demo": "Live prices of a local exchange, stored, read back, analysed.",
    "exchange": "Serve Binance's protocol here, from a tape or a simulation.",
    "collect": "Stream symbols from an exchange into a store, losing nothing.",
    "record": "Write an exchange's frames to a tape, as they come.",
    "replay": "Run tapes through the same pipeline into a store, without sockets.",
    "query": "Show rows of a store, as a table, JSON or CSV.",
    "analyze": "Price changes and statistics of stored klines.",
    "export": "Write rows of a store to a parquet, csv or arrow file.",
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

# Packages that only some extras install; whoever lacks one is told which.
_EXTRAS = {
    "deltalake": "history",
    "jupyterlab": "notebook",
    "narwhals": "history",
    "pandas": "pandas",
    "plotly": "notebook",
    "polars": "history",
    "pyarrow": "pandas",
    "zstandard": "zstd",
}


def main() -> None:
    """Run the program with the arguments of this process; ends it."""
    arguments = sys.argv[1:]
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    try:
        program(chosen)(args=arguments, prog_name="marketlab")
    except MarketlabError as error:
        _end(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        _end(MissingDependency(package, _EXTRAS[package], f"marketlab {chosen}"))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"{where}{error.strerror or error}", file=sys.stderr)
        sys.exit(FAILED_OUTSIDE)


def program(chosen: str = "") -> typer.Typer:
    """The program with all its commands, of which only the chosen one is imported; the others are but names."""
    app = typer.Typer(
        name="marketlab",
        epilog=_verbatim(EXAMPLES),
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    # An option here would make typer load pydantic before every command, 0.1 s that --help need not take.
    app.callback()(_no_options if chosen else _options)
    for name, purpose in COMMANDS.items():
        if name == chosen:
            module = import_module(f"marketlab.cli.{name}")
            app.command(name, epilog=_verbatim(module.EXAMPLES))(getattr(module, name))
        else:
            app.command(name, help=purpose, short_help=purpose)(_not_chosen)
    return app


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


def _no_options() -> None:
    pass


def _not_chosen() -> None:
    raise AssertionError("only the chosen command is ever run")


def _verbatim(examples: str) -> str:
    """As an epilogue that keeps its lines."""
    lines: Sequence[str] = cleandoc(examples).strip().splitlines()
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def exit_code(error: MarketlabError) -> int:
    """2 for the caller's mistake, 3 for something outside that failed."""
    return USAGE if isinstance(error, UsageError) else FAILED_OUTSIDE


def _end(error: MarketlabError) -> None:
    print(error, file=sys.stderr)
    sys.exit(exit_code(error))
