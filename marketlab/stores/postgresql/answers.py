"""The answer to somebody's own SQL as a table."""

from typing import Any

import polars as pl
import psycopg
from psycopg.types.numeric import FloatLoader

from marketlab import tables
from marketlab.errors import UsageError

__all__ = ["answer"]

_INTEGER, _NUMBER, _TEXT = pl.Int64(), pl.Float64(), pl.String()
# By the number that PostgreSQL has for a type; what is not here is seen from its values.
_TYPES: dict[int, pl.DataType] = {
    16: pl.Boolean(),
    20: _INTEGER,
    21: _INTEGER,
    23: _INTEGER,
    25: _TEXT,
    700: _NUMBER,
    701: _NUMBER,
    1043: _TEXT,
    1082: pl.Date(),
    1114: pl.Datetime("us"),
    1184: tables.TIME,
    1700: _NUMBER,
}


def answer(connection: psycopg.Connection, text: str, url: str) -> pl.DataFrame:
    """What one statement that changes nothing gives; `numeric` comes as float64.

    Raises:
        UsageError: it gives no table, or one that polars cannot hold.
    """
    if text.split(None, 1)[:1] in (["copy"], ["COPY"]):
        raise UsageError(f"{url} does not understand this: COPY gives no table; ask with select.")
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("set transaction read only")
        cursor.adapters.register_loader("numeric", FloatLoader)
        # In a pipeline a statement is one statement: none can end the transaction and let another one write.
        with connection.pipeline():
            cursor.execute(text.encode())
        if cursor.description is None:
            raise UsageError(f"{url} has no table to give for this; ask with select.")
        schema: list[tuple[str, Any]] = [(column.name, _TYPES.get(column.type_code)) for column in cursor.description]
        rows = cursor.fetchall()
    try:
        return pl.DataFrame(rows, schema, orient="row", infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise UsageError(
            f"The answer of {url} does not fit into a table: {error}; name columns apart with `as`, and turn what is "
            "unusual into text with ::text."
        ) from None
