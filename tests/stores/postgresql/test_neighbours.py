"""Several writers at once, and servers that go and come again."""

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import polars as pl
import psycopg
import pytest

from marketlab import tables
from marketlab.errors import StoreUnavailable, UsageError
from marketlab.stores.contract import Commit
from marketlab.stores.postgresql.store import PostgresStore

from ...servers import PostgresServer
from .conftest import opened

# Both write the same facts in batches of their own cut and order, and count what was new.
WRITER = """
import sys
from marketlab import tables
from marketlab.records import Gap, Kline, Quote, Trade
from marketlab.stores.open import open_store

url, step = sys.argv[1], int(sys.argv[2])
AT = 1_723_161_600_000_000
SYMBOLS = ["BTCUSDT", "ETHUSDT", "XRPUSDT"][:: 1 if step % 2 else -1]

def facts(n, symbol):
    at = AT + n * 100 + step  # told a little differently by each
    yield Trade("binance", symbol, str(n), at, 1.0, 1.0, "buy", at, "stream")
    yield Quote("binance", symbol, n, at, 1.0, 1.0, 2.0, 1.0, at, "stream")
    open_time = AT + n * 60_000_000
    yield Kline("binance", symbol, "1m", open_time, open_time + 59_999_999, *(1.0,) * 6, 1, 1.0, 1.0, True, AT, "stream")
    yield Gap("binance", symbol, "trade", AT + n, AT + n + 1, None, None, "hole", None, None, AT, "stream")

new = {}
with open_store(url) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(0, 2_000, step):
        numbers = range(start, min(start + step, 2_000))
        records = [fact for n in numbers for symbol in SYMBOLS for fact in facts(n, symbol)]
        for name, table in tables.to_tables(records).items():
            new[name] = new.get(name, 0) + store.write(name, table)
print(*(new[name] for name in sorted(new)))
"""


def test_two_processes_write_the_same_at_once(either: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, either, step], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for step in ("333", "500")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    said = []
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        said.append([int(word) for word in writer.communicate(timeout=120)[0].split()])
        assert writer.returncode == 0
    # What one did not count the other one did: nothing is there twice, and nobody was in a ring.
    assert [one + other for one, other in zip(*said, strict=True)] == [6_000] * 4
    with opened(either) as store:
        for name in ("trades", "quotes", "klines", "gaps"):
            found = store.read(name)
            assert found.height == found.select(tables.spec(name).key).n_unique() == 6_000


def test_many_threads_share_a_store(either: str, rows: Any) -> None:
    said: list[int] = []
    with opened(either) as store:

        def write(part: int) -> None:
            table = tables.to_table("trades", rows.trades(range(part * 50, part * 50 + 100)))
            said.append(store.write("trades", table))

        threads = [threading.Thread(target=write, args=(part,)) for part in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sum(said) == 550
        assert store.read("trades").height == 550


def test_connections_are_given_back(url: str, sql: Callable[[str], list[Any]], rows: Any) -> None:
    ours = "select count(*) from pg_stat_activity where application_name = 'given back'"
    with opened(f"{url}&application_name=given%20back") as store:
        store.write("trades", tables.to_table("trades", rows.trades(range(10))))
        for _ in range(5):
            assert sum(part.height for part in store.batches("trades", rows=2)) == 10
            assert store.scan("trades").collect().height == 10
            with pytest.raises(UsageError):
                store.query("select nothing")
        wait_for(lambda: sql(ours) == [(1,)])
    wait_for(lambda: sql(ours) == [(0,)])


def wait_for(done: Callable[[], bool]) -> None:
    deadline = monotonic() + 60
    while not done():
        assert monotonic() < deadline
        threading.Event().wait(0.02)


def test_a_restarted_server_is_found_again(mortal: PostgresServer, rows: Any) -> None:
    with opened(f"{mortal.url}?schema=again") as store:
        store.write("trades", tables.to_table("trades", rows.trades(range(10))))
        for _ in range(2):
            mortal.restart()
            assert store.read("trades").height == 10
        mortal.kill()
        for use in (lambda: store.read("trades"), lambda: store.write("trades", store_table(rows))):
            with pytest.raises(StoreUnavailable, match="nothing listens"):
                use()
        mortal.start()
        assert store.write("trades", store_table(rows)) == 1


def store_table(rows: Any) -> pl.DataFrame:
    return tables.to_table("trades", [rows.trade(10)])


def test_a_server_that_stops_in_the_middle_of_an_answer(mortal: PostgresServer, rows: Any) -> None:
    with opened(f"{mortal.url}?schema=middle") as store:
        store.write("trades", tables.to_table("trades", rows.trades(range(2))))
        with psycopg.connect(mortal.url, autocommit=True) as connection:
            connection.execute(
                "insert into middle.trades select 1, lpad((10 + n)::text, 300, '0'), '2024-08-10Z'::timestamptz + n * interval '1 ms', 1, 1, 'buy', now(), 'stream' "
                "from generate_series(1, 200000) n"
            )
        pieces = store.batches("trades", rows=1_000)
        assert next(pieces).height == 1_000
        mortal.kill()
        with pytest.raises(StoreUnavailable, match=str(mortal.port)):
            list(pieces)
        mortal.start()
        assert store.coverage("trades")[0].rows == 200_002


def test_kill_9_of_the_server_while_writing_loses_and_doubles_nothing(mortal: PostgresServer, rows: Any) -> None:
    parts = [tables.to_table("trades", rows.trades(range(start, start + 300))) for start in range(0, 30_000, 300)]
    killed = [threading.Event() for _ in range(3)]
    done: list[int] = []
    broken: list[str] = []

    def deliver(store: PostgresStore) -> None:
        for segment, part in enumerate(parts):
            # Never through before all the kills are.
            assert segment % 25 or not 0 < segment // 25 <= len(killed) or killed[segment // 25 - 1].wait(60)
            while segment not in done:
                try:
                    store.write("trades", part, Commit("writer", segment))
                    done.append(segment)
                except StoreUnavailable as error:
                    broken.append(str(error))
                    threading.Event().wait(0.02)

    def reached(count: int) -> bool:
        return len(done) >= count

    with opened(f"{mortal.url}?schema=killed") as store:
        writer = threading.Thread(target=deliver, args=(store,), daemon=True)
        writer.start()
        for number, event in enumerate(killed):
            wait_for(partial(reached, number * 25 + 10))
            mortal.kill()
            event.set()
            mortal.start()
        writer.join(120)
        assert done == list(range(len(parts)))
        assert broken
        assert all("\n" not in words for words in broken)
        assert store.read("trades").equals(pl.concat(parts))
