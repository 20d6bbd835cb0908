from pathlib import Path

import pytest

from marketlab import tapes
from marketlab.errors import UsageError
from marketlab.exchanges.binance import Binance
from marketlab.streams.recorder import Recorder
from marketlab.streams.rest import Answer


def test_frames_and_answers_in_the_order_they_came(tmp_path: Path) -> None:
    path = tmp_path / "tape.txt"
    recorder = Recorder(path, "stream")
    recorder.frames([b'{"a":1}', b'{"b":2}'], 5)
    recorder.answer(Answer(Binance().snapshot_request("BTCUSDT", 100), b'{"lastUpdateId":1}', 6, "rest"))
    recorder.answer(Answer(Binance().instruments_request(), b'{"symbols":[]}', 7, "rest"))
    recorder.frames([b'{"c":3}'], 8)
    recorder.flush()
    before_close = [(line.received, line.frame) for line in tapes.read(path)]
    assert before_close == [
        (5_000, b'{"a":1}'),
        (5_000, b'{"b":2}'),
        (6_000, b'{"request":"/api/v3/depth?symbol=BTCUSDT&limit=100","answer":{"lastUpdateId":1}}'),
        (8_000, b'{"c":3}'),
    ]
    assert recorder.lines == 4
    recorder.close()
    recorder.close()
    with pytest.raises(UsageError, match="exists already"):
        Recorder(path, "stream")


def test_what_is_simulated_keeps_its_mark(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "tape.txt", "simulated")
    recorder.close()
    assert tapes.origin(tmp_path / "tape.txt") == "simulated"
