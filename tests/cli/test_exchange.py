import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from marketlab.exchanges.binance import Binance
from marketlab.tapes import TapeWriter

Run = Callable[..., Any]


@contextmanager
def serving(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any]]]:
    command = [sys.executable, "-m", "marketlab", "exchange", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            told = server.stdout.readline()
            assert told, server.communicate(timeout=30)[1]
            yield server, json.loads(told)
        finally:
            server.kill()


def get(url: str) -> tuple[Any, str]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.loads(answer.read()), answer.headers["X-Marketlab-Origin"]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    path = tmp_path / "one.gz"
    frame = {"e": "trade", "E": 1_723_161_600_000, "s": "BTCUSDT", "t": 1, "p": "61000.00", "q": "0.1"}
    with TapeWriter(path) as writer:
        for number in range(3):
            trade = frame | {"t": 1 + number, "T": frame["E"], "m": True, "M": True}
            whole = {"stream": "btcusdt@trade", "data": trade}
            writer.write(1_723_161_600_000_000_000 + number, json.dumps(whole, separators=(",", ":")).encode())
    return path


def test_a_simulation_is_served_until_ctrl_c() -> None:
    with serving("--simulate", "--symbols", "btc/usdt,SOLUSDT", "--duration", "5") as (server, told):
        assert told["origin"] == "simulated"
        assert told["symbols"] == ["BTCUSDT", "SOLUSDT"]
        listed, origin = get(f"{told['rest_url']}/api/v3/exchangeInfo")
        assert origin == "simulated"
        assert [symbol["symbol"] for symbol in listed["symbols"]] == ["BTCUSDT", "SOLUSDT"]
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=30)
        assert server.returncode == 0
        assert "Traceback" not in errors


def test_a_tape_is_played_when_it_is_told_to_and_ends_if_wanted(tape: Path) -> None:
    with serving("--tape", str(tape), "--speed", "max", "--exit-when-done") as (server, told):
        assert told["origin"] == "replay"
        begun = urllib.request.Request(f"{told['rest_url']}/control/start", method="POST")
        with urllib.request.urlopen(begun, timeout=30) as answer:
            assert answer.status == 200
        _, errors = server.communicate(timeout=30)
        assert server.returncode == 0
        assert "Everything was played: 3 frames." in errors


def test_people_are_told_what_to_do_next() -> None:
    command = [sys.executable, "-m", "marketlab", "exchange", "--simulate"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(5)]
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert server.returncode == 0
    assert lines[0] == "A simulated exchange with BTCUSDT, ETHUSDT\n"
    assert lines[4].startswith("  marketlab collect BTCUSDT ETHUSDT --ws-url ws://127.0.0.1:")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "Say what to play: either --tape FILE or --simulate."),
        (("--simulate", "--tape", "x.gz"), 2, "Say what to play"),
        (("--simulate", "--speed", "fast"), 2, "'fast' is not a speed"),
        (("--simulate", "--speed", "-1"), 2, "'-1' is not a speed"),
        (("--simulate", "--start", "soon"), 2, "'soon'"),
        (("--simulate", "--duration", "0"), 2, "The duration must be above 0"),
        (("--simulate", "--fault", "rain"), 2, "There is no fault 'rain'; choose among malformed-frames, "),
        (("--tape", "missing.gz"), 3, "missing.gz"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    ended = run("exchange", *arguments)
    assert ended.code == code
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_a_taken_port_is_one_sentence(run: Run) -> None:
    with serving("--simulate") as (_, told):
        port = told["rest_url"].rpartition(":")[2]
        ended = run("exchange", "--simulate", "--port", port)
    assert ended.code == 2
    assert f"Cannot listen on 127.0.0.1:{port}" in ended.err


def test_the_simulation_lists_what_our_own_client_understands() -> None:
    with serving("--simulate") as (_, told):
        listed, _ = get(f"{told['rest_url']}/api/v3/exchangeInfo")
    found = Binance().instruments(json.dumps(listed).encode())
    assert [instrument.symbol for instrument in found] == ["BTCUSDT", "ETHUSDT"]
