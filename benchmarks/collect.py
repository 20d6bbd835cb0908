"""From socket to stored row: what `marketlab collect` costs, and that it stores everything.

A local exchange in one process plays a tape, looped to half a million frames, as fast as its client reads; the
collector in another one stores it in a Delta table. Counted is the collector's CPU time, user and system, start-up
included, and its peak of resident memory. Another start-up, of a collector that gets nothing, tells what remains for
the frames. A short run before the first round is not counted. At the end every store is read: trades and quotes without
a missing id, book updates, each minute's kline against the trades, book snapshots.

    python benchmarks/collect.py [TAPE] [--loop 9] [--rounds 3] [--json]
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marketlab import tapes

if TYPE_CHECKING:
    from marketlab.stores.contract import Store

ROOT = Path(__file__).resolve().parents[1]
TAPE = ROOT.parent / "shared" / "data" / "binance_spot" / "btcusdt_20240809.gz"
PROGRAM = (sys.executable, "-m", "marketlab")
CHANNELS = {"trade": "trades", "bookTicker": "quotes", "depth@100ms": "book_updates"}
IDLE_S = 3

GATE, GOAL = 25_000, 40_000
LARGEST_MB = 400.0


class Tape(NamedTuple):
    """What is on a tape: its symbol and the frames of each table."""

    path: Path
    symbol: str
    frames: Counter[str]

    def sent(self, loop: int) -> Counter[str]:
        """Frames by table when it is played `loop` times: between two rounds one depth frame takes the book back."""
        return Counter(
            {name: count * loop + (name == "book_updates") * (loop - 1) for name, count in self.frames.items()}
        )


class Run(NamedTuple):
    """One collector: CPU seconds, peak of resident memory, and its own summary."""

    cpu: float
    peak_mb: float
    summary: dict[str, Any]

    @property
    def frames(self) -> int:
        return int(self.summary["frames"])


def look_through(path: Path) -> Tape:
    streams = Counter(
        line.frame[11 : line.frame.find(b'"', 11)] for line in tapes.read(path) if line.frame.startswith(b'{"stream"')
    )
    symbols = {stream.partition(b"@")[0].decode().upper() for stream in streams}
    if len(symbols) != 1:
        raise SystemExit(f"{path} holds {len(symbols)} symbols; name a tape of one.")
    counts = {
        CHANNELS[channel]: streams[stream]
        for stream in streams
        if (channel := stream.decode().partition("@")[2]) in CHANNELS
    }
    return Tape(path, symbols.pop(), Counter(counts))


@contextmanager
def exchange(tape: Tape, *options: str) -> Iterator[Sequence[str]]:
    """A local exchange in its own process; gives the options that point a collector to it."""
    command = [*PROGRAM, "exchange", "--tape", str(tape.path), "--speed", "max", "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            where = json.loads(process.stdout.readline())
            yield "--ws-url", where["ws_url"], "--rest-url", where["rest_url"]
        finally:
            process.send_signal(signal.SIGINT)


def collect(tape: Tape, store: Path, *options: str) -> Run:
    command = [*PROGRAM, "collect", tape.symbol, "--channels", "trade,quote,book,kline_1m", "--json", *options]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MARKETLAB_")}
    with subprocess.Popen(
        [*command, "--store", f"delta://{store}"], stdout=subprocess.PIPE, env=settings, cwd=store.parent
    ) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"The collector ended with {process.returncode}.")
    return Run(used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, json.loads(told))


def started(tape: Tape, folder: Path) -> Run:
    """A collector that gets nothing."""
    with exchange(tape, "--start-after", "3600") as where:
        return collect(tape, folder / "started", *where, "--duration", "0.1")


def played(tape: Tape, store: Path, loop: int) -> Run:
    with exchange(tape, "--loop", str(loop)) as where:
        return collect(tape, store, *where, "--until-idle", str(IDLE_S))


def missing(tape: Tape, loop: int, run: Run, path: Path) -> Iterator[str]:
    """Everything that is not as it was sent, in words."""
    from marketlab import open_store

    sent, summary = tape.sent(loop), run.summary
    for name in ("unreadable", "reconnects", "gaps"):
        if summary[name]:
            yield f"{summary[name]} {name}"
    book = summary["symbols"][tape.symbol]["book"]
    # A tape without a snapshot leaves two comparisons open, and its book is taken back before its quotes are.
    if not book["compared"] or book["compared"] - book["equal"] > 3 * loop:
        yield f"the book was equal to the quotes {book['equal']} times of {book['compared']}"
    (kept,) = summary["stores"]
    with open_store(f"delta://{path}") as store:
        for name, count in sent.items():
            if kept["rows"].get(name) != count:
                yield f"{kept['rows'].get(name)} of {count} {name} acknowledged"
            stored = store.scan(name).select("symbol").collect().height
            if stored != count:
                yield f"{stored} of {count} {name} stored"
        yield from _holes(store, sent)


def _holes(store: "Store", sent: Counter[str]) -> Iterator[str]:
    import polars as pl

    ids = store.scan("trades").select(pl.col("trade_id").cast(pl.Int64)).collect().to_series().sort()
    if ids.n_unique() != sent["trades"] or ids[-1] - ids[0] + 1 != sent["trades"]:
        yield "trade ids are not contiguous"
    if store.scan("quotes").select(pl.col("update_id").n_unique()).collect().item() != sent["quotes"]:
        yield "quotes are not told apart by their ids"
    minute = pl.col("time").dt.truncate("1m").alias("open_time")
    traded = store.scan("trades").group_by(minute).agg(pl.len().cast(pl.Int64).alias("trade_count")).sort("open_time")
    full = traded.collect().upsample("open_time", every="1m").fill_null(0)[1:-1]
    if not store.read("klines").select("open_time", "trade_count").equals(full):
        yield "klines are not those of the trades"
    minutes = store.scan("book_updates").select(pl.col("time").dt.truncate("1m").n_unique()).collect().item()
    snapshots = store.scan("book_snapshots").select(pl.len()).collect().item()
    if snapshots != minutes:
        yield f"{snapshots} book snapshots in {minutes} minutes"


def measure(tape: Tape, loop: int, rounds: int, folder: Path) -> tuple[list[Run], float, list[str]]:
    played(tape, folder / "warm-up", 1)
    idle, runs = [], []
    for number in range(rounds):
        idle.append(started(tape, folder).cpu)
        runs.append(played(tape, folder / str(number), loop))
    # Only now, since a child's peak of memory begins with that of its parent, and this needs polars.
    faults = [fault for number, run in enumerate(runs) for fault in missing(tape, loop, run, folder / str(number))]
    return runs, statistics.median(idle), faults


def report(tape: Tape, loop: int, runs: list[Run], idle: float, faults: list[str], *, as_json: bool) -> bool:
    rate = statistics.median(run.frames / run.cpu for run in runs)
    net = statistics.median(run.frames / (run.cpu - idle) for run in runs)
    wall = statistics.median(run.frames / (run.summary["seconds"] - IDLE_S) for run in runs)
    peak = max(run.peak_mb for run in runs)
    rows = runs[-1].summary["stores"][0]["rows"]
    book = runs[-1].summary["symbols"][tape.symbol]["book"]
    good = not faults and rate >= GATE and peak <= LARGEST_MB
    if as_json:
        told: dict[str, float] = {"frames": runs[-1].frames, "rounds": len(runs), "frames_per_cpu_second": round(rate)}
        told |= {
            "without_start_up": round(net),
            "start_up_cpu_seconds": round(idle, 3),
            "frames_per_second": round(wall),
        }
        print(json.dumps({**told, "peak_mb": round(peak), "rows": rows, "book": book, "missing": faults, "good": good}))
        return good
    print(f"{runs[-1].frames:,} frames a round, {len(runs)} rounds; medians, and the highest peak")
    print(f"{rate:10,.0f} frames per CPU-second: {passed(rate >= GATE)} of {GATE:,}, goal {GOAL:,}")
    print(f"{net:10,.0f} frames per CPU-second without the start-up of {idle:.2f} CPU-seconds")
    print(f"{wall:10,.0f} frames per second")
    print(f"{peak:10,.0f} MB at its peak: {passed(peak <= LARGEST_MB)} of {LARGEST_MB:.0f} MB")
    print(f"stored: {', '.join(f'{count:,} {name}' for name, count in rows.items())}")
    print(f"the book was equal to the exchange's quotes {book['equal']:,} times of {book['compared']:,}")
    print("nothing is missing" if not faults else f"MISSING: {'; '.join(faults)}")
    return good


def passed(good: bool) -> str:
    return "within the gate" if good else "OUTSIDE THE GATE"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tape", nargs="?", type=Path, default=TAPE)
    parser.add_argument("--loop", type=int, default=9, help="how often the tape is played in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not options.tape.is_file():
        raise SystemExit(f"There is no tape {options.tape}; name one with @trade, @bookTicker and @depth frames.")
    tape = look_through(options.tape.resolve())
    with tempfile.TemporaryDirectory() as folder:
        runs, idle, faults = measure(tape, options.loop, options.rounds, Path(folder))
    sys.exit(not report(tape, options.loop, runs, idle, faults, as_json=options.json))


if __name__ == "__main__":
    main()
