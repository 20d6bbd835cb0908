"""Tapes through the pipeline without sockets: order, seams, built klines, mistakes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from marketlab.errors import TapeError, UsageError
from marketlab.lab.replay import Replay
from marketlab.records import BookSnapshot, Gap, Kline, Record, Trade
from marketlab.tapes import TapeWriter

MINUTE_MS = 60_000
START_MS = 1_723_161_600_000


def trade(number: int, ms: int) -> bytes:
    return (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"100.0","q":"1.0","T":%d,"m":true}}'
        % (ms, number, ms)
    )


def depth(first: int, last: int, ms: int) -> bytes:
    return (
        b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":%d,"s":"BTCUSDT","U":%d,"u":%d,"b":[["99.0","1.0"]],"a":[]}}'
        % (ms, first, last)
    )


def tape(path: Path, frames: Sequence[tuple[int, bytes]]) -> Path:
    with TapeWriter(path) as writer:
        for ms, frame in frames:
            writer.write(ms * 1_000_000, frame)
    return path


def trades(path: Path, numbers: range, *, every_ms: int = 10_000) -> Path:
    """A trade each ten seconds; number 0 is at the start."""
    times = [START_MS + number * every_ms for number in numbers]
    return tape(path, [(ms, trade(number, ms)) for number, ms in zip(numbers, times, strict=True)])


def records(replay: Replay) -> Iterator[Record]:
    return (record for batch in replay.batches() for record in batch)


def test_tapes_are_played_in_the_order_of_time(tmp_path: Path) -> None:
    paths = [trades(tmp_path / "x_10.tape", range(10, 20)), trades(tmp_path / "x_9.tape", range(10))]
    replay = Replay(paths)
    ids = [int(record.trade_id) for record in records(replay) if isinstance(record, Trade)]
    assert ids == list(range(20))
    assert replay.counts()["BTCUSDT"].doubles == 0


def test_a_tape_whose_time_runs_backwards_is_broken_at_that_line(tmp_path: Path) -> None:
    times = [START_MS, START_MS + 10_000, START_MS + 1_000]
    path = tape(tmp_path / "x.tape", [(ms, trade(number, ms)) for number, ms in enumerate(times)])
    with pytest.raises(TapeError, match="line 3: its time runs backwards"):
        list(records(Replay([path])))


def test_minutes_over_a_seam_are_whole_if_the_trades_before_it_are_kept(tmp_path: Path) -> None:
    first, second = trades(tmp_path / "1.tape", range(1, 15)), trades(tmp_path / "2.tape", range(15, 30))
    kept = [record for record in records(Replay([first])) if isinstance(record, Trade)]

    def earlier(symbol: str, start: int, end: int) -> list[Trade]:
        return [record for record in kept if record.symbol == symbol and start <= record.time < end]

    def closed(replay: Replay) -> list[int]:
        found = [record for record in records(replay) if isinstance(record, Kline) and record.closed]
        return [(kline.open_time // 1000 - START_MS) // MINUTE_MS for kline in found]

    assert closed(Replay([second])) == [3]
    assert closed(Replay([second], earlier=earlier)) == [2, 3]
    del kept[-2]
    assert closed(Replay([second], earlier=earlier)) == [3]


def test_what_is_missing_since_the_last_run_is_named(tmp_path: Path) -> None:
    replay = Replay([trades(tmp_path / "2.tape", range(20, 30))])
    before = next(iter(records(Replay([trades(tmp_path / "1.tape", range(15, 16))]))))
    assert isinstance(before, Trade)
    replay.market.resume(before)
    gap = next(record for record in records(replay) if isinstance(record, Gap))
    assert (gap.from_id, gap.to_id) == ("16", "19")


def test_a_book_without_a_snapshot_begins_empty_before_its_first_update(tmp_path: Path) -> None:
    path = tape(
        tmp_path / "x.tape", [(START_MS, depth(50, 60, START_MS)), (START_MS + 100, depth(61, 70, START_MS + 100))]
    )
    rows = [record for record in records(Replay([path])) if isinstance(record, BookSnapshot)]
    assert [(row.update_id, row.bids, row.asks) for row in rows] == [(49, [], [])]


def test_frames_that_are_damaged_are_counted(tmp_path: Path) -> None:
    path = tape(tmp_path / "x.tape", [(START_MS, trade(1, START_MS)), (START_MS, trade(2, START_MS)[:-30])])
    replay = Replay([path])
    assert [record.trade_id for record in records(replay) if isinstance(record, Trade)] == ["1"]
    assert replay.unreadable == 1


@pytest.mark.parametrize("channels", [["quote"], ["kline_7m"], ["trade", "ticker"]])
def test_channels_that_cannot_be_had(tmp_path: Path, channels: list[str]) -> None:
    path = trades(tmp_path / "x.tape", range(3))
    with pytest.raises(UsageError, match="The tape holds no"):
        Replay([path], channels=channels)


def test_a_symbol_that_is_not_on_the_tape(tmp_path: Path) -> None:
    path = trades(tmp_path / "x.tape", range(3))
    with pytest.raises(UsageError, match="ETHUSDT"):
        Replay([path], symbols=["ETHUSDT"])
    assert len(list(records(Replay([path], symbols=["BTCUSDT"])))) == 3


def test_no_tape_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(TapeError, match="there is no such file"):
        Replay([tmp_path / "absent.gz"])
    (tmp_path / "empty.tape").write_bytes(b"")
    with pytest.raises(UsageError, match="There is no frame of binance"):
        Replay([tmp_path / "empty.tape"])
