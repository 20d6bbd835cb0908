"""Options that several commands have, so that they are called the same and mean the same everywhere."""

from typing import Annotated, TypeAlias

import typer

__all__ = ["End", "ExchangeName", "Interval", "Json", "Start", "StoreUrl"]

ExchangeName: TypeAlias = Annotated[str | None, typer.Option("--exchange", metavar="NAME", help="Only this exchange.")]

Interval: TypeAlias = Annotated[
    str | None, typer.Option("--interval", metavar="INTERVAL", help="Kline interval, such as 1m, 1h, 1d.")
]

Start: TypeAlias = Annotated[
    str | None,
    typer.Option("--start", metavar="TIME", help="From this moment on, such as 2024-08-09 or 2024-08-09T12:30 (UTC)."),
]

End: TypeAlias = Annotated[
    str | None, typer.Option("--end", metavar="TIME", help="Before this moment; the moment itself is left out.")
]

StoreUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="Where the data is, such as delta://marketdata; else from the settings."
    ),
]

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output.")]
