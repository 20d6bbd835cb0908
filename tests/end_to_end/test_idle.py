"""Idle is an exchange that says nothing: not one that is gone, and not a program that was asleep."""

import json
import signal
import time
from pathlib import Path
from typing import Any

from .programs import at, free_port, started, until


def collected(folder: Path, *options: str, mishap: Any) -> Any:
    port, log, tape = free_port(), folder / "log", folder / "tape.jsonl"
    served: tuple[str, ...] = ("exchange", "--simulate", "--speed", "20", "--port", str(port))
    with started(*served, log=folder / "exchange.log") as exchange:
        until(lambda: "127.0.0.1" in (folder / "exchange.log").read_text(), exchange, folder / "exchange.log")
        what: tuple[str | Path, ...] = (
            "collect",
            "BTCUSDT",
            *at(port),
            "--store",
            "memory://",
            "--record",
            tape,
            "--json",
            *options,
        )
        with started(*what, log=log, cwd=folder) as process:
            until(lambda: tape.exists() and tape.stat().st_size > 10_000, process, log)
            mishap(exchange, process)
            assert process.wait(90) == 0, log.read_text()
    return json.loads(log.read_text().splitlines()[-1])


def test_an_exchange_that_is_gone_is_not_idle(tmp_path: Path) -> None:
    told = collected(
        tmp_path, "--until-idle", "0.5", "--duration", "6", mishap=lambda exchange, process: exchange.kill()
    )
    assert told["ended"] == "duration"


def test_a_program_that_was_asleep_was_not_idle(tmp_path: Path) -> None:
    def sleep(_: Any, process: Any) -> None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)

    told = collected(tmp_path, "--until-idle", "2", "--duration", "8", mishap=sleep)
    assert told["ended"] == "duration"
