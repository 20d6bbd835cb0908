"""Hands one segment to a store, table by table, as often as it takes.

1. Every table of a segment carries the same `Commit`, so a store that has it already says so and nothing is doubled.
2. Rows that the store refuses go to the dead letters; the rest of their table is stored.
3. What is done is not done again when a later table has to wait.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from marketlab import tables
from marketlab.errors import WriteRejected
from marketlab.records import Record
from marketlab.stores import crashpoints
from marketlab.stores.contract import Commit, Store
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.spool import Contents

__all__ = ["Delivery"]

# What a column of the wrong kind raises, by the kind.
_UNFIT = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)

_KINDS = frozenset(table.record for table in tables.TABLES.values())


class Delivery:
    """One segment on its way. `rows` and `changed` count by table what the store has acknowledged."""

    def __init__(self, store: Store, contents: Contents, commit: Commit, dead_letters: DeadLetters) -> None:
        self.rows: dict[str, int] = {}
        self.changed: dict[str, int] = {}
        self._store = store
        self._commit = commit
        self._dead_letters = dead_letters
        groups = _grouped(contents.records)
        self._groups = {tables.table_of(kind): groups.pop(kind) for kind in list(groups) if kind in _KINDS}
        # What is left was never a record.
        self._unreadable = [*contents.unreadable, *(one for group in groups.values() for one in group)]
        self._tables: dict[str, pl.DataFrame] = {}

    def run(self) -> None:
        """Hand over what is left; may be called again after a failure.

        Raises:
            StoreUnavailable: the store, or the disk of the dead letters, does not answer.
        """
        self._dead_letters.keep(None, "This is not a record.", self._unreadable)
        self._unreadable = []
        while self._groups:
            name = next(iter(self._groups))
            self._hand_over(name)
            del self._groups[name]
            self._tables.pop(name, None)
            if self._groups:
                crashpoints.reach("between-tables")

    def _hand_over(self, name: str) -> None:
        while True:
            table = self._table(name)
            if table.is_empty():
                return
            try:
                crashpoints.reach("before-commit")
                changed = self._store.write(name, table, self._commit)
            except WriteRejected as error:
                self._set_aside(name, error)
                continue
            crashpoints.reach("after-commit")
            self.rows[name] = table.height
            self.changed[name] = changed
            return

    def _table(self, name: str) -> pl.DataFrame:
        if name not in self._tables:
            try:
                self._tables[name] = tables.to_table(name, self._groups[name])
            except _UNFIT:
                self._groups[name] = list(self._fitting(name, self._groups[name]))
                self._tables[name] = tables.to_table(name, self._groups[name])
        return self._tables[name]

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

    def _set_aside(self, name: str, error: WriteRejected) -> None:
        records = self._groups[name]
        refused = set(error.rows) or set(range(len(records)))
        self._dead_letters.keep(name, str(error), (records[row] for row in sorted(refused)))
        self._groups[name] = [record for row, record in enumerate(records) if row not in refused]
        self._tables[name] = tables.to_table(name, self._groups[name])


def _grouped(records: list[Record]) -> dict[type[Any], list[Any]]:
    groups: dict[type[Any], list[Any]] = {}
    for record in records:
        group = groups.get(type(record))
        if group is None:
            groups[type(record)] = group = []
        group.append(record)
    return groups
