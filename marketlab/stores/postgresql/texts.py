"""Tables as the CSV that PostgreSQL's COPY takes and gives. Exact: a float64 comes back as the same, to the sign of zero."""

from collections.abc import Mapping

import polars as pl

from marketlab import tables
from marketlab.stores.postgresql.layout import columns

__all__ = ["from_csv", "to_csv"]

_TIMES_OUT = "%Y-%m-%d %H:%M:%S%.6f+00"
_TIMES_IN = "%Y-%m-%d %H:%M:%S%.f+00"


def to_csv(table: tables.TableSpec, rows: pl.DataFrame) -> bytes:
    """Rows with a market_id in place of exchange and symbol; nothing between two commas is null, "" is empty text."""
    wanted = [_levels_out(name) if table.schema.get(name) == tables.LEVELS else pl.col(name) for name in columns(table)]
    return rows.select(wanted).write_csv(None, include_header=False, datetime_format=_TIMES_OUT).encode()


def _levels_out(name: str) -> pl.Expr:
    price, size = pl.element().struct.field("price"), pl.element().struct.field("size")
    levels = pl.col(name).list.eval(pl.format("{}{},{}{}", pl.lit("{"), price, size, pl.lit("}"))).list.join(",")
    return pl.format("{}{}{}", pl.lit("{"), levels, pl.lit("}")).alias(name)


def from_csv(names: list[str], schema: Mapping[str, pl.DataType], text: bytes) -> pl.DataFrame:
    """The columns of these names; those that the schema does not know are integers."""
    read: dict[str, pl.DataType] = {}
    exact: list[pl.Expr] = []
    for name in names:
        kind = schema.get(name, pl.Int64())
        read[name] = kind if kind in (pl.Int64(), pl.Float64(), pl.String()) else pl.String()
        if kind == tables.TIME:
            exact.append(pl.col(name).str.to_datetime(_TIMES_IN, time_unit="us").dt.replace_time_zone("UTC"))
        elif kind == pl.Boolean():
            exact.append(pl.col(name) == "t")
        elif kind == tables.LEVELS:
            exact.append(_levels_in(name))
    if not text:
        return pl.DataFrame(schema={name: schema.get(name, pl.Int64()) for name in names})
    return pl.read_csv(text, has_header=False, schema=read).with_columns(exact)


def _levels_in(name: str) -> pl.Expr:
    # {{1.5,2},{1.4,3}}: the numbers in a row, then by twos.
    numbers = pl.col(name).str.strip_chars("{}").str.replace_all("},{", ",", literal=True)
    flat = pl.when(numbers == "").then(pl.lit([], pl.List(pl.String()))).otherwise(numbers.str.split(","))
    pair = pl.struct(price=pl.element().gather_every(2), size=pl.element().gather_every(2, 1))
    return flat.cast(pl.List(pl.Float64())).list.eval(pair).alias(name)
