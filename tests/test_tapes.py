import gzip
import itertools
from pathlib import Path

import pytest
import zstandard

from marketlab import tapes
from marketlab.errors import StoreError, TapeError, UsageError

FRAMES = [
    (1_723_161_600_001_658_384, b'{"stream":"btcusdt@trade","data":{"e":"trade","t":1}}'),
    (1_723_161_600_001_658_385, '{"stream":"币安usdt@trade","data":{}}'.encode()),
    (1_723_161_600_100_000_000, b'{"e":"trade","t":2}'),
]
NAMES = ["tape.txt", "tape.gz", "tape.zst"]


def write_tape(path: Path) -> Path:
    with tapes.TapeWriter(path) as writer:
        for received, frame in FRAMES:
            writer.write(received, frame)
    return path


def packed(name: str, text: bytes) -> bytes:
    match Path(name).suffix:
        case ".gz":
            return gzip.compress(text)
        case ".zst":
            return zstandard.ZstdCompressor().compress(text)
    return text


def broken_at(path: Path) -> tuple[list[tapes.Line], TapeError]:
    lines: list[tapes.Line] = []
    with pytest.raises(TapeError) as caught:
        lines.extend(tapes.read(path))
    return lines, caught.value


@pytest.mark.parametrize("name", NAMES)
def test_what_was_written_is_read(tmp_path: Path, name: str) -> None:
    path = write_tape(tmp_path / name)
    assert list(tapes.read(path)) == [(number, *line) for number, line in enumerate(FRAMES, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_recorder_leaves_everything_up_to_its_last_flush(tmp_path: Path, name: str) -> None:
    writer = tapes.TapeWriter(tmp_path / name)
    for received, frame in FRAMES:
        writer.write(received, frame)
    writer.flush()
    copy = tmp_path / f"copy-{name}"
    copy.write_bytes((tmp_path / name).read_bytes())
    writer.close()
    lines = list(itertools.islice(tapes.read(copy), len(FRAMES)))
    assert [line.frame for line in lines] == [frame for _, frame in FRAMES]
    if name != "tape.txt":
        assert broken_at(copy)[1].line == len(FRAMES) + 1


@pytest.mark.parametrize("name", NAMES)
def test_tapes_joined_end_to_end_are_one_tape(tmp_path: Path, name: str) -> None:
    one = write_tape(tmp_path / name).read_bytes()
    (tmp_path / f"twice-{name}").write_bytes(one + one)
    assert [line.number for line in tapes.read(tmp_path / f"twice-{name}")] == [1, 2, 3, 4, 5, 6]


def test_a_rest_answer_is_kept_with_its_request(tmp_path: Path) -> None:
    with tapes.TapeWriter(tmp_path / "tape") as writer:
        writer.write_answer(7, "/api/v3/depth?symbol=ETHUSDT&limit=5000", b'{"lastUpdateId":1,\n"bids":[]}\n')
        writer.write(8, b'{"lastUpdateId":2,"bids":[]}')
    first, second = tapes.read(tmp_path / "tape")
    assert first.received == 7
    kept = tapes.answer(first.frame)
    assert kept is not None
    assert kept.request == "/api/v3/depth?symbol=ETHUSDT&limit=5000"
    assert kept.body.split() == [b'{"lastUpdateId":1,', b'"bids":[]}']
    assert tapes.answer(second.frame) == ("/api/v3/depth", b'{"lastUpdateId":2,"bids":[]}')
    assert tapes.answer(FRAMES[0][1]) is None
    assert tapes.answer(b'{"request":"/api/v3/ping"') is None


def test_simulated_data_keeps_its_mark(tmp_path: Path) -> None:
    with tapes.TapeWriter(tmp_path / "tape.gz", origin="simulated") as writer:
        writer.write(*FRAMES[0])
    assert tapes.origin(tmp_path / "tape.gz") == "simulated"
    assert list(tapes.read(tmp_path / "tape.gz")) == [(2, *FRAMES[0])]
    assert tapes.origin(write_tape(tmp_path / "other.gz")) == "replay"


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "tape")
    with pytest.raises(UsageError, match="exists already"):
        tapes.TapeWriter(path)
    assert len(list(tapes.read(path))) == 3


def test_a_disk_that_refuses_is_one_sentence() -> None:
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        tapes.TapeWriter(Path("/nowhere/at/all/tape.gz"))
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    writer = tapes.TapeWriter(Path("/dev/full"))
    writer.write(1, b"{}")
    with pytest.raises(StoreError, match="No space left"):
        writer.flush()
    with pytest.raises(StoreError, match="No space left"):
        writer.close()


@pytest.mark.parametrize("read", [tapes.origin, lambda path: list(tapes.read(path))])
def test_a_missing_tape(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(TapeError, match="there is no such file") as caught:
        read(tmp_path / "none.gz")
    assert caught.value.line == 0


@pytest.mark.parametrize("name", ["tape.gz", "tape.zst"])
def test_a_tape_that_is_not_packed_as_its_name_says(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"1 {}\n")
    lines, error = broken_at(tmp_path / name)
    assert (lines, error.line) == ([], 1)
    with pytest.raises(TapeError, match="line 1"):
        tapes.origin(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_tape_gives_its_whole_lines_and_then_names_the_broken_one(tmp_path: Path, name: str) -> None:
    text = b"".join(b'%d {"t":%d}\n' % (number * 7, number * number) for number in range(200_000))
    whole = packed(name, text)
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    lines, error = broken_at(tmp_path / name)
    assert error.line == len(lines) + 1
    assert "breaks off" in str(error)
    assert lines
    assert all(line.frame == b'{"t":%d}' % (line.number - 1) ** 2 for line in itertools.islice(lines, 1000))


@pytest.mark.parametrize("name", ["tape.gz", "tape.zst"])
def test_a_corrupt_tape_names_the_line(tmp_path: Path, name: str) -> None:
    text = b"".join(b'%d {"t":%d}\n' % (number * 7, number * number) for number in range(200_000))
    whole = bytearray(packed(name, text))
    whole[len(whole) // 2 : len(whole) // 2 + 64] = bytes(64)
    (tmp_path / name).write_bytes(whole)
    lines, error = broken_at(tmp_path / name)
    assert error.line == len(lines) + 1


@pytest.mark.parametrize("line", [b"{}", b"12x {}", b"12 ", b""])
def test_a_line_that_is_none(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "tape").write_bytes(b"1 {}\n" + line + b"\n2 {}\n")
    lines, error = broken_at(tmp_path / "tape")
    assert (len(lines), error.line) == (1, 2)
    assert "blank and the frame" in str(error)


def test_the_last_line_may_lack_its_line_break_if_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "tape").write_bytes(b'1 {}\r\n2 {"t":1}')
    assert [line.frame for line in tapes.read(tmp_path / "tape")] == [b"{}", b'{"t":1}']
    (tmp_path / "cut").write_bytes(b'1 {}\n2 {"t":1')
    assert broken_at(tmp_path / "cut")[1].line == 2
