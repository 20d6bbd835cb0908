"""A disk without room: one sentence, nothing half written, and it goes on when there is room again."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from marketlab import tables
from marketlab.clock import ManualClock
from marketlab.errors import StoreUnavailable
from marketlab.stores.contract import Batching
from marketlab.stores.delta import DeltaStore
from marketlab.stores.memory import MemoryStore
from marketlab.stores.spool import read_segment, segments
from marketlab.stores.writer import Writer

PROGRAMS = Path(__file__).parent / "programs.py"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be made by root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def resize(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def quick_pauses() -> Iterator[float]:
    while True:
        yield 0.01


def fill(writer: Writer, rows: Any, start: int = 0) -> int:
    for at in range(start, 1_000_000, 100):
        try:
            writer.accept(rows.trades(range(at, at + 100)))
        except StoreUnavailable:
            return at
    raise AssertionError("there was room for everything")


def accept_in_the_end(writer: Writer, records: Any) -> None:
    tick = Event()
    for _ in range(1_000):
        try:
            return writer.accept(records)
        except StoreUnavailable:
            tick.wait(0.01)
    raise AssertionError("it does not go on though there is room")


def until(condition: Any) -> None:
    tick = Event()
    for _ in range(2_000):
        if condition():
            return
        tick.wait(0.01)
    raise AssertionError("it did not come to pass")


@pytest.mark.parametrize(("limit", "told"), [("3000", 2), ("60000", 0)])
def test_a_limit_of_file_sizes(tmp_path: Path, limit: str, told: int) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAMS, "full", tmp_path, limit], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    sentences = done.stdout.splitlines()
    assert len(sentences) == told
    assert all("the file size limit of this process is reached: raise it" in sentence for sentence in sentences)


@pytest.mark.parametrize("rows_per_segment", [500, 1_000_000])
def test_a_disk_of_one_megabyte(small_disk: Path, rows: Any, rows_per_segment: int) -> None:
    batching = Batching(rows_per_segment, 3600.0, 1_000_000_000)
    with DeltaStore(small_disk / "store") as store:
        writer = Writer(store, batching=batching, sync_seconds=0.005, backlog=5_000, delays=quick_pauses)
        taken = fill(writer, rows)
        with pytest.raises(StoreUnavailable, match="the disk is full: free some room") as caught:
            writer.flush()
        assert "\n" not in str(caught.value)
        assert writer.failed is not None
        seen = store.read("trades").height
        resize(small_disk, "size=64m")
        accept_in_the_end(writer, rows.trades(range(taken, taken + 100)))
        report = writer.close()
        assert (report.pending, report.failure) == (0, "")
        found = store.read("trades")
        assert found.height == found.get_column("trade_id").n_unique() == taken + 100 >= seen


def test_a_disk_that_stays_full_is_told_at_once_and_memory_is_no_place_for_long(
    small_disk: Path, rows: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="marketlab")
    clock, batching = ManualClock(), Batching(1_000_000, 3600.0, 1_000_000_000)
    with Writer(MemoryStore(), spool=small_disk, batching=batching, clock=clock, sync_seconds=0.005) as writer:
        with (small_disk / "another").open("wb") as file:
            file.write(bytes(shutil.disk_usage(small_disk).free))
        writer.accept(rows.trades(range(10)))
        until(lambda: bool(caplog.messages))
        clock._elapsed += 9.0
        writer.accept(rows.trades(range(10, 20)))
        clock._elapsed += 2.0
        with pytest.raises(StoreUnavailable, match="the disk is full: free some room"):
            writer.accept(rows.trades(range(20, 30)))
        assert writer.stats.unspooled == 20
        (small_disk / "another").unlink()
        accept_in_the_end(writer, rows.trades(range(20, 30)))
        assert writer.flush().rows == {"trades": 30}
    full, again = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert full[0] == again[0] == "WARNING"
    assert full[1].endswith("free some room. What comes waits in memory alone, for 10 s at most.")
    assert again[1] == f"The disk of {small_disk} takes records again."


def test_a_disk_that_is_too_small_for_all_takes_what_it_can(small_disk: Path, rows: Any) -> None:
    batching = Batching(1_000_000, 3600.0, 1_000_000_000)
    with DeltaStore(small_disk / "store") as store:
        writer = Writer(store, batching=batching, sync_seconds=0.005, delays=quick_pauses)
        writer.accept(rows.trades(range(30_000)))
        with pytest.raises(StoreUnavailable, match="the disk is full: free some room"):
            writer.flush()
        report = writer.stats
        assert report.pending == 30_000
        assert 10_000 < report.unspooled < 30_000
        spooled = sum(len(read_segment(path).records) for path in segments(small_disk / "store" / "_spool"))
        assert spooled == 30_000 - report.unspooled
        resize(small_disk, "size=64m")
        report = writer.close()
        assert (report.pending, report.unspooled, report.failure) == (0, 0, "")
        assert store.read("trades").height == 30_000


def test_a_read_only_disk(small_disk: Path, rows: Any) -> None:
    with DeltaStore(small_disk / "store") as store:
        with Writer(store) as writer:
            writer.accept(rows.trades(range(10)))
        resize(small_disk, "ro")
        assert store.read("trades").height == 10
        with pytest.raises(StoreUnavailable, match="the disk is read-only"):
            Writer(store)
        with pytest.raises(StoreUnavailable, match="the disk is read-only"):
            store.write("trades", tables.to_table("trades", [rows.trade(11)]))
        resize(small_disk, "rw")
