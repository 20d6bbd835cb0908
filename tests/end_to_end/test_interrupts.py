"""Ctrl-C once stores what came; twice, it ends at once, in one sentence, and nothing crashes."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .programs import at, exchange, started, until

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR|CRITICAL) ")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    log = tmp_path_factory.mktemp("exchange") / "log"
    with exchange("--simulate", "--speed", "50", log=log) as found:
        yield found


def interrupt(process: subprocess.Popen[bytes], times: int, apart: float) -> int:
    for _ in range(times):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        time.sleep(apart)
    return process.wait(90)


@pytest.mark.parametrize(("times", "apart"), [(2, 0.02), (2, 0.0), (3, 0.005)])
@pytest.mark.parametrize("command", ["collect", "record"])
def test_a_second_ctrl_c_ends_at_once(port: int, tmp_path: Path, command: str, times: int, apart: float) -> None:
    log, tape = tmp_path / "log", tmp_path / "tape.zst"
    what = ("record", tape, "BTCUSDT") if command == "record" else ("collect", "BTCUSDT", "--record", tape)
    with started(*what, *at(port), "--json", log=log, cwd=tmp_path) as process:
        until(lambda: tape.exists() and tape.stat().st_size > 10_000, process, log)
        code = interrupt(process, times, apart)
    words = [line for line in log.read_text().splitlines() if not LOG_LINE.match(line)]
    assert len(words) == 1, words
    if code == 130:
        assert words[0].startswith("Ended at once")
    else:  # it was done before the second one came, or both came as one
        assert code == 0
        assert words[0].startswith("{")


@pytest.mark.parametrize("apart", [0.02, 0.2])
def test_a_second_ctrl_c_ends_the_demo(tmp_path: Path, apart: float) -> None:
    log = tmp_path / "log"
    with started("demo", log=log, cwd=tmp_path) as demo:
        until(lambda: "(simulated)" in log.read_text(), demo, log)
        code = interrupt(demo, 2, apart)
    words = log.read_text()
    assert "Traceback" not in words
    assert code in (0, 130), words
    assert ("Ended at once; what is not stored yet waits in the spool" in words) == (code == 130)
