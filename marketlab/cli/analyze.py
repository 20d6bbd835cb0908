"""`marketlab analyze`: price changes and statistics of the klines that a store holds."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketlab.cli.options import End, ExchangeName, Interval, Json, Start, StoreUrl

if TYPE_CHECKING:
    import polars as pl

    from marketlab.config import Settings
    from marketlab.stores.contract import Store

__all__ = ["EXAMPLES", "analyze"]

EXAMPLES = """
marketlab analyze                                   # every symbol of the store, 1m klines
marketlab analyze BTCUSDT ETHUSDT --windows 5m,1h,24h
marketlab analyze BTC/USDT --interval 1h --start 2024-08-01 --end 2024-09-01
marketlab analyze --resample 5m                     # five-minute bars out of the one-minute ones
marketlab analyze --json | jq .summary
"""

_WINDOWS = ("1m", "5m", "1h", "24h", "7d")
_LONG_WINDOW = "52w"
_KINDS = {
    "percent": "Changes are in percent.",
    "absolute": "Changes are differences of prices.",
    "log": "Changes are differences of logarithms.",
}


def analyze(
    symbols: Annotated[
        list[str] | None, typer.Argument(help="Such as BTCUSDT; all if none.", show_default=False)
    ] = None,
    windows: Annotated[
        str | None,
        typer.Option("--windows", metavar="A,B", help="How far back prices are compared, such as 5m,1h,24h,7d."),
    ] = None,
    how: Annotated[str, typer.Option("--how", help="Changes in percent, absolute or log.")] = "percent",
    returns: Annotated[str, typer.Option("--returns", help="Statistics of log or simple returns.")] = "log",
    interval: Interval = None,
    resample: Annotated[
        str | None, typer.Option("--resample", metavar="INTERVAL", help="Join the klines to longer ones first.")
    ] = None,
    start: Start = None,
    end: End = None,
    exchange: ExchangeName = None,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Show how prices have changed and what the closed klines of each symbol say.

    Longer klines that stored ones do not fill (the last one, those with a hole) are left out, and counted. The changes are those of the last kline, each against the price that long before it; empty where the history
    does not reach back so far. Statistics are over all klines of the span: returns from close to close, volatility a
    year, drawdown from the highest close. Symbols with simulated klines are marked.
    """
    from marketlab import analysis
    from marketlab.cli.reading import opened
    from marketlab.cli.terminal import note, print_json
    from marketlab.config import load_settings

    settings = load_settings(store=store, interval=interval)
    with opened(settings, interval=settings.interval, start=start, end=end) as source:
        bars = _bars(source, settings, symbols, exchange, start, end)
    if not bars.height:
        note(f"The store holds no closed {settings.interval} klines of that; marketlab status says what it holds.")
    simulated = _simulated(bars)
    if resample is not None:
        bars = _whole(analysis.resample(bars, resample), resample)
    spans = windows.replace(",", " ").split() if windows else _usual_windows(resample or settings.interval)
    kind = _one_of(how, *_KINDS)
    changes = _latest(analysis.price_change(bars, spans, how=kind))
    statistics = analysis.summary(bars, returns=_one_of(returns, "log", "simple"))
    if json:
        print_json({"changes": _rows(changes, simulated), "summary": _rows(statistics, simulated)})
    elif bars.height:
        note(_KINDS[kind])
        _show(changes, statistics, simulated)


def _bars(
    source: "Store",
    settings: "Settings",
    symbols: list[str] | None,
    exchange: str | None,
    start: str | None,
    end: str | None,
) -> "pl.DataFrame":
    import polars as pl

    from marketlab.instruments import canonical

    # One symbol in two spellings is still one: its klines count once.
    wanted = dict.fromkeys(map(canonical, symbols or ()))
    return pl.concat(
        source.read("klines", exchange=exchange, symbol=symbol, interval=settings.interval, start=start, end=end)
        for symbol in wanted or (None,)
    )


def _whole(bars: "pl.DataFrame", interval: str) -> "pl.DataFrame":
    from marketlab.cli.terminal import note

    whole = bars.filter("closed")
    if left_out := bars.height - whole.height:
        note(f"Left out: {left_out} of {bars.height} {interval} klines, which the stored ones do not fill.")
    return whole


def _usual_windows(bar: str) -> list[str]:
    from marketlab.analysis.intervals import interval, window

    length = interval(bar).length
    return [text for text in _WINDOWS if length and window(text) >= length] or [_LONG_WINDOW]


def _one_of(word: str, *choices: str) -> Any:
    from marketlab.errors import UsageError

    if word not in choices:
        raise UsageError(f"{word!r} is none of {', '.join(choices)}.")
    return word


def _simulated(bars: "pl.DataFrame") -> set[tuple[str, str]]:
    marked = bars.filter(bars.get_column("origin") == "simulated").select("exchange", "symbol").unique()
    return set(marked.rows())


def _latest(bars: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    last = bars.filter(pl.col("open_time") == pl.col("open_time").max().over("exchange", "symbol"))
    return last.sort("exchange", "symbol").select(
        "exchange", "symbol", "interval", "open_time", "close", pl.selectors.starts_with("change_")
    )


def _rows(table: "pl.DataFrame", simulated: set[tuple[str, str]]) -> list[dict[str, Any]]:
    return [row | {"simulated": (row["exchange"], row["symbol"]) in simulated} for row in table.to_dicts()]


def _show(changes: "pl.DataFrame", statistics: "pl.DataFrame", simulated: set[tuple[str, str]]) -> None:
    import polars as pl

    from marketlab.cli.terminal import print_table

    marks = ["simulated" if key in simulated else "" for key in changes.select("exchange", "symbol").iter_rows()]
    origin = [pl.Series("origin", marks)] if simulated else []
    print_table(changes.with_columns(pl.selectors.float().round_sig_figs(8), *origin))
    print()
    # A symbol a column: so many statistics are easier to read from top to bottom.
    columns = [
        f"{symbol} {interval}{' simulated' if (exchange, symbol) in simulated else ''}"
        for exchange, symbol, interval in statistics.select("exchange", "symbol", "interval").iter_rows()
    ]
    values = statistics.drop("exchange", "symbol", "interval")
    turned = values.select(
        pl.selectors.float().round_sig_figs(8).cast(pl.String),
        pl.selectors.temporal().dt.strftime("%Y-%m-%d %H:%M"),
        pl.selectors.integer().cast(pl.String),
    ).select(values.columns)
    print_table(turned.transpose(include_header=True, header_name="statistic", column_names=columns))
