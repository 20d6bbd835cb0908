"""Reads a store in a loop while it is written: `reading.py <url> <file>`; ends after the read that follows the file's birth.

Dies of the first thing that is not as it should be; in the end it prints what it has seen, as JSON.
"""

import json
import random
import sys
import time
from pathlib import Path

import polars as pl

from marketlab import open_store
from marketlab.stores.contract import Store

SYMBOL = "BTCUSDT"
ORDER = {"trades": "trade_id", "quotes": "update_id", "book_updates": "last_id", "klines": "open_time"}


class Reader:
    """What was seen of each table. Whatever comes later is behind it, and nothing of it ever changes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.seen: dict[str, pl.DataFrame] = {}
        self.reads = 0
        self.grown = 0
        self.chance = random.Random(1)

    def read_all(self) -> None:
        for name in ORDER:
            self.grow(name, self.store.read(name))
            self.grow(name, self.store.read(name, symbol="btc/usdt" if name in self.seen else None))
            if name in self.seen:
                self.read_a_part(name)
        self.grow("trades", pl.concat([self.seen["trades"].clear(), *self.store.batches("trades", rows=1_000)]))

    def grow(self, name: str, table: pl.DataFrame) -> None:
        self.reads += 1
        if table.is_empty() and name not in self.seen:
            return
        # The time of a quote is ours, so its order is told by its id.
        table = table.sort(pl.col(ORDER[name]).cast(pl.Int64))
        before = self.seen.get(name, table.clear())
        assert table.head(before.height).equals(before), f"something that was seen of {name} is missing or changed"
        self.grown += table.height > before.height
        self.seen[name] = table
        ids = table.get_column(ORDER[name]).cast(pl.Int64)
        assert ids.is_unique().all(), f"a row of {name} is there twice"
        if name == "trades":
            assert ids.to_list() == list(range(ids.item(0), ids.item(-1) + 1)), "a torn batch of trades"
        if name == "book_updates":
            assert (table["first_id"][1:] == table["last_id"][:-1] + 1).all(), "a torn batch of book updates"

    def read_a_part(self, name: str) -> None:
        time = "open_time" if name == "klines" else "time"
        seen = self.seen[name]
        moments = seen.get_column(time)
        start, end = sorted(self.chance.choices(moments, k=2))
        expected = seen.filter(pl.col(time) >= start, pl.col(time) < end)
        columns = [ORDER[name], "received", "origin"]
        found = self.store.read(name, symbol=SYMBOL, start=start, end=end, columns=columns)
        found = found.sort(pl.col(ORDER[name]).cast(pl.Int64))
        assert found.equals(expected.select(columns)), f"a part of {name} is not what was seen"
        self.reads += 1


def main(url: str, stop: Path) -> None:
    began = time.monotonic()
    last = False
    # A store object of its own, as a notebook has it.
    with open_store(url) as store:
        reader = Reader(store)
        while True:
            last = stop.exists()
            if Path(url.removeprefix("delta://"), "trades").exists() or reader.seen:
                reader.read_all()
            if last:
                break
            time.sleep(0.02)
    rows = {name: table.height for name, table in reader.seen.items()}
    print(json.dumps({"reads": reader.reads, "grown": reader.grown, "rows": rows, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
