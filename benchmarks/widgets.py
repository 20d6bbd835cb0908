"""Our live widgets and plotly's FigureWidget side by side: how old a picture is, how smooth, and what it costs.

A local exchange in its own process puts out 1,000 updates a second of one symbol. A real JupyterLab serves notebooks to
a real Chromium; each has a kernel of its own with the same feed. One after another, in every round, the order book
(20 levels a side), the klines (150 bars, 60 Hz) and plotly's klines (the same 150 bars, candles, volume and last price,
30 Hz) are shown and measured: the age of the newest update when the animation frame that shows it is made, pictures
painted, CPU of kernel and browser, bytes, DOM nodes and listeners. The kernel with nothing but the feed is the control;
another one sends as many messages as a widget and draws nothing: what it takes above the feed is Jupyter's own part.
Then plotly goes down from 60 Hz until it keeps up, a cell is run 100 times, and the widgets are measured on a server
without our extension. Figures are medians of the rounds.

    python benchmarks/widgets.py [--rounds 3] [--seconds 6] [--slow-link] [--soak MINUTES] [--json]

Ratios and counts decide; milliseconds and shares of a core are judged too, but move with the machine.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

# Run as a script; what opens notebooks is in the repository, not in the package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.live_widgets import trials
from benchmarks.live_widgets.measuring import Bench, Figures, Held, medians
from tests.browser.chromium import running_chromium
from tests.browser.laboratory import Laboratory

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
LADDER, KLINES = trials.KINDS
NAMES = {
    LADDER: "order book, 20+20",
    KLINES: "klines, 150 bars",
    trials.PLOTLY: "plotly klines, 30 Hz",
    trials.MESSAGES: "as many messages, nothing drawn",
}
CALM_NODES = 30.0  # JupyterLab itself comes and goes by some


class Gate(NamedTuple):
    """Something measured against a bound and a goal; `times` move with the machine and do not decide."""

    what: str
    value: float
    gate: float
    goal: float
    unit: str = ""
    least: bool = False
    times: bool = False

    @property
    def good(self) -> bool:
        return self.value >= self.gate if self.least else self.value <= self.gate

    def __str__(self) -> str:
        sign = "≥" if self.least else "≤"
        within = "within the gate" if self.good else "OUTSIDE THE GATE"
        bounds = f"{sign} {self.gate:g}{self.unit} (goal {sign} {self.goal:g}{self.unit})"
        return f"{self.what:<58}{self.value:8.2f}{self.unit:<5} {within} of {bounds}"


class Results(NamedTuple):
    """Everything that was measured."""

    shown: dict[str, Figures]
    held: dict[str, Figures]
    plotly_hz: float
    plotly_fps: float
    left: trials.Left | None
    slow: dict[str, tuple[float, float]]
    heap: dict[str, float]


@contextmanager
def exchange(rate: float) -> Iterator[dict[str, str]]:
    """The exchange in its own process; gives its addresses."""
    command = [sys.executable, "-m", "benchmarks.live_widgets.exchange", "--rate", str(rate)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def rounds(bench: Bench, count: int, seconds: float) -> dict[str, Figures]:
    """Each subject once in every round."""
    several: dict[str, list[Figures]] = {}
    for turn in range(count):
        for kind in NAMES:
            say(f"round {turn + 1} of {count}: {NAMES[kind]}")
            several.setdefault(kind, []).append(trials.one(bench, kind, seconds))
    return {kind: medians(found) for kind, found in several.items()}


def measure(browser: "Browser", urls: dict[str, str], options: argparse.Namespace) -> Results:
    with Laboratory() as laboratory:
        bench = Bench(laboratory, browser, urls)
        shown = rounds(bench, options.rounds, options.seconds)
        say("plotly, from 60 Hz down")
        hertz, fps = trials.sustained(bench, options.seconds)
        say("a cell that is run 100 times")
        left = trials.reruns(bench)
        slow = {kind: trials.slow_link(bench, kind) for kind in trials.KINDS} if options.slow_link else {}
        if options.soak:
            say(f"{options.soak:g} minutes of both widgets and the control")
        heap = trials.soak(bench, options.soak) if options.soak else {}
    with Held() as laboratory:
        say("without the server extension")
        bench = Bench(laboratory, browser, urls)
        held = {kind: trials.widget(bench, kind, options.seconds) for kind in trials.KINDS}
    return Results(shown, held, hertz, fps, left, slow, heap)


def gates(found: Results) -> list[Gate]:
    book, klines, plotly = (found.shown[kind] for kind in (LADDER, KLINES, trials.PLOTLY))
    judged = [
        Gate("plotly's newest → paint (p50) by that of our klines", plotly.new_p50 / klines.new_p50, 8, 10, "x", True),
    ]
    if found.plotly_fps:
        judged.append(Gate("fps of our klines by plotly's best", klines.fps / found.plotly_fps, 1.8, 1.8, "x", True))
    for kind, figures, p99, goal in ((KLINES, klines, 40, 25), (LADDER, book, 60, 35)):
        name = kind.replace("_", " ")
        judged += [
            Gate(f"{name}: fps at 60 Hz", figures.fps, 50, 54, "", True, True),
            Gate(f"{name}: newest → paint, p50", figures.new_p50, 15, 10, " ms", False, True),
            Gate(f"{name}: newest → paint, p99", figures.new_p99, p99, goal, " ms", False, True),
            Gate(f"{name}: kernel above the feed, points", figures.above * 100, 3, 2, "", False, True),
            Gate(f"{name}: DOM nodes more after warm-up", max(figures.nodes, 0), CALM_NODES, 0),
            Gate(f"{name}: listeners more after warm-up", max(figures.listeners, 0), CALM_NODES, 0),
        ]
    if found.left is not None:
        pumps = max(found.left.pumps, found.left.seats)
        judged.append(Gate("pumps left after 100 runs of a cell", pumps, 1, 1))
    for kind, (age, _) in found.slow.items():
        judged.append(Gate(f"{kind.replace('_', ' ')}: picture's age on a 40 kB/s link", age, 1.5, 0.5, " s"))
    for kind in trials.KINDS if found.heap else ():
        more = (found.heap[kind] - found.heap["control"]) / 1000
        judged.append(Gate(f"{kind.replace('_', ' ')}: heap above the control's", more, 2, 0.5, " kB/s"))
    return judged


def report(found: Results, judged: Sequence[Gate], rate: float) -> None:
    print(f"{rate:,.0f} updates a second; ages in milliseconds, CPU in percent of a core")
    print(
        f"{'':<40}{'fps':>6}{'new p50':>9}{'p99':>7}{'old p50':>9}{'kernel':>8}{'+':>6}{'browser':>9}{'B/update':>10}"
    )
    rows = {NAMES[kind]: figures for kind, figures in found.shown.items()}
    rows |= {f"{NAMES[kind]}, without the extension": figures for kind, figures in found.held.items()}
    for name, one in rows.items():
        cpu = f"{one.kernel * 100:8.1f}{one.above * 100:6.1f}{one.browser * 100:9.0f}"
        painted = f"{one.fps:6.1f}{one.new_p50:9.1f}{one.new_p99:7.0f}{one.old_p50:9.1f}" if one.fps else " " * 31
        print(f"{name:<40}{painted}{cpu}{one.bytes:10,.0f}")
    if found.plotly_fps:
        print(f"plotly keeps up with {found.plotly_hz:g} Hz and paints {found.plotly_fps:.1f} pictures a second then")
    else:
        print("plotly keeps up with no rate that was tried here, so its pictures a second are not compared")
    for kind, (age, worst) in found.slow.items():
        print(f"{NAMES[kind]} at 40 kB/s: {age:.2f} s old, at worst {worst:.2f} s")
    for kind, grown in found.heap.items():
        print(f"heap of {NAMES.get(kind, 'a notebook with a feed only')}: {grown / 1000:+.2f} kB/s")
    for gate in judged:
        print(gate)
    if not all(figures.calm for figures in rows.values()):
        others, late = (max(one) for one in zip(*((row.others, row.late_ms) for row in rows.values()), strict=True))
        print(f"This machine is busy: others take up to {others:.1f} cores, this program wakes up {late:.1f} ms late.")
        print("Only the ratios and counts tell something now.")


def say(words: str) -> None:
    print(f"  {words} …", file=sys.stderr, flush=True)


def as_json(found: Results, judged: Sequence[Gate]) -> dict[str, Any]:
    told: dict[str, Any] = found._asdict()
    for part in ("shown", "held"):
        told[part] = {kind: figures._asdict() for kind, figures in told[part].items()}
    told["left"] = found.left and found.left._asdict()
    return {**told, "gates": [{**gate._asdict(), "good": gate.good} for gate in judged]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="that everything is watched for")
    parser.add_argument("--rate", type=float, default=1_000.0, help="updates a second")
    parser.add_argument("--slow-link", action="store_true", help="also on a link of 40 kB/s")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="also how the heap grows")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if reason := Laboratory.missing():
        raise SystemExit(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that JupyterLab is stopped then too
    with exchange(options.rate) as urls, running_chromium() as browser:
        found = measure(browser, urls, options)
    judged = gates(found)
    if options.json:
        print(json.dumps(as_json(found, judged)))
    else:
        report(found, judged, options.rate)
    sys.exit(not all(gate.good or gate.times for gate in judged))


if __name__ == "__main__":
    main()
