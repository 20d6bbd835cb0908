"""The programs under test as processes of their own, on free loopback ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = os.environ.get("MARKETLAB_FULL") == "1"
MARKETLAB = (sys.executable, "-m", "marketlab")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MARKETLAB_")}
    return {**clean, "PYTHONWARNINGS": "error", **(settings or {})}


def run(
    *arguments: str | Path,
    cwd: Path | None = None,
    timeout: float = 180,
    settings: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MARKETLAB, *map(str, arguments)],
        capture_output=True,
        check=False,
        cwd=cwd,
        env=environment(settings),
        text=True,
        timeout=timeout,
    )


def summary(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def account_in(log: Path) -> Any:
    """The summary that a program with --json has left in its log."""
    return json.loads(next(line for line in reversed(log.read_text().splitlines()) if line.startswith("{")))


@contextmanager
def started(
    *arguments: str | Path, log: Path, cwd: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs beside the test, with its output in `log`; killed in the end where it still runs."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*MARKETLAB, *map(str, arguments)],
            cwd=cwd,
            env=environment(settings),
            stderr=output,
            stdout=output,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def until(true: Callable[[], object], process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    """Wait for something that a running program brings about."""
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, f"it ended with {process.returncode}: {log.read_text()[-3000:]}"
        assert time.monotonic() < end, f"it did not happen in {seconds:g} s: {log.read_text()[-3000:]}"
        time.sleep(0.05)


@contextmanager
def exchange(*arguments: str | Path, log: Path) -> Iterator[int]:
    """A local exchange in its own process; gives its port."""
    port = free_port()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*MARKETLAB, "exchange", *map(str, arguments), "--port", str(port)],
            env=environment(),
            stderr=output,
            stdout=output,
        ) as process,
    ):
        try:
            _wait_for_port(port, process, log)
            yield port
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert process.returncode in (0, 130), log.read_text()


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the exchange does not listen after 30 s")


def at(port: int) -> Sequence[str]:
    """The options that point a command to the local exchange."""
    return ("--ws-url", f"ws://127.0.0.1:{port}", "--rest-url", f"http://127.0.0.1:{port}")
