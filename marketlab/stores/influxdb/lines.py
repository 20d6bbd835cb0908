"""Points as lines of line protocol: escaped, typed, and made by column and never by row.

The text before a line's fields is the same for all points of a series, so it is made once for each combination of tags.
"""

from collections.abc import Sequence

import polars as pl

__all__ = ["lines", "unwritable"]

_TIME = "time"


def lines(measurement: str, tags: Sequence[str], points: pl.DataFrame) -> pl.Series:
    """One line for each point, in the points' order, with the time in nanoseconds.

    Args:
        measurement: its name.
        tags: the columns that are tags (text; null or empty: the point has no such tag).
        points: the tags, the fields (text, Int64, Float64, Boolean; null and NaN: the point has no such field) and
            `time` as Int64. Each point has one field at least; what is `unwritable` is not among them.
    """
    kinds = {name: kind for name, kind in points.schema.items() if name not in tags and name != _TIME}
    prefixes = points.lazy().select(*tags).unique()
    heads = prefixes.with_columns(_head(measurement, tags).alias("\0head")).collect()
    if heads.height == 1:
        placed = points.lazy().with_columns(pl.lit(heads.item(0, "\0head")).alias("\0head"))
    else:
        placed = points.lazy().join(heads.lazy(), on=list(tags), how="left", nulls_equal=True, maintain_order="left")
    holes = _with_holes(points, kinds)
    sparse, always = [name for name in kinds if name in holes], [name for name in kinds if name not in holes]
    if not always:
        fields = pl.concat_str([_sparse(name, kinds[name]) for name in sparse], separator=",", ignore_nulls=True)
        parts = [pl.col("\0head"), fields]
    else:
        parts = [pl.col("\0head")]
        for place, name in enumerate(always):
            parts += [pl.lit(f"{',' if place else ''}{_escaped_key(name)}="), *_value(name, kinds[name])]
        parts += [pl.concat_str([pl.lit(","), _sparse(name, kinds[name])]).fill_null("") for name in sparse]
    return placed.select(pl.concat_str([*parts, pl.lit(" "), pl.col(_TIME)])).collect().to_series()


def unwritable(tags: Sequence[str], points: pl.DataFrame) -> list[int]:
    """The points with a tag that line protocol has no words for: one that holds a line break or ends with a backslash."""
    wrong = [pl.col(tag).str.contains(r"[\r\n]|\\$") for tag in tags]
    return points.select(pl.any_horizontal(wrong).fill_null(False).arg_true()).to_series().to_list()


def _with_holes(points: pl.DataFrame, kinds: dict[str, pl.DataType]) -> set[str]:
    empty = [name for name in kinds if points.get_column(name).null_count()]
    floats = [name for name, kind in kinds.items() if kind == pl.Float64()]
    wild = points.select(~pl.col(floats).is_finite().all()).row(0) if floats else ()
    return {*empty, *(name for name, found in zip(floats, wild, strict=True) if found)}


def _head(measurement: str, tags: Sequence[str]) -> pl.Expr:
    parts = [
        pl.when(pl.col(tag) != "").then(pl.concat_str(pl.lit(f",{_escaped_key(tag)}="), _escaped(pl.col(tag))))
        for tag in sorted(tags)
    ]
    name = measurement.replace(",", r"\,").replace(" ", r"\ ")
    return pl.concat_str([pl.lit(name), *parts, pl.lit(" ")], ignore_nulls=True)


def _escaped(tag: pl.Expr) -> pl.Expr:
    return tag.str.replace_all(r"([,= ])", r"\$1")


def _escaped_key(name: str) -> str:
    return name.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")


def _sparse(name: str, kind: pl.DataType) -> pl.Expr:
    there = pl.col(name).is_finite() if kind == pl.Float64() else pl.col(name).is_not_null()
    return pl.when(there).then(pl.concat_str([pl.lit(f"{_escaped_key(name)}="), *_value(name, kind)]))


def _value(name: str, kind: pl.DataType) -> list[pl.Expr]:
    column = pl.col(name)
    if kind == pl.String():
        escaped = column.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
        return [pl.lit('"'), escaped, pl.lit('"')]
    if kind == pl.Boolean():
        return [pl.when(column).then(pl.lit("true")).otherwise(pl.lit("false"))]
    return [column, pl.lit("i")] if kind == pl.Int64() else [column]
