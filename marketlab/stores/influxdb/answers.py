"""InfluxQL's answers: long ones as CSV, cut into tables while they come; short ones whole, with their exact types.

CSV hides errors: a statement that fails, even in the middle of its rows, just ends, and one without rows looks like one
that failed. So what is asked for as CSV is asked together with a second statement, `SENTINEL`. A server carries out no
statement after one that failed, so where the sentinel's answer is there, the answer before it is whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import polars as pl

from marketlab.errors import UsageError

__all__ = [
    "SENTINEL",
    "TIME_NS",
    "Answer",
    "Result",
    "Series",
    "UnfinishedError",
    "decoded",
    "table_of",
    "tables_of_csv",
]

SENTINEL = "SHOW DATABASES"
"""A statement that always has something to say and needs no right beyond being let in."""

TIME_NS = pl.Datetime("ns", "UTC")

_SENTINEL_NAMES = b"name,tags,name"
_SENTINEL_HEADER = _SENTINEL_NAMES + b"\ndatabases,"
_BLOCK = 4_000_000


class UnfinishedError(Exception):
    """A CSV answer after which the sentinel's is missing: its statement failed, before its first row or in the middle."""


def tables_of_csv(pieces: Iterable[bytes], kinds: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """The rows of one SELECT's CSV, followed by the sentinel's, in tables of some megabytes.

    Args:
        pieces: the body while it comes, cut anywhere.
        kinds: the types of the columns; one that is not named is text. Missing values are null, and so is empty text,
            which looks the same.

    Raises:
        UnfinishedError: the sentinel is missing, or this is something else altogether.
        polars.exceptions.PolarsError: a value is not of its column's type.
    """
    names: list[str] = []
    after, is_over = b"", False
    for block in _blocks(pieces):
        if not is_over and not names:
            line, _, rows = block.partition(b"\n")
            # A statement without rows has no header.
            is_over = line == _SENTINEL_NAMES
            names = line.decode(errors="replace").replace('"', "").split(",")
            if names[:2] != ["name", "tags"]:
                raise UnfinishedError
            block = block if is_over else rows
        if is_over:
            # The sentinel's beginning is all that counts.
            after = (after + block)[: len(_SENTINEL_HEADER)]
            continue
        cut = _blank_line(block)
        is_over = cut >= 0
        rows = block[:cut] if is_over else block
        after = block[cut + 1 :] if is_over else b""
        if rows:
            yield _parsed(rows, names, kinds)
    if not after.startswith(_SENTINEL_HEADER):
        raise UnfinishedError


def _parsed(rows: bytes, names: list[str], kinds: Mapping[str, pl.DataType]) -> pl.DataFrame:
    # The header is cut off by its bytes: with read_csv's own ways to skip lines, rows were seen to vanish.
    schema: dict[str, Any] = {"\0name": pl.String(), "\0tags": pl.String()}
    schema |= {name: kinds.get(name, pl.String()) for name in names[2:]}
    return pl.read_csv(rows, has_header=False, schema=schema, columns=list(range(2, len(schema))))


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, cut where a record ends."""
    kept = bytearray()
    for piece in pieces:
        kept += piece
        if len(kept) >= _BLOCK:
            end = kept.rfind(b"\n") + 1
            # A line break within quotes ends no record.
            while end and kept.count(b'"', 0, end) % 2:
                end = kept.rfind(b"\n", 0, end - 1) + 1
            if end:
                yield bytes(kept[:end])
                del kept[:end]
    if kept:
        yield bytes(kept)


def _blank_line(block: bytes) -> int:
    """Where the line between two statements is; -1: not here."""
    if block.startswith(b"\n"):
        return 0
    found = block.find(b"\n\n")
    while found >= 0 and block.count(b'"', 0, found) % 2:
        found = block.find(b"\n\n", found + 1)
    return found + 1 if found >= 0 else -1


class Series(msgspec.Struct):
    """Rows of one measurement, and of one combination of the tags that were grouped by."""

    columns: list[str]
    name: str = ""
    tags: dict[str, str] = {}
    values: list[list[Any]] = []
    partial: bool = False


class Result(msgspec.Struct):
    """What one statement answers."""

    error: str = ""
    series: list[Series] = []
    partial: bool = False


class Answer(msgspec.Struct):
    """What a request answers."""

    error: str = ""
    results: list[Result] = []

    @property
    def complaint(self) -> str:
        """What the server says went wrong; "" if nothing did."""
        cut = any(result.partial or any(series.partial for series in result.series) for result in self.results)
        words = [self.error, *(result.error for result in self.results)]
        return next((word for word in words if word), "the server cut its answer at its max-row-limit" if cut else "")


def decoded(body: bytes, content_type: str) -> Answer:
    """An answer in MessagePack, which keeps the types, or in JSON, from a server that knows nothing else.

    Raises:
        ValueError: it is neither.
        RecursionError: neither, and nested without end.
    """
    if content_type.startswith("application/x-msgpack"):
        return msgspec.msgpack.decode(body, type=Answer)
    return msgspec.json.decode(body, type=Answer)


def table_of(answer: Answer) -> pl.DataFrame:
    """All rows as one table: what was grouped by first, then the columns; `name` where there are several measurements.

    Times are of nanoseconds in UTC.

    Raises:
        UsageError: the rows of several statements, or of several measurements, do not fit one table.
    """
    found = [series for result in answer.results for series in result.series]
    several = len({series.name for series in found}) > 1
    parts = [_table_of(series, several=several) for series in found]
    try:
        return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"The answer does not fit one table ({error}); ask one statement at a time.") from None


def _table_of(series: Series, *, several: bool) -> pl.DataFrame:
    columns = list(zip(*series.values, strict=True)) or [()] * len(series.columns)
    data = [_column(name, values) for name, values in zip(series.columns, columns, strict=True)]
    heads = {"name": series.name} if several else {}
    heads |= series.tags
    table = pl.DataFrame(data)
    taken = [pl.lit(value).alias(name) for name, value in heads.items() if name not in table.columns]
    return table.select(*taken, pl.all()) if taken else table


def _column(name: str, values: tuple[Any, ...]) -> pl.Series:
    column = pl.Series(name, values, strict=False)
    return column.cast(TIME_NS) if name == "time" and column.dtype == pl.Int64() else column
