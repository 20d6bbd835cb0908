import os
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pty: Any = pytest.importorskip("pty")
termios: Any = pytest.importorskip("termios")
fcntl: Any = pytest.importorskip("fcntl")


def on_a_terminal(columns: int, *arguments: str) -> tuple[int, list[str]]:
    """What the program shows on a real terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "marketlab", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environ) as program:
        os.close(theirs)
        shown = b""
        while more := _read(ours):
            shown += more
    os.close(ours)
    return program.returncode, shown.decode().replace("\r\n", "\n").splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux tells the end of a terminal so
        return b""


@pytest.mark.parametrize("columns", [80, 60])
def test_a_terminal_breaks_no_line(stored: str, columns: int) -> None:
    for arguments in (("query", "trades"), ("query", "klines"), ("query", "book_snapshots"), ("analyze",)):
        code, lines = on_a_terminal(columns, *arguments, "--store", stored)
        assert code == 0
        assert max(map(len, lines)) <= columns


def test_a_pipe_has_a_row_on_one_line(run: Callable[..., Any], stored: str) -> None:
    lines = run("query", "klines", "BTCUSDT", "--store", stored).out.splitlines()
    assert len(lines) == 3 + 10
