"""Delta history against plain `write_deltalake`: small commits, reads after them, upserts, memory, live files.

Commits of 500 klines of 1, 50 and 500 symbols go by turns into a plain table (by its path, no partitions, no upkeep) and
into a store, so that a busy moment hits both; medians and their ratios. A store writes only what is new: it looks each
row up, the plain table does not. Reads are of one symbol, by a store that was just opened, as another process would; they
are judged after 1,000 commits and where the table has other symbols too.
Upserts are 500 rows of one symbol, half of them better than what is stored and half new, against a plain merge.

    python benchmarks/delta.py [--full]
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from deltalake import DeltaTable, write_deltalake

from marketlab import tables
from marketlab.stores.delta import DeltaStore

SYMBOLS, ROWS, START = (1, 50, 500), 500, 1_700_000_040_000_000
SMALL, FULL = (200, 1_000_000), (1_000, 5_000_000)
APPEND, GROWTH, READ, UPSERT, MEMORY_MB = 0.4, 1.5, 0.25, 10.0, 300.0
SYMBOL = "COIN000USDT"
KEY = tables.spec("klines").key


def klines(first: int, rows: int, symbols: int, *, count: int = 10) -> pl.DataFrame:
    """Rows `first` and on of an endless table in which each minute has one row of every symbol."""
    place = np.arange(first, first + rows)
    start = START + place // symbols * 60_000_000
    price = 100 + np.random.default_rng(first).normal(0, 0.05, rows).cumsum()
    names = np.array([f"COIN{number:03d}USDT" for number in range(symbols)])
    numbers = pl.DataFrame({"price": price, "open_time": start, "symbol": names[place % symbols]})
    given = {
        "exchange": pl.lit("binance"),
        "symbol": pl.col("symbol"),
        "interval": pl.lit("1m"),
        "open_time": pl.col("open_time"),
        "close_time": pl.col("open_time") + 59_999_999,
        "trade_count": pl.lit(count),
        "closed": pl.lit(True),
        "received": pl.col("open_time") + 60_000_000,
        "origin": pl.lit("stream"),
    }
    schema = tables.spec("klines").schema
    return numbers.select(given.get(name, pl.col("price")).cast(kind).alias(name) for name, kind in schema.items())


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def median_of(work: Callable[[], object], rounds: int = 5) -> float:
    return statistics.median(seconds(work) for _ in range(rounds))


class Goals:
    """Prints a figure beside its goal, and remembers whether all were met."""

    def __init__(self) -> None:
        self.good = True

    def tell(self, what: str, figure: str, goal: str, *, met: bool, counts: bool = True) -> None:
        self.good &= met or not counts
        verdict = ("met" if met else "MISSED") if counts else "not judged here"
        print(f"  {what:<38}{figure:>12}   {goal:<18}{verdict}")


class Appended(NamedTuple):
    """Seconds of each commit."""

    plain: list[float]
    ours: list[float]

    def ratio(self) -> float:
        return statistics.median(self.ours) / statistics.median(self.plain)


def appended(folder: Path, store: DeltaStore, symbols: int, commits: int) -> Appended:
    taken = Appended([], [])
    for number in range(commits):
        batch = klines(number * ROWS, ROWS, symbols)
        taken.plain.append(seconds(partial(write_deltalake, folder / "plain", batch, mode="append")))
        taken.ours.append(seconds(partial(store.write, "klines", batch)))
    return taken


def fifths(taken: list[float]) -> list[float]:
    size = len(taken) // 5
    return [1_000 * statistics.median(taken[at : at + size]) for at in range(0, 5 * size, size)]


def told(name: str, taken: list[float]) -> None:
    shown = " ".join(f"{fifth:.1f}" for fifth in fifths(taken))
    middle, mean, top = statistics.median(taken), statistics.mean(taken), max(taken)
    print(f"  {name:<10} p50 {middle * 1e3:6.1f} ms  mean {mean * 1e3:6.1f}  most {top * 1e3:6.0f}  by fifths {shown}")


def plain_read(folder: Path) -> pl.DataFrame:
    return pl.scan_delta(folder / "plain").filter(pl.col("symbol") == SYMBOL).collect()


def fresh_read(folder: Path) -> pl.DataFrame:
    return DeltaStore(folder / "store").read("klines", symbol=SYMBOL)


def commits_of(symbols: int, commits: int, goals: Goals) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = DeltaStore(folder / "store")
        taken = appended(folder, store, symbols, commits)
        print(f"{commits:,} commits of {ROWS} rows of {symbols} symbols")
        told("plain", taken.plain)
        told("ours", taken.ours)
        goals.tell("append, p50 to plain", f"{taken.ratio():.2f}x", f"at most {APPEND}x", met=taken.ratio() <= APPEND)
        growth = fifths(taken.ours)[-1] / fifths(taken.ours)[0]
        goals.tell("last fifth to the first", f"{growth:.2f}x", f"at most {GROWTH}x", met=growth <= GROWTH)
        read(folder, store, symbols, commits, goals)
        counted(folder, store)


def read(folder: Path, store: DeltaStore, symbols: int, commits: int, goals: Goals) -> None:
    rows = fresh_read(folder).height
    if rows != plain_read(folder).height or store.read("klines").height != commits * ROWS:
        raise SystemExit("Rows are missing or doubled.")
    plain, ours = median_of(partial(plain_read, folder)), median_of(partial(fresh_read, folder))
    kept = median_of(partial(store.read, "klines", symbol=SYMBOL))
    print(f"  {rows:,} rows of a symbol: plain {plain * 1e3:.1f} ms, ours {ours * 1e3:.1f}, kept open {kept * 1e3:.1f}")
    # Of a table of one symbol the answer is all of it: what it takes to decode that is the same for both.
    is_judged, met = commits >= FULL[0] and symbols > 1, ours <= READ * plain
    goals.tell("one symbol, to plain", f"{ours / plain:.2f}x", f"at most {READ}x", met=met, counts=is_judged)


def counted(folder: Path, store: DeltaStore) -> None:
    stage = folder / "store" / "_recent" / "klines"
    plain, ours = (len(DeltaTable(folder / name).file_uris()) for name in ("plain", "store/klines"))
    waiting = len(DeltaTable(stage).file_uris()) if stage.exists() else 0
    took = seconds(store.close)
    after = len(DeltaTable(folder / "store" / "klines").file_uris())
    print(
        f"  live files: plain {plain:,}, ours {ours:,} and {waiting} that wait; {after:,} when closed, in {took:.2f} s"
    )


def filled(folder: Path, rows: int) -> DeltaStore:
    store, piece = DeltaStore(folder / "store"), rows // 10
    for first in range(0, rows, piece):
        batch = klines(first, piece, 50)
        write_deltalake(folder / "plain", batch, mode="append")
        store.write("klines", batch)
    return store


def merged(folder: Path, batch: pl.DataFrame) -> None:
    merging = DeltaTable(folder / "plain").merge(
        batch,
        " AND ".join(f"held.{column} = batch.{column}" for column in KEY),
        source_alias="batch",
        target_alias="held",
    )
    merging.when_matched_update_all().when_not_matched_insert_all().execute()


def upserts(rows: int, goals: Goals) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = filled(folder, rows)
        plain, ours = [], []
        for turn in range(3):
            # The last 250 minutes of one symbol told better, and the 250 after them.
            told_better = klines(rows - 50 * 250, 50 * 500, 50, count=11)
            batch = told_better.filter(pl.col("symbol") == f"COIN{turn:03d}USDT")
            plain.append(seconds(partial(merged, folder, batch)))
            ours.append(seconds(partial(store.write, "klines", batch)))
        if store.read("klines", start=START + rows // 50 * 60_000_000 - 250 * 60_000_000).height != 50 * 250 + 3 * 250:
            raise SystemExit("Rows are missing or doubled.")
        middle, other = statistics.median(plain), statistics.median(ours)
        print(f"upsert of 500 rows into {rows:,}: plain merge {middle:.2f} s, ours {other:.3f} s")
        met = middle / other >= UPSERT
        goals.tell("upsert, times as fast", f"{middle / other:.1f}x", f"at least {UPSERT:.0f}x", met=met)
        counted(folder, store)
        program = [sys.executable, __file__, "--read", str(folder / "store")]
        read, grown = subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()
        what = f"{int(read):,} rows in batches"
        goals.tell(what, f"+{float(grown):.0f} MB", f"below {MEMORY_MB:.0f} MB", met=float(grown) < MEMORY_MB)


def peak_mb() -> float:
    # Not getrusage, whose peak begins with that of the parent process.
    (found,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) / 1_000


def read_in_batches(folder: Path) -> None:
    """In a process of its own: rows read, and by how many MB its peak grew meanwhile."""
    with DeltaStore(folder) as store:
        store.read("klines", symbol=SYMBOL, end=START + 60_000_000)
        before, rows = peak_mb(), 0
        for table in store.batches("klines"):
            rows += table.height
        print(rows, peak_mb() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--full", action="store_true", help="1,000 commits and 5 million rows instead of 200 and 1 million"
    )
    parser.add_argument("--commits", type=int, help="another number of commits")
    parser.add_argument("--symbols", type=int, nargs="*", default=SYMBOLS, help="of one commit: 1, 50 and 500")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read_in_batches(options.read)
        return
    commits, rows = FULL if options.full else SMALL
    goals = Goals()
    for symbols in options.symbols:
        commits_of(symbols, options.commits or commits, goals)
    upserts(rows, goals)
    sys.exit(not goals.good)


if __name__ == "__main__":
    main()
