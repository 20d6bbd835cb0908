"""One row of statistics for each symbol."""

from datetime import timedelta
from typing import Literal

import narwhals as nw
from narwhals.typing import IntoFrameT

from marketlab.analysis.engines import Table, enter, keys
from marketlab.errors import UsageError

__all__ = ["summary"]

_NEEDED = ("symbol", "open_time", "close_time", "open", "high", "low", "close", "volume")
_YEAR = timedelta(days=365).total_seconds()
_RETURNS = ("log", "simple")
# Returns are quotients of floats: a variance below this is rounding, not movement.
_NO_VARIANCE = 1e-30


def summary(bars: IntoFrameT, *, returns: Literal["log", "simple"] = "log") -> IntoFrameT:
    """Statistics of klines, one row for each exchange, symbol and interval, sorted by these.

    Columns: `start` and `end` (first open_time, last close_time), `bars`; `first` (the first bar's open), `last` (the
    last bar's close), `high`, `low`; `change` and `change_percent` from first to last; `vwap` (quote volume over
    volume; without a column quote_volume the bars' typical prices weighted by volume), `volume`; `mean_return` and
    `std_return` (ddof = 1) of the returns from close to close, as fractions a bar; `volatility` (std_return times the
    root of the bars in 365 days: crypto trades all year); `skewness` and `kurtosis` of the returns (moment estimates,
    biased; kurtosis in excess of the normal's 3); `max_drawdown` (the deepest fall of the close below its highest so
    far, as a fraction from -1 to 0).

    A statistic is null where there are too few bars or no movement for it. A hole between bars counts as one step.

    Args:
        bars: klines, in any order, unique by key, as stores give them: a table of polars (eager or lazy), pandas or DuckDB.
        returns: `log` for the logarithm of close over the previous close, `simple` for that ratio less 1.

    Raises:
        UsageError: a column is missing, or there are no such returns.
        Unsupported: the table's engine is not one of those above.
    """
    if returns not in _RETURNS:
        raise UsageError(f"{returns!r} are no returns; choose {' or '.join(_RETURNS)}.")
    table = enter(bars, "summary", _NEEDED, ("open_time", "close_time"))
    by = keys(table)
    gathered = _with_parts(table, by, returns).group_by(by).agg(*_totals())
    result: IntoFrameT = nw.to_native(_finished(gathered).select(*by, *_statistics()).sort(by))
    return result


def _with_parts(table: Table, by: list[str], returns: str) -> Table:
    worth = nw.col("quote_volume")
    if "quote_volume" not in table.collect_schema():
        worth = (nw.col("high") + nw.col("low") + nw.col("close")) / 3 * nw.col("volume")
    ratio = nw.col("close") / nw.col("close").shift(1).over(*by, order_by="open_time")
    parted = table.with_columns(
        _worth=worth,
        _return=ratio.log() if returns == "log" else ratio - 1,
        _fall=nw.col("close") / nw.col("close").cum_max().over(*by, order_by="open_time") - 1,
        _start=nw.col("open_time").min().over(*by),
        _end=nw.col("open_time").max().over(*by),
    ).with_columns(
        _first=nw.when(nw.col("open_time") == nw.col("_start")).then(nw.col("open")),
        _last=nw.when(nw.col("open_time") == nw.col("_end")).then(nw.col("close")),
        _off=nw.col("_return") - nw.col("_return").mean().over(*by),
    )
    off = nw.col("_off")
    return parted.with_columns(_off2=off * off, _off3=off * off * off, _off4=off * off * off * off)


def _totals() -> list[nw.Expr]:
    return [
        nw.col("open_time").min().alias("start"),
        nw.col("close_time").max().alias("end"),
        nw.col("close_time").min().alias("_first_end"),
        nw.len().alias("bars"),
        nw.col("_first").max().alias("first"),
        nw.col("_last").max().alias("last"),
        nw.col("high").max(),
        nw.col("low").min(),
        nw.col("volume").sum(),
        nw.col("_worth").sum(),
        nw.col("_return").count().alias("_steps"),
        nw.col("_return").mean().alias("mean_return"),
        nw.col("_off2").sum(),
        nw.col("_off3").sum(),
        nw.col("_off4").sum(),
        nw.col("_fall").min().alias("max_drawdown"),
    ]


def _finished(gathered: Table) -> Table:
    steps = nw.col("_steps")
    variance = nw.col("_off2") / steps
    moves = variance > _NO_VARIANCE
    bar_s = (nw.col("_first_end") - nw.col("start")).dt.total_seconds() + 1
    spread = nw.when(steps > 1).then((nw.col("_off2") / (steps - 1)).sqrt())
    return gathered.with_columns(
        bars=nw.col("bars").cast(nw.Int64),
        change=nw.col("last") - nw.col("first"),
        change_percent=(nw.col("last") / nw.col("first") - 1) * 100,
        vwap=nw.when(nw.col("volume") > 0).then(nw.col("_worth") / nw.col("volume")),
        std_return=spread,
        volatility=spread * (_YEAR / bar_s).sqrt(),
        skewness=nw.when(moves).then(nw.col("_off3") / steps / variance**1.5),
        kurtosis=nw.when(moves).then(nw.col("_off4") / steps / (variance * variance) - 3),
    )


def _statistics() -> list[str]:
    return [
        *("start", "end", "bars", "first", "last", "high", "low", "change", "change_percent", "vwap", "volume"),
        *("mean_return", "std_return", "volatility", "skewness", "kurtosis", "max_drawdown"),
    ]
