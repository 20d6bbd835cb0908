"""CPU time of processes, as Linux counts it: of one, of a tree of them, and of everybody else on this machine.

A virtual machine may have less than its processors: what its host takes is in no count, so it is felt as well.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_BEAT_S = 0.01


class Used(NamedTuple):
    """CPU seconds until now."""

    at: float
    kernel: float
    browser: float
    ours: float
    everybody: float

    def since(self, other: "Used") -> "Shares":
        seconds = self.at - other.at
        kernel, browser = self.kernel - other.kernel, self.browser - other.browser
        others = self.everybody - other.everybody - (self.ours - other.ours)
        return Shares(kernel / seconds, browser / seconds, max(others, 0.0) / seconds)


class Shares(NamedTuple):
    """Shares of one core: the kernel's, the browser's, and of all processes that have nothing to do with us."""

    kernel: float
    browser: float
    others: float


class Pulse:
    """Sleeps ten milliseconds again and again while the `with` block lasts; `late` is how much longer that took."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.set()
        self._thread.join()

    @property
    def late_ms(self) -> float:
        """Milliseconds that one in twenty sleeps was late, or more."""
        return sorted(self._late)[int(len(self._late) * 0.95)] * 1000 if self._late else 0.0

    def _beat(self) -> None:
        while not self._ends.is_set():
            before = time.monotonic()
            time.sleep(_BEAT_S)
            self._late.append(time.monotonic() - before - _BEAT_S)


def used(kernel: int) -> Used:
    """What has been used until now by a kernel, by the browsers below this process, and by all."""
    parents, names, times = {}, {}, {}
    for process, name, parent, seconds in _processes():
        parents[process], names[process], times[process] = parent, name, seconds
    ours = [process for process in parents if os.getpid() in _line(process, parents)]
    browser = sum(times[process] for process in ours if names[process].startswith("chrom"))
    return Used(
        time.monotonic(), times.get(kernel, 0.0), browser, sum(times[process] for process in ours), _everybody()
    )


def _processes() -> Iterator[tuple[int, str, int, float]]:
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            text = (folder / "stat").read_text()
        except OSError:  # it has ended in between
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        words = text[text.rindex(")") + 2 :].split()
        yield int(folder.name), name, int(words[1]), (int(words[11]) + int(words[12])) / _TICKS


def _line(process: int, parents: dict[int, int]) -> Iterator[int]:
    while process:
        yield process
        process = parents.get(process, 0)


def _everybody() -> float:
    words = (_PROC / "stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _, _, irq, softirq = map(int, words[1:8])
    return (user + nice + system + irq + softirq) / _TICKS
