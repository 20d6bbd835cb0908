"""Options that several commands have, so that they are called the same and mean the same everywhere."""

from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Channels",
    "Duration",
    "End",
    "ExchangeName",
    "Interval",
    "Json",
    "RestUrl",
    "Start",
    "StoreUrl",
    "Symbols",
    "UntilIdle",
    "WsUrl",
]

ExchangeName: TypeAlias = Annotated[
    str | None, typer.Option("--exchange", metavar="NAME", help="Which exchange, such as binance.")
]

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

Symbols: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SYMBOL...", help="Such as BTCUSDT or BTC/USDT; else from the settings.", show_default=False
    ),
]

Channels: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="A,B",
        help="Of trade, agg_trade, kline_<interval>, quote, book, ticker, mini_ticker; else from the settings.",
    ),
]

WsUrl: TypeAlias = Annotated[
    str | None, typer.Option("--ws-url", metavar="URL", help="Another host for streams, such as ws://127.0.0.1:9000.")
]

RestUrl: TypeAlias = Annotated[
    str | None, typer.Option("--rest-url", metavar="URL", help="Another host for REST, such as http://127.0.0.1:9000.")
]

Duration: TypeAlias = Annotated[
    float | None, typer.Option("--duration", metavar="S", min=0, help="End after so many seconds.")
]

UntilIdle: TypeAlias = Annotated[
    float | None, typer.Option("--until-idle", metavar="S", min=0.1, help="End after so many seconds without a record.")
]
