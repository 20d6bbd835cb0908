"""Flux's answers: annotated CSV as one table, with the types that the annotations name.

A server that fails in the middle of an answer says so in a last block of the columns `error` and `reference`, after status
200, and the table before it may be missing; so that block is looked for.
"""

import csv
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import msgspec
import polars as pl

__all__ = ["DIALECT", "BrokenOffError", "table_of"]

DIALECT: dict[str, Any] = {
    "header": True,
    "delimiter": ",",
    "annotations": ["datatype", "group", "default"],
    "commentPrefix": "#",
    "dateTimeFormat": "RFC3339",
}
"""How to ask for what is read here."""

_TYPES: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "double": pl.Float64(),
    "long": pl.Int64(),
    "unsignedLong": pl.UInt64(),
    "string": pl.String(),
}
"""Of what is not here the text is kept, but for times."""

_EDGE = re.compile(rb"\n(?=\r?\n|#datatype,)")


class BrokenOffError(Exception):
    """The server's words for why it did not answer to the end."""


class _Block(msgspec.Struct):
    """Rows that share a header."""

    names: list[str]
    types: list[str]
    defaults: list[str]
    rows: bytes


def table_of(body: bytes, content_type: str = "text/csv") -> pl.DataFrame:
    """All rows of all results, in the order of the answer; columns that a row's block lacks are null.

    Times are of nanoseconds in UTC. A column that has different types in different blocks becomes one column for each, named
    like `_value:double`.

    Raises:
        BrokenOffError: the answer ends with an error.
        ValueError, polars.exceptions.PolarsError: it is no such CSV.
    """
    if not content_type.startswith("text/csv"):
        raise ValueError(f"{content_type or 'nothing'} where there should be CSV")
    blocks = list(_blocks(body))
    for block in blocks:
        if "error" in block.names and set(block.names) <= {"error", "reference", ""}:
            raise BrokenOffError(_first(block, "error"))
    kinds: dict[str, set[str]] = {}
    for block in blocks:
        for name, kind in zip(block.names, block.types, strict=True):
            kinds.setdefault(name, set()).add(kind)
    parts = [_parsed(block, {name for name, found in kinds.items() if len(found) > 1}) for block in blocks]
    return pl.concat(parts, how="diagonal") if parts else pl.DataFrame()


def _blocks(body: bytes) -> Iterator[_Block]:
    for start, end in _sections(body):
        annotations: dict[str, list[str]] = {}
        line, at = _line(body, start, end)
        while line.startswith(b"#"):
            mark, *values = _cells(line)
            annotations[mark] = values
            line, at = _line(body, at, end)
        if line:
            _, *names = _cells(line)
            types = annotations.get("#datatype", ["string"] * len(names))
            yield _Block(names, types, annotations.get("#default", [""] * len(names)), body[at:end])


def _sections(body: bytes) -> Iterator[tuple[int, int]]:
    """Where an answer is cut: at blank lines, and where a header begins."""
    start = 0
    for edge in _EDGE.finditer(body):
        if body.count(b'"', start, edge.end()) % 2 == 0:
            yield start, edge.end()
            start = edge.end()
    yield start, len(body)


def _line(body: bytes, start: int, limit: int) -> tuple[bytes, int]:
    """The first line that is not blank, and where the next one begins; a line break within quotes ends none."""
    while body.startswith((b"\r", b"\n"), start, limit):
        start += 1
    end = body.find(b"\n", start, limit)
    while end >= 0 and body.count(b'"', start, end) % 2:
        end = body.find(b"\n", end + 1, limit)
    end = limit if end < 0 else end
    return body[start:end].rstrip(b"\r"), min(end + 1, limit)


def _cells(line: bytes) -> list[str]:
    return next(csv.reader(StringIO(line.decode(errors="replace"), newline="")))


def _parsed(block: _Block, ambiguous: set[str]) -> pl.DataFrame:
    # The first cell of a line belongs to the annotations.
    schema: dict[str, Any] = {"\0mark": pl.String()}
    schema |= {name: _TYPES.get(kind, pl.String()) for name, kind in zip(block.names, block.types, strict=True)}
    found = pl.DataFrame(schema=schema).drop("\0mark")
    if block.rows:
        # A server keeps, and gives back, bytes that are no text.
        found = pl.read_csv(
            block.rows, has_header=False, schema=schema, columns=list(range(1, len(schema))), encoding="utf8-lossy"
        )
    columns = []
    for name, kind, default in zip(block.names, block.types, block.defaults, strict=True):
        column = pl.col(name)
        if default:
            # Nearly always of a whole column.
            whole = found.get_column(name).null_count() == found.height
            value = pl.lit(default).cast(schema[name])
            column = value if whole else column.fill_null(value)
        if kind.startswith("dateTime"):
            # Looking for fractions costs a tenth of what reading them does.
            fraction = "%.f" if found.get_column(name).str.contains(".", literal=True).any() else ""
            column = column.str.to_datetime(f"%Y-%m-%dT%H:%M:%S{fraction}Z", time_unit="ns", time_zone="UTC")
        columns.append(column.alias(f"{name}:{kind}" if name in ambiguous else name))
    return found.select(columns)


def _first(block: _Block, name: str) -> str:
    words = _parsed(block, set()).get_column(name)
    return str(words[0]) if words.len() else "no reason is given"
