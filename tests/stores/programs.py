"""Programs that the tests run in processes of their own: `programs.py <what> <folder> <number>`."""

import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl

from marketlab.errors import StoreUnavailable
from marketlab.records import Kline, Quote, Record, Trade
from marketlab.stores.contract import Batching, Commit
from marketlab.stores.delta import DeltaStore
from marketlab.stores.writer import Writer

MIDNIGHT = 1_723_161_600_000_000


def fact(number: int) -> list[Record]:
    at = MIDNIGHT + number * 1_000
    quote = Quote("binance", "BTCUSDT", number, at, 1.0, 2.0, 3.0, 4.0, at, "stream")
    facts: list[Record] = [Trade("binance", "BTCUSDT", str(number), at, 1.0, 0.5, "buy", at, "stream"), quote]
    if number % 10 == 0:
        start = MIDNIGHT + number * 6_000_000
        prices = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1.0)
        facts.append(Kline("binance", "ETHUSDT", "1m", start, start + 59_999_999, *prices, True, at, "stream"))
    return facts


def batches(count: int) -> Iterator[list[Record]]:
    for start in range(0, count, 10):
        yield [record for number in range(start, start + 10) for record in fact(number)]


def write(folder: Path, count: int) -> None:
    """A collector in a hurry: tiny segments, early compaction."""
    batching = Batching(rows=100, seconds=0.2, bytes=1_000_000)
    with DeltaStore(folder, small_files=5) as store, Writer(store, batching=batching, sync_seconds=0.005) as writer:
        for batch in batches(count):
            writer.accept(batch)
            time.sleep(0.005)
        writer.flush()


class LateStore(DeltaStore):
    """Does not answer at first, so that much waits for it."""

    tries = 0

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self.tries += 1
        if self.tries == 1:
            time.sleep(1.0)
            raise StoreUnavailable("The store is late.")
        return super().write(name, table, commit)


def write_late(folder: Path, count: int) -> None:
    """A collector whose store comes late: what waits is handed over together, in several loads."""
    batching = Batching(rows=20, seconds=0.2, bytes=1_000_000, most=300)
    with LateStore(folder, small_files=5) as store, Writer(store, batching=batching, sync_seconds=0.005) as writer:
        for batch in batches(count):
            writer.accept(batch)
            time.sleep(0.005)
        writer.flush()


def watch(folder: Path, count: int) -> None:
    """Reads until everything is there; dies of the first thing that is not as it should be."""
    seen = reads = 0
    # A store object of its own, as a notebook has it.
    with DeltaStore(folder) as store:
        while seen < count:
            trades = store.read("trades", symbol="BTCUSDT" if seen else None)
            quotes = store.read("quotes", symbol="BTCUSDT" if seen else None)
            for ids in (trades["trade_id"].cast(int).to_list(), quotes["update_id"].to_list()):
                assert ids == list(range(len(ids))), "rows are missing or doubled"
                assert len(ids) % 10 == 0, "a torn batch"
                assert len(ids) >= seen, "rows went missing"
            assert len(quotes) >= len(trades), "read later, but less of it"
            seen, reads = len(trades), reads + 1
    print(reads)


def adopt(folder: Path, count: int) -> None:
    """The next collector: takes over what the last one left, in other loads than the last one made."""
    batching = msgspec.structs.replace(DeltaStore.batching, most=170)
    with DeltaStore(folder, small_files=5) as store, Writer(store, batching=batching) as writer:
        report = writer.close()
        assert not report.pending, report
        assert not report.segments, report


def accept_in_the_end(writer: Writer, number: int) -> None:
    for _ in range(1_000):
        try:
            return writer.accept(fact(number))
        except StoreUnavailable:
            time.sleep(0.01)
    raise AssertionError("it does not go on though there is room")


def full(folder: Path, count: int) -> None:
    """A disk that fills up and is emptied, played by a limit of file sizes; a larger one is no failure, as files end there."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with DeltaStore(folder) as store:
        writer = Writer(store, sync_seconds=0.005, backlog=2_000)
        writer.accept(fact(0))
        writer.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, limits[1]))
        taken = 1
        try:
            while taken < 5_000:
                writer.accept(fact(taken))
                taken += 1
                time.sleep(0.0001)
        except StoreUnavailable as error:
            print(error)
        try:
            writer.flush()
        except StoreUnavailable as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        accept_in_the_end(writer, taken)
        report = writer.close()
        assert (report.pending, report.failure) == (0, ""), report
        ids = store.read("trades")["trade_id"].cast(int).to_list()
        assert ids == list(range(taken + 1)), "rows are missing or doubled"


if __name__ == "__main__":
    what, place, number = sys.argv[1:]
    {"write": write, "write_late": write_late, "watch": watch, "adopt": adopt, "full": full}[what](
        Path(place), int(number)
    )
