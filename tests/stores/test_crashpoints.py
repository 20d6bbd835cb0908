"""Killed at a named point and taken over by the next writer: what was in the spool is in the store, once."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from deltalake import DeltaTable

from marketlab.stores import crashpoints
from marketlab.stores.delta import DeltaStore

PROGRAMS = Path(__file__).parent / "programs.py"
MOMENTS = [
    "segment-half-written:2",
    "segment-half-written:15",
    "before-commit:1",
    "before-commit:5",
    "between-tables:1",
    "between-tables:8",
    "after-commit:1",
    "after-commit:7",
    "during-compaction:1",
    "during-compaction:4",
    "after-compaction:2",
    "between-segments:1",
    "between-segments:6",
]
# What waits is handed over in loads of several segments; these fall into the middle of the first ones.
JOINED = [
    "before-commit:2",
    "after-commit:2",
    "between-tables:4",
    "between-segments:2",
    "between-segments:20",
]


def packed_records(spool: Path) -> list[Any]:
    """A reader of its own, which shares nothing with the one it checks."""
    found = []
    for path in sorted(spool.glob("*/*.segment")):
        data = path.read_bytes()
        while len(data) > 8:
            length, crc = struct.unpack("<II", data[:8])
            payload, data = data[8 : 8 + length], data[8 + length :]
            if len(payload) < length or zlib.crc32(payload) != crc:
                break
            found += msgspec.msgpack.decode(payload)
    return found


def run(what: str, folder: Path, **environment: str) -> int:
    done = subprocess.run(
        [sys.executable, PROGRAMS, what, folder, "1000"],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode


def test_every_point_is_tried() -> None:
    assert {moment.partition(":")[0] for moment in MOMENTS} == set(crashpoints.NAMES)


@pytest.mark.parametrize(
    ("program", "moment"),
    [*(("write", moment) for moment in MOMENTS), *(("write_late", moment) for moment in JOINED)],
)
def test_what_was_in_the_spool_is_in_the_store_once(tmp_path: Path, program: str, moment: str) -> None:
    folder, copy = tmp_path / "store", tmp_path / "copy"
    assert run(program, folder, MARKETLAB_CRASH_AT=moment) == -signal.SIGKILL
    shutil.copytree(folder / "_spool", copy)
    before = DeltaStore(folder).read("trades")
    assert run("adopt", folder) == 0

    spooled = packed_records(copy)
    assert spooled
    assert list((folder / "_spool").iterdir()) == []
    with DeltaStore(folder) as store:
        trades = store.read("trades").get_column("trade_id").to_list()
        quotes = store.read("quotes").get_column("update_id").to_list()
        klines = store.read("klines").get_column("open_time").dt.epoch("us").to_list()
        for kind, at, found in (("Trade", 3, trades), ("Quote", 3, quotes), ("Kline", 4, klines)):
            assert len(found) == len(set(found))
            assert {record[at] for record in spooled if record[0] == kind} <= set(found)
        assert before.equals(store.read("trades").head(before.height))
        # The frames before the crash hold all that came before: no hole anywhere.
        assert trades == [str(number) for number in range(len(trades))]
        assert DeltaTable(folder / "trades").count() == len(trades)
