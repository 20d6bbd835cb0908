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


def program_with_output(stored: str, *arguments: str, out: Any, **environ: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "marketlab", *arguments, "--store", stored]
    return subprocess.run(command, stdout=out, stderr=subprocess.PIPE, env=os.environ | environ, check=False)


@pytest.mark.parametrize(
    "arguments",
    [("query", "trades", "--csv"), ("query", "trades", "--json"), ("query", "trades"), ("analyze",), ("status",)],
)
def test_an_output_that_nobody_reads_ends_quietly(stored: str, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = program_with_output(stored, *arguments, out=writing)
    finally:
        os.close(writing)
    assert done.returncode == 141
    assert b"pipe" not in done.stderr.lower()
    assert b"Traceback" not in done.stderr


def test_a_terminal_that_knows_only_ascii_gets_ascii(stored: str) -> None:
    done = program_with_output(stored, "query", "trades", out=subprocess.PIPE, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("ascii").splitlines()[2] == "--------  --------  -----  ----  ----  ------"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_told_nothing(stored: str, unbuffered: str) -> None:
    command = [sys.executable, "-m", "marketlab", "query", "trades", "--csv", "--store", stored]
    environ = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline().startswith(b"exchange,symbol,")
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode in (0, 141)  # 0 where all of it was in the pipe already
