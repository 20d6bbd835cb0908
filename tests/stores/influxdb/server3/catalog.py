"""Databases, tables and rows of an InfluxDB 3 Core: what a write changes and what it refuses.

Rows with the same tags and time are one, merged field by field. Columns stand in the order of the alphabet.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from threading import RLock
from time import time_ns
from typing import Any

import pyarrow as pa

from .points import Fault, Point

__all__ = ["PRECISIONS", "Catalog", "Database", "Exists", "Missing", "Table", "TooMany", "WrongName"]

PRECISIONS = {
    "auto": 0,
    **dict.fromkeys(("s", "second"), 1_000_000_000),
    **dict.fromkeys(("millisecond", "ms"), 1_000_000),
    **dict.fromkeys(("microsecond", "u", "us"), 1_000),
    **dict.fromkeys(("n", "nanosecond", "ns"), 1),
}
_UNITS = {1_000_000_000: "Second", 1_000_000: "Millisecond", 1_000: "Microsecond", 1: "Nanosecond"}
_KINDS = {
    "tag": ("tag", pa.dictionary(pa.int32(), pa.string())),
    "timestamp": ("timestamp", pa.timestamp("ns")),
    "float": ("field::float", pa.float64()),
    "integer": ("field::integer", pa.int64()),
    "uinteger": ("field::uinteger", pa.uint64()),
    "boolean": ("field::boolean", pa.bool_()),
    "string": ("field::string", pa.string()),
}
_DATABASES, _COLUMNS = 5, 500
_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)?")


class Exists(Exception):
    """There is one of this name."""


class Missing(Exception):
    """There is none of this name."""


class TooMany(Exception):
    """A limit of the server: of databases, of columns."""


class WrongName(Exception):
    """A name that no database may have."""


class Table:
    """The rows of one measurement. A file holds `block` nanoseconds of it."""

    def __init__(self, block: int) -> None:
        self.columns = {"time": "timestamp"}
        self._block = block
        self._rows: dict[tuple[frozenset[tuple[str, str]], int], dict[str, Any]] = {}
        self._arrow: pa.Table | None = None
        self._blocks: list[int] = []

    def add(self, point: Point, unit: int, now: int) -> None:
        """Store a point; a column that is new appears.

        Raises:
            Fault: it does not fit.
            TooMany: the table would have too many columns.
        """
        values = {name: value for name, _, value in point.fields}
        kinds = dict.fromkeys(point.tags, "tag") | {name: kind for name, kind, _ in point.fields}
        if "time" in kinds:
            raise Fault("'time' is a reserved column")
        if len(values) < len(point.fields):
            names = [name for name, _, _ in point.fields]
            twice = next(name for name in names if names.count(name) > 1)
            raise Fault(f"invalid line protocol - multiple instances of '{twice}' field found")
        at = _nanoseconds(point.time, unit, now)
        if not kinds.items() <= self.columns.items():
            self._widen(kinds)
        row = self._rows.setdefault((frozenset(point.tags.items()), at), {"time": at, **point.tags})
        row.update(values)
        self._arrow = None

    def _widen(self, kinds: dict[str, str]) -> None:
        for name, kind in kinds.items():
            held = self.columns.get(name, kind)
            if held != kind:
                expected, got = (f"iox::column_type::{_KINDS[which][0]}" for which in (held, kind))
                raise Fault(f"invalid column type for column '{name}', expected {expected}, got {got}")
        if len({*self.columns, *kinds}) > _COLUMNS:
            raise TooMany(f"Update to schema would exceed number of columns per table limit of {_COLUMNS} columns")
        self.columns |= kinds

    @property
    def schema(self) -> pa.Schema:
        """The columns by name, tags as dictionaries, each with its kind."""
        return pa.schema(
            pa.field(
                name,
                _KINDS[kind][1],
                nullable=name != "time",
                metadata={"iox::column::type": f"iox::column_type::{_KINDS[kind][0]}"},
            )
            for name, kind in sorted(self.columns.items())
        )

    def arrow(self) -> pa.Table:
        """All rows."""
        if self._arrow is None:
            rows = list(self._rows.values())
            self._blocks = sorted({row["time"] // self._block for row in rows})
            columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in self.schema]
            self._arrow = pa.table(columns, schema=self.schema)
        return self._arrow

    def files(self, first: int, last: int) -> int:
        """How many files hold rows from `first` to `last` (nanoseconds, both inclusive)."""
        self.arrow()
        return bisect_right(self._blocks, last // self._block) - bisect_left(self._blocks, first // self._block)


class Database:
    """Tables by name."""

    def __init__(self, block: int) -> None:
        self.tables: dict[str, Table] = {}
        self._block = block

    def create(self, name: str, tags: Iterable[str], fields: Iterable[tuple[str, str]]) -> None:
        """An empty table."""
        if name in self.tables:
            raise Exists
        names = {"float64": "float", "int64": "integer", "uint64": "uinteger", "utf8": "string", "bool": "boolean"}
        self.tables[name] = table = Table(self._block)
        table.columns |= dict.fromkeys(tags, "tag") | {field: names[kind] for field, kind in fields}

    def check(self, found: Iterable[Point | Fault], unit: int) -> tuple[int, str] | None:
        """The first point that does not fit (its number from 1, and why), with nothing stored."""
        trial = Database(self._block)
        for name, table in self.tables.items():
            trial.tables[name] = copy = Table(self._block)
            copy.columns = dict(table.columns)
        faults = trial.write(found, unit)
        return faults[0] if faults else None

    def write(self, found: Iterable[Point | Fault], unit: int) -> list[tuple[int, str]]:
        """Store what fits; returns what does not: the number of the point, from 1, and why."""
        faults = []
        now = time_ns()
        for number, point in enumerate(found, start=1):
            if isinstance(point, Fault):
                faults.append((number, str(point)))
                continue
            # The table is there from then on, even where its first point is refused.
            table = self.tables.setdefault(point.table, Table(self._block))
            try:
                table.add(point, unit, now)
            except (Fault, TooMany) as fault:
                faults.append((number, str(fault)))
        return faults


class Catalog:
    """All databases. `lock` is held by whoever reads or writes."""

    def __init__(self, block: int) -> None:
        self.lock = RLock()
        self.databases: dict[str, Database] = {}
        self._block = block

    def create(self, name: str) -> Database:
        """An empty database."""
        if not _NAME.fullmatch(name):
            raise WrongName(
                "invalid character in database or rp name: must be ASCII, containing only letters, numbers, "
                "underscores, or hyphens"
            )
        if name in self.databases:
            raise Exists
        if len(self.databases) >= _DATABASES:
            raise TooMany(f"Adding a new database would exceed limit of {_DATABASES} databases")
        self.databases[name] = Database(self._block)
        return self.databases[name]

    def to_write(self, name: str) -> Database:
        """The database, made where there is none."""
        return self.databases.get(name) or self.create(name)


def _nanoseconds(stamp: int | None, unit: int, now: int) -> int:
    if stamp is None:
        return now
    unit = unit or next((10**9 // 1_000**step for step in range(3) if abs(stamp) < 5 * 10**9 * 1_000**step), 1)
    if not -(2**63) <= stamp * unit < 2**63:
        raise Fault(f"timestamp, {stamp}, out of range for precision: {_UNITS[unit]}")
    return stamp * unit
