"""From a queue into stores: whatever fails, everything is in every store in the end, and what is not is in the queue."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread, Timer
from time import monotonic, sleep
from typing import Any

import polars as pl
import pytest
from redis import Redis

from marketlab import tables
from marketlab.clock import ManualClock
from marketlab.lab.destination import Destination
from marketlab.lab.flushing import Flushed, Flusher, consumer_name
from marketlab.stores.contract import USUAL_TRIES, Batching, Queue
from marketlab.stores.dead_letters import DeadLetters
from marketlab.stores.open import open_queue
from marketlab.stores.writer import Writer

from ..servers import RedisServer
from .moody import POISON, MoodyStore, at_once, trades

PATIENCE_S = 60.0


@pytest.fixture
def queue(redis: RedisServer) -> Iterator[Queue]:
    with open_queue(f"{redis.url}?name={secrets.token_hex(6)}") as opened:
        yield opened


def fill(queue: Queue, numbers: range, size: int = 5) -> None:
    for number in numbers:
        queue.write("trades", trades(range(number * size, (number + 1) * size)))


def destination(store: MoodyStore, folder: Path) -> Destination:
    return Destination(store, store.batching, DeadLetters(folder, ManualClock()), delays=at_once)


def flush(queue: Queue, folder: Path, *stores: MoodyStore, **options: Any) -> Flushed:
    found = [destination(store, folder) for store in stores]
    wanted: dict[str, Any] = {"consumer": "a", "until_idle": 0.3, **options}
    return Flusher(queue, found, **wanted).run()


def within(true: Callable[[], object]) -> None:
    end = monotonic() + PATIENCE_S
    while not true():
        assert monotonic() < end
        sleep(0.01)


def test_every_store_gets_everything(queue: Queue, tmp_path: Path) -> None:
    stores = MoodyStore(), MoodyStore(rows=20, seconds=0.1)
    fill(queue, range(30))
    flushed = flush(queue, tmp_path, *stores)
    assert [store.ids for store in stores] == [list(range(150))] * 2
    assert (flushed.ended, flushed.batches, flushed.taken_over, flushed.unfinished) == ("idle", 30, 0, 0)
    assert (flushed.waiting, flushed.failure, flushed.consumer) == (0, "", "a")
    assert [stored.rows for stored in flushed.stores] == [{"trades": 150}] * 2
    assert queue.waiting() == 0


def test_small_batches_are_joined_to_what_the_store_likes(queue: Queue, tmp_path: Path) -> None:
    store = MoodyStore(rows=50, seconds=PATIENCE_S)
    fill(queue, range(25))
    flush(queue, tmp_path, store)
    assert store.writes == [("trades", 50), ("trades", 50), ("trades", 25)]


def test_a_batch_that_is_old_enough_waits_for_no_others(queue: Queue, tmp_path: Path) -> None:
    store = MoodyStore(rows=1_000, seconds=0.2)
    fill(queue, range(1))
    flush(queue, tmp_path, store, until_idle=None, stopping=lambda: bool(store.writes))
    assert store.ids == [0, 1, 2, 3, 4]


def test_it_ends_after_its_duration_with_all_that_it_took(queue: Queue, tmp_path: Path) -> None:
    store = MoodyStore(rows=1_000, seconds=PATIENCE_S)
    fill(queue, range(3))
    flushed = flush(queue, tmp_path, store, until_idle=None, duration=0.5)
    assert (flushed.ended, flushed.batches, len(store.ids)) == ("duration", 3, 15)


def test_told_to_stop_it_finishes_what_is_in_hand(queue: Queue, tmp_path: Path) -> None:
    store = MoodyStore(rows=1_000, seconds=PATIENCE_S)
    fill(queue, range(3))
    waiting: list[bool] = []

    def stopping() -> bool:
        # After the first look at the queue.
        waiting.append(True)
        return len(waiting) > 1

    flushed = flush(queue, tmp_path, store, until_idle=None, stopping=stopping)
    assert (flushed.ended, flushed.batches, flushed.waiting, len(store.ids)) == ("stopped", 3, 0, 15)


def test_a_store_that_stays_away_costs_nothing_but_time(queue: Queue, tmp_path: Path) -> None:
    good, dead = MoodyStore(), MoodyStore()
    dead.is_away = lambda: True
    fill(queue, range(20))
    flushed = flush(queue, tmp_path, good, dead, idle=0.5)
    assert (flushed.batches, flushed.waiting, flushed.failure) == (0, 20, "The store is away.")
    assert 0 < flushed.unfinished < 20, "it takes all there is though nothing can be stored"
    assert flushed.stores[1].failure == "The store is away."
    dead.is_away = lambda: False
    # What was given back is there at once.
    again = flush(queue, tmp_path, good, dead, consumer="b", idle=PATIENCE_S)
    assert (again.batches, again.taken_over, again.waiting) == (20, flushed.unfinished, 0)
    assert good.ids == dead.ids == list(range(100))


def test_a_store_that_comes_back_gets_everything(queue: Queue, tmp_path: Path) -> None:
    good, other = MoodyStore(), MoodyStore()
    tries: list[bool] = []

    def is_away() -> bool:
        tries.append(True)
        return len(tries) < 20

    other.is_away = is_away
    fill(queue, range(20))
    flushed = flush(queue, tmp_path, good, other, until_idle=2.0)
    assert (flushed.batches, flushed.unfinished) == (20, 0)
    assert good.ids == other.ids == list(range(100))


def test_what_a_slow_store_is_at_is_held(redis: RedisServer, tmp_path: Path) -> None:
    name, slow = secrets.token_hex(6), MoodyStore()
    results: list[Flushed] = []
    slow.open.clear()
    with open_queue(f"{redis.url}?name={name}") as queue, Redis(port=redis.port) as client:
        fill(queue, range(2))
        working = Thread(target=lambda: results.append(flush(queue, tmp_path, slow, idle=1.0)))
        working.start()
        within(lambda: slow.writes)
        idle = [0]

        def is_fresh_again() -> bool:
            idle.append(client.xpending_range(f"{name}:batches", "flush", "-", "+", 1)[0]["time_since_delivered"])
            return idle[-1] < idle[-2]

        within(is_fresh_again)
        within(is_fresh_again)
        slow.open.set()
        working.join(PATIENCE_S)
    assert (results[0].batches, slow.ids) == (2, list(range(10)))


def test_what_one_that_is_gone_has_left_is_waited_for(queue: Queue, tmp_path: Path) -> None:
    store = MoodyStore()
    fill(queue, range(4))
    assert len(queue.take("gone", rows=10, wait=0, idle=PATIENCE_S)) == 2
    flushed = flush(queue, tmp_path, store, until_idle=0.2, idle=2.0)
    assert (flushed.batches, flushed.taken_over, flushed.waiting) == (4, 2, 0)
    assert store.ids == list(range(20))


def test_a_batch_that_is_never_taken_blocks_nothing_and_stays(queue: Queue, tmp_path: Path) -> None:
    store = MoodyStore(rows=10)
    fill(queue, range(3))
    queue.write("trades", trades(range(900, 905), POISON))
    fill(queue, range(3, 6))
    more = iter(range(6, 60))

    def stopping() -> bool:
        fill(queue, range(number := next(more), number + 1))
        return number > 40

    flushed = flush(queue, tmp_path, store, until_idle=None, stopping=stopping, idle=PATIENCE_S)
    assert store.ids[:180] == list(range(180))
    assert queue.waiting() >= 1
    (left,) = [
        one
        for one in queue.take("b", rows=10_000, wait=0, idle=0)
        if one.table is not None and one.table["price"][0] == POISON
    ]
    assert left.tries == 2
    assert flushed.batches >= 40


def test_what_kills_whoever_takes_it_comes_last(queue: Queue, tmp_path: Path) -> None:
    store = MoodyStore()
    queue.write("trades", trades(range(900, 905)))
    for _ in range(USUAL_TRIES):
        queue.take("gone", rows=1, wait=0, idle=0)
    fill(queue, range(10))
    flushed = flush(queue, tmp_path, store, idle=0.1)
    assert (flushed.batches, flushed.taken_over) == (11, 1)
    assert store.writes[-1] == ("trades", 5)
    assert store.ids == [*range(50), *range(900, 905)]


def test_rows_that_a_store_refuses_are_not_in_the_way(queue: Queue, tmp_path: Path) -> None:
    store = MoodyStore()
    table = trades(range(10)).with_columns(price=pl.Series([-1.0, *[1.0] * 9]))
    queue.write("trades", table)
    flushed = flush(queue, tmp_path, store)
    assert (flushed.batches, flushed.stores[0].dead_letters, flushed.unfinished) == (1, 1, 0)
    assert store.ids == list(range(1, 10))
    assert "no price below zero" in (tmp_path / "dead_letters.jsonl").read_text()


def test_several_share_the_work(redis: RedisServer, tmp_path: Path) -> None:
    name = secrets.token_hex(6)
    stores = [MoodyStore() for _ in range(3)]
    results: dict[int, Flushed] = {}

    def work(number: int) -> None:
        with open_queue(f"{redis.url}?name={name}") as queue:
            results[number] = flush(queue, tmp_path, stores[number], consumer=consumer_name(), until_idle=1.0)

    threads = [Thread(target=work, args=(number,)) for number in range(3)]
    with open_queue(f"{redis.url}?name={name}") as queue:
        fill(queue, range(200))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert queue.waiting() == 0
    assert sum(result.batches for result in results.values()) == 200
    found = [set(store.ids) for store in stores]
    assert set.union(*found) == set(range(1_000))
    assert sum(map(len, found)) == 1_000, "two had the same batch though both were there"


def test_a_server_that_is_killed_and_comes_back_loses_nothing(redis: RedisServer, tmp_path: Path) -> None:
    with RedisServer() as server, open_queue(server.url) as queue, Redis(port=server.port) as client:
        store = MoodyStore()
        fill(queue, range(20))
        killed = Event()

        def is_away() -> bool:
            # In the middle: taken, and not acknowledged.
            if len(store.writes) == 3 and not killed.is_set():
                killed.set()
                server.kill()
                Timer(0.5, server.start).start()
            return False

        store.is_away = is_away
        flushed = flush(queue, tmp_path, store, until_idle=3.0)
        assert killed.is_set()
        assert (flushed.batches, flushed.unfinished, flushed.waiting) == (20, 0, 0)
        assert store.ids == list(range(100))
        assert client.xlen("marketlab:batches") == 0


def test_a_queue_that_stays_away_is_told_in_the_end(redis: RedisServer, tmp_path: Path) -> None:
    with RedisServer() as server, open_queue(server.url) as queue:
        store = MoodyStore()
        fill(queue, range(2))

        def is_away() -> bool:
            server.kill()
            return False

        store.is_away = is_away
        flushed = flush(queue, tmp_path, store, until_idle=None, stopping=lambda: bool(store.writes))
        assert (flushed.batches, flushed.unfinished, flushed.waiting) == (0, 2, None)
        assert "Cannot reach" in flushed.failure
        assert store.ids == list(range(10))
        server.start()
        store.is_away = lambda: False
        again = flush(queue, tmp_path, store, idle=0.1)
        assert (again.batches, again.stores[0].changed) == (2, {"trades": 0})


def test_what_a_full_queue_does_not_take_waits_in_the_spool(redis: RedisServer, tmp_path: Path) -> None:
    store = MoodyStore()
    batching = Batching(rows=20, seconds=PATIENCE_S, bytes=1_000_000)
    with open_queue(f"{redis.url}?name={secrets.token_hex(6)}&limit=50") as queue:
        with Writer(queue, spool=tmp_path / "spool", batching=batching, delays=at_once, sync_seconds=0.005) as writer:
            for start in range(0, 200, 20):
                writer.accept(tables.to_records("trades", trades(range(start, start + 20))))
                within(lambda: not writer.stats.unspooled)
            within(lambda: "is full: 40 of 50 rows wait to be stored" in writer.stats.failure)
            assert queue.waiting() == 2
            flush(queue, tmp_path, store, until_idle=None, stopping=lambda: not writer.stats.pending)
        flush(queue, tmp_path, store)
    assert store.ids == list(range(200))


def test_no_two_have_the_same_name() -> None:
    assert len({consumer_name() for _ in range(100)}) == 100
