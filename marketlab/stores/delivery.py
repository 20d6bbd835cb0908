"""Hands a load of segments to a store, table by table, as often as it takes.

1. Every table of a load carries the same `Commit`, so a store that has it already says so and nothing is doubled.
2. Rows that the store refuses by their position go to the dead letters; the rest of their table is stored.
3. Where it does not say which, the table is cut into halves, and each that is refused again, until the bad rows stand
   alone. Parts carry no commit, which would speak for the whole; what makes them safe to write again is their keys.
   The work is bounded: after `_PARTS` parts, or after `_FEW` where the store took nothing of that table the last time
   (its type there is another one, say), what is refused then goes to the dead letters as it is.
4. Parts are written in their order, and what is done is not done again when a later one has to wait.
"""

import logging
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Self

import msgspec
import polars as pl

from marketlab import tables
from marketlab.errors import WriteRejected
from marketlab.records import Record
from marketlab.stores import crashpoints
from marketlab.stores.contract import Commit, Sink
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.spool import Contents

__all__ = ["Delivery"]

# What a column of the wrong kind raises, by the kind.
_UNFIT = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)

_KINDS = frozenset(table.record for table in tables.TABLES.values())
_PARTS = 4_096
_FEW = 64

_ENCODER = msgspec.msgpack.Encoder()

_log = logging.getLogger(__name__)


class _Part(msgspec.Struct):
    """Records of one table that are written at once; a whole table still has its commit.

    One that came as a table has its records only when some of them are refused.
    """

    name: str
    records: list[Any]
    commit: Commit | None
    table: pl.DataFrame | None = None


class Delivery:
    """One load on its way. `rows` and `changed` count by table what the store has acknowledged.

    `hopeless` names the tables of which the store took nothing the last time; whoever makes deliveries keeps it.
    `set_aside` are the records that are dead letters already, packed: a delivery of a part of the same gets it.
    """

    def __init__(
        self, store: Sink, contents: Contents, commit: Commit | None, dead_letters: DeadLetters, hopeless: set[str]
    ) -> None:
        self.set_aside: set[bytes] = set()
        self.rows: dict[str, int] = {}
        self.changed: dict[str, int] = {}
        self._store = store
        self._dead_letters = dead_letters
        self._hopeless = hopeless
        groups = _grouped(contents.records)
        names = {tables.table_of(kind): groups.pop(kind) for kind in list(groups) if kind in _KINDS}
        self._parts = deque(_Part(name, records, commit) for name, records in names.items())
        self._refused: dict[str, int] = {}
        self._cuts = {name: _FEW if name in hopeless else _PARTS for name in names}
        # What is left was never a record.
        self._unreadable = [*contents.unreadable, *(one for group in groups.values() for one in group)]

    @classmethod
    def of_tables(
        cls, store: Sink, whole: Mapping[str, pl.DataFrame], dead_letters: DeadLetters, hopeless: set[str]
    ) -> Self:
        """A load that is tables of the promised schema already, and comes from no single writer: without a commit."""
        delivery = cls(store, Contents([], []), None, dead_letters, hopeless)
        delivery._parts += [_Part(name, [], None, table) for name, table in whole.items()]
        delivery._cuts = {name: _FEW if name in hopeless else _PARTS for name in whole}
        return delivery

    def run(self) -> None:
        """Hand over what is left; may be called again after a failure.

        Raises:
            StoreUnavailable: the store, or the disk of the dead letters, does not answer.
        """
        self._dead_letters.keep(None, "This is not a record.", self._unreadable)
        self._unreadable = []
        while self._parts:
            part = self._parts[0]
            rest = self._hand_over(part)
            self._parts.popleft()
            self._parts.extendleft(reversed(rest))
            if not self._parts or self._parts[0].name != part.name:
                self._finish(part.name)

    def _hand_over(self, part: _Part) -> list[_Part]:
        """Write a part; returns what is still to be written instead of it."""
        table = self._table(part)
        if table.is_empty():
            return []
        try:
            crashpoints.reach("before-commit")
            changed = self._store.write(part.name, table, part.commit)
        except WriteRejected as error:
            return self._sorted_out(part, error)
        crashpoints.reach("after-commit")
        self.rows[part.name] = self.rows.get(part.name, 0) + table.height
        self.changed[part.name] = self.changed.get(part.name, 0) + changed
        return []

    def _finish(self, name: str) -> None:
        if self._refused.get(name):
            words = "%s refused %d rows of %s, which are in %s now with its words."
            _log.warning(words, self._store.url, self._refused[name], name, self._dead_letters.path)
        if self.rows.get(name):
            self._hopeless.discard(name)
        elif self._refused.get(name):
            self._hopeless.add(name)
        if self._parts:
            crashpoints.reach("between-tables")

    def _table(self, part: _Part) -> pl.DataFrame:
        if part.table is None:
            try:
                part.table = tables.to_table(part.name, part.records)
            except _UNFIT:
                part.records = list(self._fitting(part.name, part.records))
                part.table = tables.to_table(part.name, part.records)
        return part.table

    def _fitting(self, name: str, records: list[Any]) -> Iterator[Any]:
        try:
            tables.to_table(name, records)
        except _UNFIT as error:
            if len(records) == 1:
                self._dead_letters.keep(name, f"This does not fit {name}: {error}", records)
                return
            # By halves, since nearly all fit.
            half = len(records) // 2
            yield from self._fitting(name, records[:half])
            yield from self._fitting(name, records[half:])
        else:
            yield from records

    def _sorted_out(self, part: _Part, error: WriteRejected) -> list[_Part]:
        records = part.records
        if part.table is not None and not records:
            records = tables.to_records(part.name, part.table)
        if error.rows:
            refused = set(error.rows)
            self._set_aside(part.name, error, [records[row] for row in sorted(refused)])
            rest = [record for row, record in enumerate(records) if row not in refused]
            return [_Part(part.name, rest, part.commit)]
        if len(records) == 1 or self._cuts[part.name] <= 0:
            self._set_aside(part.name, error, records)
            return []
        self._cuts[part.name] -= 2
        half = len(records) // 2
        return [_Part(part.name, records[:half], None), _Part(part.name, records[half:], None)]

    def _set_aside(self, name: str, error: WriteRejected, refused: list[Any]) -> None:
        packed = [_ENCODER.encode(record) for record in refused]
        fresh = [record for record, one in zip(refused, packed, strict=True) if one not in self.set_aside]
        self._dead_letters.keep(name, str(error), fresh)
        self.set_aside.update(packed)
        self._refused[name] = self._refused.get(name, 0) + len(refused)


def _grouped(records: list[Record]) -> dict[type[Any], list[Any]]:
    groups: dict[type[Any], list[Any]] = {}
    for record in records:
        group = groups.get(type(record))
        if group is None:
            groups[type(record)] = group = []
        group.append(record)
    return groups
