"""Segments: what is whole counts, what is torn does not, and nobody's spool has two owners."""

import fcntl
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from marketlab.errors import StoreUnavailable
from marketlab.stores.spool import Spool, read_segment, segments


def test_what_goes_in_comes_out(tmp_path: Path, rows: Any) -> None:
    records = [rows.trade(1), rows.quote(2), rows.kline(3), rows.snapshot(4), rows.gap(5, healed=True)]
    spool = Spool.create(tmp_path)
    spool.append(records[:2])
    spool.append(records[2:])
    (path,) = segments(tmp_path)
    assert read_segment(path) == (records, [])
    assert path.stat().st_size == spool.size
    assert spool.close_segment() == 1
    assert spool.close_segment() is None
    spool.append(records[:1])
    assert spool.numbers() == [1, 2]
    assert spool.read(2).records == records[:1]
    spool.discard(1)
    spool.discard(1)
    with pytest.raises(StoreUnavailable, match="Cannot read"):
        spool.read(1)
    spool.release()


def test_segments_are_found_beside_folders_that_come_and_go(tmp_path: Path, rows: Any) -> None:
    assert segments(tmp_path / "absent") == []
    writers = [Spool.create(tmp_path) for _ in range(2)]
    for spool in writers:
        spool.append(rows.trades(range(3)))
    (tmp_path / ".being-made").mkdir()
    (tmp_path / ".being-made" / "000000000001.segment").touch()
    (tmp_path / "dead_letters.jsonl").touch()
    # As if another writer's folder had been emptied and removed since the root was listed.
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert segments(tmp_path) == sorted(spool.path(1) for spool in writers)
    for spool in writers:
        spool.discard(1)
        spool.release()


def test_a_torn_tail_at_any_byte_costs_only_the_last_frame(tmp_path: Path, rows: Any) -> None:
    spool = Spool.create(tmp_path)
    spool.append(rows.trades(range(3)))
    first = spool.size
    spool.append(rows.trades(range(3, 5)))
    (path,) = segments(tmp_path)
    data = path.read_bytes()
    for cut in range(first, len(data)):
        path.write_bytes(data[:cut])
        assert read_segment(path).records == rows.trades(range(3))
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert read_segment(path).records == rows.trades(range(3))
    spool.release()


def test_a_frame_with_something_else_in_it_leaves_the_others_alone(tmp_path: Path, rows: Any) -> None:
    spool = Spool.create(tmp_path)
    spool.append([rows.trade(1), {"not": "a record"}, rows.trade(2)])  # type: ignore[list-item]
    (path,) = segments(tmp_path)
    payload = b"\xc1 never msgpack"
    with path.open("ab") as file:
        file.write(struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)
    spool.append([rows.trade(3)])
    found = read_segment(path)
    assert found.records == rows.trades(range(1, 4))
    assert found.unreadable == [msgspec.msgpack.encode({"not": "a record"}), payload]
    spool.release()


def test_a_spool_belongs_to_one_owner_until_it_lets_go(tmp_path: Path, rows: Any) -> None:
    spool = Spool.create(tmp_path)
    spool.append([rows.trade(1)])
    assert Spool.adopt(tmp_path) == []
    spool.release()
    spool.release()
    (adopted,) = Spool.adopt(tmp_path)
    assert adopted.writer == spool.writer
    assert adopted.numbers() == [1]
    assert Spool.adopt(tmp_path) == []
    adopted.discard(1)
    adopted.release()
    assert list(tmp_path.iterdir()) == []


def test_whoever_looks_whose_it_is_does_not_keep_it_from_being_adopted(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool.create(tmp_path)
    spool.append([rows.trade(1)])
    spool.release()
    look = os.open(spool.directory / "lock", os.O_RDWR)
    fcntl.flock(look, fcntl.LOCK_SH)
    # It is looked at until the adopter waits.
    monkeypatch.setattr("marketlab.stores.spool.sleep", lambda _: fcntl.flock(look, fcntl.LOCK_UN))
    (adopted,) = Spool.adopt(tmp_path)
    assert adopted.numbers() == [1]
    adopted.release()
    os.close(look)


def test_numbers_only_rise_after_an_adoption(tmp_path: Path, rows: Any) -> None:
    spool = Spool.create(tmp_path)
    for number in range(3):
        spool.append([rows.trade(number)])
        spool.close_segment()
    spool.discard(1)
    spool.release()
    (adopted,) = Spool.adopt(tmp_path)
    adopted.append([rows.trade(9)])
    assert adopted.close_segment() == 4
    adopted.release()


def test_what_is_not_a_spool_is_left_alone(tmp_path: Path, rows: Any) -> None:
    assert Spool.adopt(tmp_path / "nowhere") == []
    assert segments(tmp_path / "nowhere") == []
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder").mkdir()
    assert Spool.adopt(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "notes.txt"]


def test_an_empty_spool_without_an_owner_is_cleared_away(tmp_path: Path, rows: Any) -> None:
    spool = Spool.create(tmp_path)
    spool.append([rows.trade(1)])
    spool.release()
    segments(tmp_path)[0].unlink()
    assert Spool.adopt(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_one_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"Cannot write to .*: a file is where a folder should be"):
        Spool.create(tmp_path / "file")
