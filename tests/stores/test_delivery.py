"""A load on its way: what a store refuses stands alone in the end, and the work for that is bounded."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab.clock import ManualClock
from marketlab.errors import StoreUnavailable, WriteRejected
from marketlab.records import Record
from marketlab.stores.contract import Commit
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.delivery import Delivery
from marketlab.stores.memory import MemoryStore
from marketlab.stores.spool import Contents

COMMIT = Commit("writer", 7)


class PickyStore(MemoryStore):
    """Refuses tables with a price below zero and does not say which rows; may have stored the others of it then."""

    def __init__(self, *, partial: bool = False, away: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.partial = partial
        self.away = away
        self.writes = 0
        self.commits: list[tuple[str, int, Commit | None]] = []

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self.writes += 1
        if self.writes in self.away:
            raise StoreUnavailable("The store is away.")
        if "price" in table.columns:
            good = table.filter(pl.col("price") >= 0)
            if good.height < table.height:
                if self.partial:
                    super().write(name, good)
                raise WriteRejected(f"partial write: dropped={table.height - good.height}")
        self.commits.append((name, table.height, commit))
        return super().write(name, table, commit)


class Place:
    """A folder for dead letters, and deliveries of records to one store."""

    def __init__(self, folder: Path, store: PickyStore) -> None:
        self.store = store
        self.letters = DeadLetters(folder, ManualClock())
        self.hopeless: set[str] = set()

    def deliver(self, records: list[Record]) -> Delivery:
        delivery = Delivery(self.store, Contents(records, []), COMMIT, self.letters, self.hopeless)
        while True:
            try:
                delivery.run()
            except StoreUnavailable:
                continue
            return delivery

    @property
    def refused(self) -> list[str]:
        if not self.letters.path.exists():
            return []
        lines = [json.loads(line) for line in self.letters.path.read_text().splitlines()]
        assert all("partial write" in line["reason"] for line in lines)
        return [line["record"][3] for line in lines]

    @property
    def stored(self) -> list[str]:
        return self.store.read("trades").get_column("trade_id").to_list()


@settings(deadline=None)
@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=80),
    partial=st.booleans(),
    away=st.sets(st.integers(1, 60), max_size=8),
)
def test_the_bad_rows_stand_alone_and_the_good_ones_are_stored(
    rows: Any, bad: list[bool], partial: bool, away: set[int]
) -> None:
    trades = [rows.trade(number, price=-1.0 if is_bad else 1.0) for number, is_bad in enumerate(bad)]
    with TemporaryDirectory() as folder:
        place = Place(Path(folder), PickyStore(partial=partial, away=tuple(away)))
        delivery = place.deliver([*trades, rows.quote(1)])
        assert place.stored == [str(number) for number, is_bad in enumerate(bad) if not is_bad]
        assert place.refused == [str(number) for number, is_bad in enumerate(bad) if is_bad]
        assert sum(delivery.rows.values()) == bad.count(False) + 1
        # Each bad row costs a path through the halves, at most.
        depth = (len(bad) - 1).bit_length() + 1
        assert place.store.writes - len(away) <= 2 + 2 * depth * sum(bad)


def test_a_table_that_is_taken_whole_has_its_commit_and_parts_have_none(tmp_path: Path, rows: Any) -> None:
    place = Place(tmp_path, PickyStore())
    place.deliver([rows.trade(1), rows.quote(1)])
    assert place.store.commits == [("trades", 1, COMMIT), ("quotes", 1, COMMIT)]
    place.store.commits.clear()
    place.deliver([*rows.trades(range(4)), rows.trade(9, price=-1.0), rows.quote(2)])
    assert {commit for name, _, commit in place.store.commits if name == "trades"} == {None}
    assert ("quotes", 1, COMMIT) in place.store.commits


def test_what_is_split_stays_in_order(tmp_path: Path, rows: Any) -> None:
    place = Place(tmp_path, PickyStore())
    place.deliver([rows.trade(number, price=-1.0 if number in (3, 11) else 1.0) for number in range(20)])
    # As it lies in memory, which is the order in which it was written.
    ids = place.store.scan("trades").collect().get_column("trade_id").cast(int).to_list()
    assert ids == sorted(ids)


def test_a_store_that_takes_nothing_of_a_table_is_not_asked_for_ever(
    tmp_path: Path, rows: Any, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place(tmp_path, PickyStore())
    everything = [rows.trade(number, price=-1.0) for number in range(6_000)]
    place.deliver(everything)
    assert len(place.refused) == 6_000
    assert place.store.writes < 4_200
    assert caplog.messages == [
        f"memory:// refused 6000 rows of trades, which are in {place.letters.path} now with its words."
    ]
    before = place.store.writes
    place.deliver(everything)
    assert place.store.writes - before < 100
    assert place.refused == [trade.trade_id for trade in everything] * 2
    # Something is taken again: the next bad row is looked for as patiently as before.
    place.deliver(rows.trades(range(10)))
    place.letters.path.unlink()
    place.deliver([rows.trade(10_000 + number, price=-1.0 if number == 777 else 1.0) for number in range(2_000)])
    assert place.refused == ["10777"]


def test_dead_letters_are_written_once_though_the_store_goes_away_in_between(tmp_path: Path, rows: Any) -> None:
    place = Place(tmp_path, PickyStore(away=tuple(range(2, 40, 2))))
    place.deliver([rows.trade(number, price=-1.0 if number % 5 == 0 else 1.0) for number in range(20)])
    assert place.refused == ["0", "5", "10", "15"]
