"""Segments that are handed over together, and what is left of that when the process dies in the middle."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketlab.clock import ManualClock
from marketlab.records import Kline, Record
from marketlab.stores.contract import Batching, Commit
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.delivery import Delivery
from marketlab.stores.memory import MemoryStore
from marketlab.stores.spool import Spool
from marketlab.stores.waiting import Intake, Load, Waiting


class KilledError(BaseException):
    """The process is gone at this point."""


class Life:
    """One process: it gets as far as so many steps."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise KilledError


class VersionedStore(MemoryStore):
    """Knows of each writer the last segment of each table, as Delta does, and skips what it has by that alone."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life(1_000_000)
        self.last: dict[tuple[str, str], int] = {}
        self.new = 0

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        assert commit is not None
        self.life.step()
        if self.last.get((name, commit.writer), 0) >= commit.segment:
            return 0
        changed = super().write(name, table, commit)
        self.last[name, commit.writer] = commit.segment
        self.new += changed
        self.life.step()
        return changed


def spooled(root: Path, segments: list[list[Record]]) -> tuple[Spool, Waiting]:
    spool = Spool.create(root)
    for records in segments:
        spool.append(records)
        spool.close_segment()
    waiting = Waiting(spool)
    return spool, waiting


def loads(waiting: Waiting, most: int) -> Iterator[Load]:
    while waiting:
        load = Load(most)
        while (segment := waiting.next_for(load)) is not None and load.add(segment):
            pass
        yield load
        waiting.done(load)


def lived(root: Path, store: VersionedStore, steps: int, most: int, segments: list[list[Record]]) -> bool:
    """Adopt what is there, spool some segments, deliver as far as this life lasts; says whether all was delivered."""
    store.life = life = Life(steps)
    adopted = Spool.adopt(root)
    spool, waiting = spooled(root, segments)
    waiting.adopt([*adopted])
    waiting.adopt([spool])
    letters = DeadLetters(root, ManualClock())
    try:
        for load in loads(waiting, most):
            Delivery(store, load.contents, load.commit, letters, set()).run()
            for segment in load.segments:
                life.step()
                segment.spool.discard(segment.number)
    except KilledError:
        return False
    finally:
        waiting.release()
    return True


@settings(deadline=None, max_examples=60)
@given(
    lives=st.lists(
        st.tuples(
            st.integers(0, 30),
            st.sampled_from([0, 1, 5, 12, 1_000]),
            st.lists(st.integers(1, 6), max_size=6),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_segments_that_are_joined_anew_after_each_kill_are_stored_once(
    rows: Any, lives: list[tuple[int, int, list[int]]]
) -> None:
    with TemporaryDirectory() as folder:
        store, number = VersionedStore(), 0
        for steps, most, sizes in lives:
            segments: list[list[Record]] = []
            for size in sizes:
                numbers = range(number, number + size)
                # Not every segment has something of each table.
                segments.append([*rows.trades(numbers), *([rows.quote(number)] if size % 2 else [])])
                number += size
            lived(Path(folder), store, steps, most, segments)
        assert lived(Path(folder), store, 1_000_000, 7, [])
        assert store.read("trades").get_column("trade_id").to_list() == [str(one) for one in range(number)]
        quotes = sum(size % 2 for _, _, sizes in lives for size in sizes)
        assert store.read("quotes").height == quotes
        assert store.new == number + quotes
        assert not list(Path(folder).glob("*/*.segment"))


@pytest.mark.parametrize(("most", "sizes"), [(0, [2] * 6), (1, [2] * 6), (4, [4, 4, 4]), (7, [6, 6]), (100, [12])])
def test_segments_are_joined_up_to_the_most_rows_of_a_table(
    tmp_path: Path, rows: Any, most: int, sizes: list[int]
) -> None:
    spool, waiting = spooled(tmp_path, [rows.trades(range(start, start + 2)) for start in range(0, 12, 2)])
    waiting.adopt([spool])
    assert [len(load.contents.records) for load in loads(waiting, most)] == sizes


def test_other_tables_do_not_count_against_the_most_of_one(tmp_path: Path, rows: Any) -> None:
    segments: list[list[Record]] = [[rows.trade(number), rows.quote(number)] for number in range(6)]
    spool, waiting = spooled(tmp_path, segments)
    waiting.adopt([spool])
    counts = [Counter(type(record).__name__ for record in load.contents.records) for load in loads(waiting, 3)]
    assert counts == [{"Trade": 3, "Quote": 3}] * 2


def test_only_consecutive_segments_of_one_writer_are_joined(tmp_path: Path, rows: Any) -> None:
    first, waiting = spooled(tmp_path, [rows.trades(range(start, start + 1)) for start in range(4)])
    second, _ = spooled(tmp_path, [rows.trades(range(9, 10))])
    first.discard(2)
    waiting.adopt([first, second])
    told = [(load.commit.writer, load.commit.segment, len(load.segments)) for load in loads(waiting, 100)]
    assert told == [(first.writer, 1, 1), (first.writer, 4, 2), (second.writer, 1, 1)]
    second.release()


def test_what_is_on_its_way_is_not_dropped(tmp_path: Path, rows: Any) -> None:
    spool, waiting = spooled(tmp_path, [rows.trades(range(start, start + 1)) for start in range(5)])
    waiting.adopt([spool])
    load = Load(2)
    while (segment := waiting.next_for(load)) is not None and load.add(segment):
        pass
    assert [segment.number for segment in load.segments] == [1, 2]
    assert [waiting.drop() for _ in range(4)] == [1, 1, 1, None]
    assert (waiting.dropped, waiting.settled) == (3, 0)
    waiting.done(load)
    assert list(loads(waiting, 2)) == []
    waiting.release()


def test_a_running_kline_goes_with_a_batch_as_it_stands_then_and_only_when_it_changed(
    tmp_path: Path, rows: Any
) -> None:
    clock = ManualClock()
    running: list[Kline] = []
    spool = Spool.create(tmp_path)
    limits = Batching(1_000, 10.0, 1_000_000)
    intake = Intake(spool, limits, clock, DeadLetters(tmp_path, clock), lambda: running)

    def batch() -> list[Record]:
        intake.complete()
        segment = intake.close()
        assert segment is not None
        assert segment.contents is not None
        assert segment.own == sum(type(record).__name__ != "Kline" for record in segment.contents.records)
        return segment.contents.records

    running[:] = [rows.kline(1, closed=False, count=5)]
    running[:] = [rows.kline(1, closed=False, count=6)]
    intake.take(rows.trades(range(2)))
    assert batch() == [*rows.trades(range(2)), rows.kline(1, closed=False, count=6)]
    intake.take(rows.trades(range(2, 3)))
    assert batch() == rows.trades(range(2, 3))
    # Nothing but the kline moves: it is still written as often as a batch is due.
    running[:] = [rows.kline(1, closed=False, count=7)]
    assert not intake.is_due
    clock._elapsed += 10.0
    assert intake.is_due
    assert batch() == running
    clock._elapsed += 10.0
    assert not intake.is_due
    spool.release()
