"""Bigger bars out of smaller ones."""

from datetime import timedelta
from typing import Any, TypeAlias

import narwhals as nw
from narwhals.typing import IntoFrameT

from marketlab.analysis.engines import Table, enter, in_time_order
from marketlab.analysis.intervals import Interval
from marketlab.analysis.intervals import interval as parsed
from marketlab.errors import Unsupported, UsageError

__all__ = ["resample"]

Kinds: TypeAlias = dict[str, Any]

_NEEDED = ("symbol", "open_time", "close_time", "open", "high", "low", "close")
_SUMS = ("volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume")
_KNOWN = (
    *("exchange", "symbol", "interval", "open_time", "close_time", "open", "high", "low", "close"),
    *(*_SUMS, "closed", "received", "origin"),
)
_PRICES = ("open", "high", "low", "close")
_TRUNCATES = ("polars", "pandas")
"""Engines that truncate times to multiples of a unit, and convert time zones."""
_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)


def resample(bars: IntoFrameT, interval: str) -> IntoFrameT:
    """Klines of a longer interval, by the exchange's boundaries, sorted by open_time, then exchange and symbol.

    Boundaries are in UTC: weeks open on Monday, months on the first, all others count from 1970. Bars without trades
    lend no price to a longer bar that has trades, as on the exchange. A longer bar is `closed` only if closed bars
    fill it from its first to its last moment; so the first and the last one, and those with a hole, may not be. Where
    there is no bar at all there is none in the result: a hole is not a time without trades. Volumes are sums of
    floats; `received` is the latest, `origin` the last bar's, but `simulated` if any of them is.

    Args:
        bars: klines of one interval and any number of symbols, in any order, unique by key, as stores give them: a table
            of polars (eager or lazy), pandas or DuckDB (with TimeZone 'UTC'). Columns that klines do not have are left out;
            `interval` and `closed` are always there.
        interval: the longer one: `5m`, `1h`, `4h`, `1d`, `3d`, `1w`, `1M` and the like; the bars must fill it without a rest.

    Raises:
        UsageError: no such interval, bars of several intervals, or bars that do not fill the longer one (the last two
            only where that can be seen without computing, which is not so for lazy tables).
        Unsupported: the table's engine is not one of those above.
    """
    target = parsed(interval)
    table = enter(bars, "resample", _NEEDED, ("open_time", "close_time"))
    kinds = dict(table.collect_schema())
    rows = table.with_columns(*_parts(kinds), _start=_start(table, target))
    if isinstance(rows, nw.DataFrame):
        in_memory = _gathered(rows, kinds)
        _expect_filling(in_memory, target)
        made = _finished(in_memory, target, kinds)
    else:
        made = _finished(_gathered_lazily(rows, kinds), target, kinds)
    columns = [column for column in _KNOWN if column in kinds or column in ("interval", "closed")]
    result: IntoFrameT = nw.to_native(made.select(columns).sort("open_time", *_series(kinds)))
    return result


def _series(kinds: Kinds) -> list[str]:
    return [column for column in ("exchange", "symbol", "interval") if column in kinds]


def _parts(kinds: Kinds) -> list[nw.Expr]:
    trades = [nw.col(column) > 0 for column in ("trade_count", "volume") if column in kinds] or [nw.lit(value=True)]
    parts = [nw.any_horizontal(*trades, ignore_nulls=True).alias("_traded")]
    if "closed" in kinds:
        parts.append(nw.col("closed").cast(nw.Int64).alias("_closed"))
    if "origin" in kinds:
        parts.append((nw.col("origin") == "simulated").cast(nw.Int64).alias("_simulated"))
    return parts


def _start(table: Table, target: Interval) -> nw.Expr:
    zone = getattr(table.collect_schema()["open_time"], "time_zone", None)
    time = nw.col("open_time")
    native = table.implementation.value in _TRUNCATES
    if zone not in (None, "UTC"):
        if not native:
            raise Unsupported(f"resample needs times in UTC here, not {zone}: run SET TimeZone = 'UTC' first.")
        time = time.dt.convert_time_zone("UTC")
    if target.length is None:
        return _month(time)
    if target.text == "1w":
        return _day(time) - (time.dt.weekday().cast(nw.Int64) - 1) * nw.lit(_DAY)
    return time.dt.truncate(target.text) if native else _from_midnight(time, target.length)


def _day(time: nw.Expr) -> nw.Expr:
    return time.dt.truncate("1d")


def _month(time: nw.Expr) -> nw.Expr:
    return _day(time) - (time.dt.day().cast(nw.Int64) - 1) * nw.lit(_DAY)


def _from_midnight(time: nw.Expr, length: timedelta) -> nw.Expr:
    # Not every engine truncates to multiples of a unit, but all know the parts of a time.
    if length < _DAY:
        seconds = int(length.total_seconds())
        passed = time.dt.hour() * 3600 + time.dt.minute() * 60 + time.dt.second()
        return _day(time) + passed // seconds * nw.lit(length)
    years = time.dt.year()
    leaps = (years - 1969) // 4 - (years - 1901) // 100 + (years - 1601) // 400
    number = (years - 1970) * 365 + leaps + time.dt.ordinal_day() - 1
    return _day(time) - number % length.days * nw.lit(_DAY)


def _end(start: nw.Expr, target: Interval) -> nw.Expr:
    following = _month(start + nw.lit(31 * _DAY)) if target.length is None else start + nw.lit(target.length)
    return following - nw.lit(_TICK)


def _sums(kinds: Kinds) -> list[nw.Expr]:
    sums = [nw.col(column).sum() for column in _SUMS if column in kinds]
    sums.append(nw.col("_closed").sum() if "closed" in kinds else nw.len().alias("_closed"))
    if "received" in kinds:
        sums.append(nw.col("received").max())
    if "origin" in kinds:
        sums.append(nw.col("_simulated").max())
    first, end = nw.col("open_time"), nw.col("close_time")
    return [*sums, first.min().alias("_first"), end.min().alias("_first_end"), end.max().alias("_last_end")]


def _gathered(rows: "nw.DataFrame[Any]", kinds: Kinds) -> "nw.DataFrame[Any]":
    by = [*_series(kinds), "_start"]
    rows = in_time_order(rows, _series(kinds), "open_time")
    sums = _sums(kinds)
    if "origin" in kinds:
        sums.append(nw.col("origin").last())
    prices = [nw.col("open").first(), nw.col("high").max(), nw.col("low").min(), nw.col("close").last()]
    if rows.select(nw.col("_traded").all()).item():
        return rows.group_by(by).agg(*sums, *prices)
    traded = rows.filter("_traded").group_by(by).agg(*prices)
    gathered = rows.group_by(by).agg(*sums, nw.col("close").last().alias("_quiet")).join(traded, on=by, how="left")
    return gathered.with_columns(nw.coalesce(column, "_quiet").alias(column) for column in _PRICES)


def _gathered_lazily(rows: "nw.LazyFrame[Any]", kinds: Kinds) -> Table:
    # First and last are no aggregations where rows have no order; what stands at the least and greatest time is.
    by = [*_series(kinds), "_start"]
    time = nw.col("open_time")
    traded = nw.when(nw.col("_traded"))
    bounded = rows.with_columns(
        _from=traded.then(time).min().over(*by), _to=traded.then(time).max().over(*by), _final=time.max().over(*by)
    )
    prices = {
        "open": nw.when(time == nw.col("_from")).then(nw.col("open")),
        "high": traded.then(nw.col("high")),
        "low": traded.then(nw.col("low")),
        "close": nw.when(time == nw.col("_to")).then(nw.col("close")),
    }
    ends = dict(prices, _quiet=nw.when(time == nw.col("_final")).then(nw.col("close")))
    if "origin" in kinds:
        ends["origin"] = nw.when(time == nw.col("_final")).then(nw.col("origin"))
    picked = bounded.with_columns(**{f"_pick_{name}": value for name, value in ends.items()})
    picks = [nw.col(f"_pick_{name}").min() if name == "low" else nw.col(f"_pick_{name}").max() for name in ends]
    named = [pick.alias(name) for pick, name in zip(picks, ends, strict=True)]
    gathered = picked.group_by(by).agg(*_sums(kinds), *named)
    return gathered.with_columns(nw.coalesce(column, "_quiet").alias(column) for column in _PRICES)


def _expect_filling(gathered: "nw.DataFrame[Any]", target: Interval) -> None:
    if "interval" in gathered.columns and len(found := gathered["interval"].unique().sort().to_list()) > 1:
        raise UsageError(f"resample takes bars of one interval; here are {', '.join(found)}.")
    for step in gathered.select(_step=_seconds("_first", "_first_end"))["_step"].unique():
        if not target.holds(timedelta(seconds=step)):
            raise UsageError(f"Bars of {timedelta(seconds=step)} do not fill bars of {target.text} without a rest.")


def _seconds(start: str, end: str) -> nw.Expr:
    return (nw.col(end) - nw.col(start)).dt.total_seconds() + 1


def _finished(gathered: Table, target: Interval, kinds: Kinds) -> Table:
    zone = getattr(kinds["open_time"], "time_zone", None)
    bounds = {"_start": nw.col("_start"), "_end": nw.col("_end")}
    if zone not in (None, "UTC"):
        bounds = {name: moment.dt.convert_time_zone(zone) for name, moment in bounds.items()}
    bounded = gathered.with_columns(_end=_end(nw.col("_start"), target)).with_columns(**bounds)
    whole = (nw.col("_first") == nw.col("_start")) & (nw.col("_last_end") == nw.col("_end"))
    filled = nw.col("_closed").cast(nw.Int64) * _seconds("_first", "_first_end") == _seconds("_start", "_end")
    changes = {
        "interval": nw.lit(target.text),
        "open_time": nw.col("_start").cast(kinds["open_time"]),
        "close_time": nw.col("_end").cast(kinds["close_time"]),
        "closed": whole & filled,
    }
    # Sums come back wider than what was summed on some engines.
    changes |= {column: nw.col(column).cast(kinds[column]) for column in _SUMS if column in kinds}
    if "origin" in kinds:
        simulated = nw.when(nw.col("_simulated") > 0).then(nw.lit("simulated"))
        changes["origin"] = simulated.otherwise(nw.col("origin"))
    return bounded.with_columns(**changes)
