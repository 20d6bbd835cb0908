import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marketlab.errors import TapeError, UsageError
from marketlab.exchange_server import TapeSource
from marketlab.exchange_server.source import symbol_asked
from marketlab.tapes import TapeWriter


def test_what_is_on_a_tape(events: Any, write_tape: Callable[..., Path]) -> None:
    snapshot = {"lastUpdateId": 7, "bids": [["99.125", "1.0"]], "asks": []}
    levels = [["99.12500000", "1.00000000"]]
    path = write_tape([events.quote(5, 0, "1", "2"), events.depth(6, 7, 3, levels), (4, snapshot), events.trade(1, 5)])
    source = TapeSource(path)
    contents = asyncio.run(source.contents())
    assert contents.start == (events.minute + 3) * 1000
    assert contents.streams == {"btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@trade"}
    listed = contents.listed["BTCUSDT"]
    assert (listed.first_id, listed.decimals) == (6, 3)
    assert json.loads(listed.snapshot or b"") == snapshot
    assert source.origin == "replay"
    assert source.history("BTCUSDT") == ()
    assert repr(source) == "TapeSource('tape.gz')"
    frames = [line.frame for line in source.lines()]
    assert frames[2].startswith(b'{"request":"/api/v3/depth?symbol=BTCUSDT","answer":{"lastUpdateId":7')


def test_raw_frames_find_their_stream_and_foreign_lines_are_left_out(tmp_path: Path, events: Any) -> None:
    with TapeWriter(tmp_path / "tape") as tape:
        tape.write(1, json.dumps(events.trade(1, 0)[2]).encode())
        tape.write(2, b'{"result":null,"id":1}')
        tape.write_answer(3, "/api/v3/depth?symbol=ETHUSDT&limit=5", b'{"lastUpdateId":3,"bids":[],"asks":[]}')
        tape.write_answer(4, "/api/v3/time", b"{}")
    source = TapeSource(tmp_path / "tape")
    assert [line.received for line in source.lines()] == [1, 3, 4]
    contents = asyncio.run(source.contents())
    assert contents.streams == {"btcusdt@trade"}
    assert sorted(contents.listed) == ["BTCUSDT", "ETHUSDT"]


def test_a_bare_snapshot_of_nobody_knows_is_no_symbols(write_tape: Callable[..., Path], events: Any) -> None:
    path = write_tape([(0, {"lastUpdateId": 7, "bids": [], "asks": []}), events.trade(1, 5)])
    contents = asyncio.run(TapeSource(path).contents())
    assert contents.listed["BTCUSDT"].snapshot is None


def test_tapes_are_played_one_after_another(write_tape: Callable[..., Path], events: Any) -> None:
    paths = [write_tape([events.trade(number, number)], f"{number}.gz") for number in (1, 2)]
    source = TapeSource(*paths)
    assert [json.loads(line.frame)["data"]["t"] for line in source.lines()] == [1, 2]


def test_a_recorded_simulation_stays_simulated(tmp_path: Path, events: Any) -> None:
    with TapeWriter(tmp_path / "tape.gz", origin="simulated") as tape:
        tape.write(1, events.frame(events.trade(1, 0)))
    source = TapeSource(tmp_path / "tape.gz")
    asyncio.run(source.contents())
    assert source.origin == "simulated"


def test_mistakes_are_told_at_once(tmp_path: Path, events: Any, write_tape: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="at least one tape"):
        TapeSource()
    (tmp_path / "foreign").write_bytes(b'1 {"ping":1}\n')
    with pytest.raises(UsageError, match="no frame of Binance"):
        asyncio.run(TapeSource(tmp_path / "foreign").contents())
    whole = write_tape([events.trade(number, number) for number in range(5000)]).read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[:-500])
    with pytest.raises(TapeError, match=r"cut\.gz, line \d+: the packed file breaks off"):
        asyncio.run(TapeSource(tmp_path / "cut.gz").contents())


def test_the_symbol_of_a_request() -> None:
    assert symbol_asked("/api/v3/depth?limit=5&symbol=ETHUSDT") == "ETHUSDT"
    assert symbol_asked("/api/v3/depth") == ""
