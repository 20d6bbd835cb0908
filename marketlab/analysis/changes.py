"""How far a price has moved over windows of time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import narwhals as nw
from narwhals.typing import IntoFrameT

from marketlab.analysis.engines import Table, enter, keys
from marketlab.analysis.intervals import window
from marketlab.errors import UsageError

__all__ = ["price_change"]

_TIMES = ("open_time", "time")
_PRICES = ("close", "price", "last")
_IDS = ("trade_id", "agg_id")
_MEASURES = ("percent", "absolute", "log")


def price_change(
    bars: IntoFrameT,
    windows: str | Sequence[str] = ("1h", "24h", "7d"),
    *,
    how: Literal["percent", "absolute", "log"] = "percent",
    price: str | None = None,
    time: str | None = None,
) -> IntoFrameT:
    """The same rows with a column `change_<window>` for each window, such as `change_24h`.

    A row's price is compared with the last known one at or before its time less the window, within its own
    exchange, symbol and interval. Where the history does not reach back that far the change is null; where bars are
    missing just there, the last one before them counts. Rows may come in any order; tables in memory keep theirs.

    Args:
        bars: klines, trades or tickers of any number of symbols: a table of polars (eager or lazy), pandas or DuckDB.
        windows: lengths such as `30s`, `15m`, `1h`, `24h`, `7d`, `4w`; not shorter than the bars.
        how: `percent` (5.0 is five percent), `absolute` (in the price's unit) or `log` (natural logarithm of the ratio).
        price: the price column; without it `close`, `price` or `last`, whichever is there.
        time: the time column; without it `open_time` or `time`.

    Raises:
        UsageError: no such window or measure, or a column is missing.
        Unsupported: the table's engine is not one of those above.
    """
    spans = {text: window(text) for text in ([windows] if isinstance(windows, str) else windows)}
    if how not in _MEASURES:
        raise UsageError(f"{how!r} is not a way to measure change; choose {', '.join(_MEASURES)}.")
    table = enter(bars, "price_change", ("symbol",), ())
    time = _column(table, "time", time, _TIMES)
    price = _column(table, "price", price, _PRICES)
    table = enter(table, "price_change", ("symbol", time, price), (time,))
    earlier = _back_in_memory(table, spans, time, price) if isinstance(table, nw.DataFrame) else None
    if earlier is None:
        earlier = _beside(table, _as_of(table, table, spans, time, price), [*keys(table), time])
    changed = earlier.with_columns(
        **{f"change_{text}": _measure(nw.col(price), nw.col(_before(text)), how) for text in spans}
    )
    result: IntoFrameT = nw.to_native(changed.drop([_before(text) for text in spans]))
    return result


def _column(table: Table, what: str, named: str | None, usual: tuple[str, ...]) -> str:
    if named is not None:
        return named
    schema = table.collect_schema()
    for column in usual:
        if column in schema:
            return column
    raise UsageError(f"price_change finds no {what}: the table has none of {', '.join(usual)}; name one with {what}=.")


def _before(text: str) -> str:
    return f"_before_{text}"


def _measure(now: nw.Expr, before: nw.Expr, how: str) -> nw.Expr:
    if how == "absolute":
        return now - before
    return (now / before).log() if how == "log" else (now / before - 1) * 100


def _back_in_memory(table: Any, spans: dict[str, timedelta], time: str, price: str) -> Table | None:
    # Where no bar is missing, looking back is counting rows: ten times quicker than searching, which is left for the
    # few rows that have a hole behind them.
    since = nw.col(time) - nw.col(time).shift(1).over(*keys(table), order_by=time)
    steps = table.select(_step=since).drop_nulls()["_step"]
    if steps.is_empty():
        return None
    step = timedelta(microseconds=steps.min() // timedelta(microseconds=1))
    if not step:
        return None
    if any(span < step for span in spans.values()):
        raise UsageError(f"A window is shorter than the time from one bar to the next, which is {step}.")
    if any(span % step for span in spans.values()):
        return None
    counted = _by_rows(table, {text: span // step for text, span in spans.items()}, time, price)
    return counted if steps.max() == steps.min() else _searched(counted, spans, step, time, price)


def _searched(counted: Any, spans: dict[str, timedelta], step: timedelta, time: str, price: str) -> Table:
    by = keys(counted)
    exact = [
        nw.col(time).shift(span // step).over(*by, order_by=time) == (nw.col(time) - nw.lit(span))
        for span in spans.values()
    ]
    found_there = [check.fill_null(value=False) for check in exact]
    marked = counted.with_columns(_exact=nw.all_horizontal(*found_there, ignore_nulls=True))
    names = {_before(text): f"_searched{_before(text)}" for text in spans}
    found: Any = _as_of(marked, marked.filter(~nw.col("_exact")), spans, time, price)
    both = _beside(marked, found.rename(names), [*by, time])
    chosen = {
        name: nw.when(nw.col("_exact")).then(nw.col(name)).otherwise(nw.col(searched))
        for name, searched in names.items()
    }
    return both.with_columns(**chosen).drop("_exact", *names.values())


def _by_rows(table: Table, rows: dict[str, int], time: str, price: str) -> Table:
    by = keys(table)
    return table.with_columns(
        **{_before(text): nw.col(price).shift(count).over(*by, order_by=time) for text, count in rows.items()}
    )


def _as_of(table: Table, asked: Table, spans: dict[str, timedelta], time: str, price: str) -> Table:
    # Prices and the moments to look at in one column of times: filling forward carries the last price to each moment.
    # join_asof would be shorter, but not every engine has one that can be grouped.
    by = keys(table)
    kinds = table.collect_schema()
    ids = [column for column in _IDS if column in kinds]
    order = ["_at", "_kind", *(f"_digits_{column}" for column in ids), *ids]
    # Ids in text sort as numbers do by their length first.
    digits = [nw.col(column).str.len_chars().alias(f"_digits_{column}") for column in ids]
    none = [nw.lit(None, kinds[column]).alias(column) for column in ids]
    columns = [*by, time, "_at", "_kind", "_price", *ids]

    known = table.with_columns(_at=nw.col(time), _kind=nw.lit(0), _price=nw.col(price))
    moments = [
        asked.with_columns(
            *none,
            _at=(nw.col(time) - nw.lit(span)).cast(kinds[time]),
            _kind=nw.lit(number),
            _price=nw.lit(None, kinds[price]),
        )
        for number, span in enumerate(spans.values(), start=1)
    ]
    parts: list[Any] = [part.select(columns) for part in (known, *moments)]
    joined: Table = nw.concat(parts).with_columns(nw.col("_kind"), *digits)
    filled = joined.with_columns(nw.col("_price").fill_null(strategy="forward").over(*by, order_by=order))
    wide = filled.with_columns(
        **{
            _before(text): nw.when(nw.col("_kind") == number).then(nw.col("_price"))
            for number, text in enumerate(spans, start=1)
        }
    )
    return wide.filter(nw.col("_kind") > 0).group_by(*by, time).agg(*(nw.col(_before(text)).max() for text in spans))


def _beside(table: Table, found: Any, on: list[str]) -> Table:
    if not isinstance(table, nw.DataFrame):
        return table.join(found, on=on, how="left")
    placed = table.select(on).with_row_index("_place").join(found, on=on, how="left").sort("_place").drop("_place", *on)
    return table.with_columns(*(placed[column] for column in placed.columns))
