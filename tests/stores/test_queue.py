"""The behaviour that every queue promises, run for every queue that exists."""

import shutil
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any, NoReturn

import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import StoreUnavailable, UsageError, WriteRejected
from marketlab.stores.contract import Commit, Queue, Taken
from marketlab.stores.open import open_sink, open_store, queue_schemes

from ..servers import RedisServer
from .queues import LIMIT, QUEUES, TlsServer

Absent = Callable[[str, str], NoReturn]
LONG = 600.0


@pytest.fixture(scope="module")
def redis_tls(absent: Absent) -> Iterator[TlsServer]:
    reason = TlsServer.missing() or (None if shutil.which("openssl") else "openssl is not installed")
    if reason is not None:
        absent(TlsServer.part, reason)
    with TlsServer() as server:
        yield server


@pytest.fixture(params=QUEUES)
def open_again(request: pytest.FixtureRequest) -> Iterator[Callable[[], Queue]]:
    with QUEUES[request.param](request) as opened:
        yield opened


@pytest.fixture
def queue(open_again: Callable[[], Queue]) -> Iterator[Queue]:
    with open_again() as opened:
        yield opened


def trades(rows: Any, numbers: range, symbol: str = "BTCUSDT") -> pl.DataFrame:
    return tables.to_table("trades", rows.trades(numbers, symbol))


def take(
    queue: Queue, consumer: str = "a", *, rows: int = 10_000, wait: float = 0.0, idle: float = LONG
) -> list[Taken]:
    return queue.take(consumer, rows=rows, wait=wait, idle=idle)


def ids(taken: list[Taken]) -> list[int]:
    found = []
    for one in taken:
        assert one.table is not None
        assert one.rows == one.table.height
        found += one.table["trade_id"].cast(int).to_list()
    return found


def test_the_suite_covers_every_queue() -> None:
    assert set(QUEUES) == set(queue_schemes())


def test_an_empty_queue_hands_out_nothing(queue: Queue) -> None:
    assert queue.waiting() == 0
    assert take(queue, wait=0.3) == []
    queue.acknowledge([])
    assert queue.write("trades", tables.empty("trades")) == 0
    assert queue.waiting() == 0


def test_every_table_comes_out_as_it_went_in(queue: Queue, rows: Any) -> None:
    records = [
        rows.trade(1),
        rows.quote(1),
        rows.kline(1, closed=False),
        rows.snapshot(1),
        rows.gap(1),
        rows.gap(2, healed=True),
    ]
    found = tables.to_tables(records)
    for name, table in found.items():
        assert queue.write(name, table) == table.height
    taken = take(queue)
    assert [one.name for one in taken] == list(found)
    assert [one.tries for one in taken] == [1] * len(found)
    for one in taken:
        assert one.table is not None
        assert one.table.equals(found[one.name])
        assert one.table.schema == found[one.name].schema


def test_what_is_acknowledged_is_gone_and_nothing_else(queue: Queue, rows: Any) -> None:
    for start in (0, 10, 20):
        queue.write("trades", trades(rows, range(start, start + 10)))
    first, second, third = take(queue)
    queue.acknowledge([first, third])
    assert queue.waiting() == 1
    queue.acknowledge([first])
    assert ids(take(queue, "b", idle=0)) == ids([second])


def test_batches_are_taken_up_to_the_rows_that_are_wanted(queue: Queue, rows: Any) -> None:
    for start in range(0, 60, 10):
        queue.write("trades", trades(rows, range(start, start + 10)))
    assert ids(take(queue, rows=25)) == list(range(30))
    assert ids(take(queue, rows=1)) == list(range(30, 40))
    assert ids(take(queue)) == list(range(40, 60))


def test_several_share_the_batches(open_again: Callable[[], Queue], rows: Any) -> None:
    with open_again() as queue, open_again() as other:
        for start in range(0, 40, 10):
            queue.write("trades", trades(rows, range(start, start + 10)))
        mine, theirs = take(queue, "a", rows=20), take(other, "b", rows=20)
        assert ids(mine) == list(range(20))
        assert ids(theirs) == list(range(20, 40))
        queue.acknowledge(mine)
        assert queue.waiting() == 2


def test_who_waits_gets_what_comes(open_again: Callable[[], Queue], rows: Any) -> None:
    found: list[Taken] = []
    with open_again() as queue, open_again() as writing:
        waiting = Thread(target=lambda: found.extend(take(queue, wait=30)))
        waiting.start()
        writing.write("trades", trades(rows, range(3)))
        waiting.join()
    assert ids(found) == [0, 1, 2]


def test_what_nobody_acknowledges_is_taken_over_first(queue: Queue, rows: Any) -> None:
    queue.write("trades", trades(rows, range(10)))
    gone = take(queue, "a")
    queue.write("trades", trades(rows, range(10, 20)))
    (fresh,) = take(queue, "b", idle=LONG)
    queue.acknowledge([fresh])
    queue.write("trades", trades(rows, range(20, 30)))
    (again,) = take(queue, "b", rows=5, wait=30, idle=0)
    assert (again.id, again.consumer, again.tries) == (gone[0].id, "b", 2)
    queue.acknowledge([again])
    # Whoever seemed to be gone may come to its end too.
    queue.acknowledge(gone)
    assert queue.waiting() == 1


def test_what_is_held_is_not_taken_over(queue: Queue, rows: Any) -> None:
    queue.write("trades", trades(rows, range(10)))
    held = take(queue, "a")
    # As if nobody had heard of it for a day.
    queue.give_back(held)
    queue.hold(held)
    assert take(queue, "b", idle=LONG) == []
    taken_over = take(queue, "b", idle=0)
    queue.hold(held)
    assert ids(taken_over) == ids(held)
    assert take(queue, "a", idle=LONG) == []


def test_what_is_given_back_is_had_at_once(queue: Queue, rows: Any) -> None:
    queue.write("trades", trades(rows, range(10)))
    queue.give_back(take(queue, "a"))
    (again,) = take(queue, "b", idle=LONG)
    assert again.tries == 2


def test_what_nobody_gets_done_blocks_nothing(queue: Queue, rows: Any) -> None:
    queue.write("trades", trades(rows, range(2)))
    for tries in (1, 2, 3):
        assert [one.tries for one in take(queue, f"consumer-{tries}", idle=0)] == [tries]
    queue.write("trades", trades(rows, range(10, 12)))
    queue.write("trades", trades(rows, range(20, 22)))
    good = take(queue, "a", idle=0)
    assert ids(good) == [10, 11, 20, 21]
    queue.acknowledge(good)
    (last,) = take(queue, "a", idle=0)
    assert (ids([last]), last.tries) == ([0, 1], 4)


def test_a_full_queue_takes_nothing_and_loses_nothing(queue: Queue, rows: Any) -> None:
    queue.write("trades", trades(rows, range(600)))
    for _ in range(2):
        with pytest.raises(
            StoreUnavailable, match=r"is full: 600 of 1,000 rows wait to be stored; run marketlab flush\."
        ):
            queue.write("trades", trades(rows, range(600, 1_001)))
    queue.write("trades", trades(rows, range(600, LIMIT)))
    taken = take(queue)
    with pytest.raises(StoreUnavailable, match="is full"):
        queue.write("quotes", tables.to_table("quotes", [rows.quote(1)]))
    queue.acknowledge(taken[:1])
    assert queue.write("trades", trades(rows, range(2_000, 2_600))) == 600
    assert ids(taken) == list(range(LIMIT))
    assert ids(take(queue)) == list(range(2_000, 2_600))


def test_a_batch_larger_than_the_queue_is_taken_alone(queue: Queue, rows: Any) -> None:
    queue.write("trades", trades(rows, range(1)))
    large = trades(rows, range(25_000))
    with pytest.raises(StoreUnavailable, match="is full"):
        queue.write("trades", large)
    queue.acknowledge(take(queue))
    assert queue.write("trades", large) == 25_000
    taken = take(queue, rows=25_000)
    assert len(taken) > 1, "one flusher gets it all"
    assert ids(taken) == list(range(25_000))


def test_the_limit_holds_while_many_write_at_once(open_again: Callable[[], Queue], rows: Any) -> None:
    taken: list[int] = []

    def write(number: int) -> None:
        with open_again() as queue:
            for part in range(10):
                start = number * 1_000 + part * 100
                try:
                    taken.append(queue.write("trades", trades(rows, range(start, start + 70))))
                except StoreUnavailable:
                    continue

    threads = [Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_again() as queue:
        assert sum(taken) == 980
        assert len(ids(take(queue))) == 980


def test_a_batch_that_is_handed_over_again_is_in_it_once(queue: Queue, rows: Any) -> None:
    first, second = trades(rows, range(10)), trades(rows, range(10, 20))
    assert queue.write("trades", first, Commit("w", 1)) == 10
    assert queue.write("trades", first, Commit("w", 1)) == 0
    # Parts of one segment have one commit.
    assert queue.write("trades", second, Commit("w", 1)) == 10
    assert queue.write("trades", first, Commit("v", 1)) == 10
    assert queue.write("quotes", tables.to_table("quotes", [rows.quote(1)]), Commit("w", 1)) == 1
    assert queue.write("trades", second, Commit("w", 2)) == 10
    assert queue.waiting() == 5


def test_what_is_no_fact_is_refused_with_its_place(queue: Queue, rows: Any) -> None:
    table = trades(rows, range(5)).with_columns(price=pl.Series([1.0, float("nan"), 1.0, None, 1.0]))
    with pytest.raises(WriteRejected) as refused:
        queue.write("trades", table)
    assert refused.value.rows == (3,)
    with pytest.raises(UsageError, match="Unknown table"):
        queue.write("orders", table)
    with pytest.raises(WriteRejected, match="no column price"):
        queue.write("trades", table.drop("price"))
    assert queue.waiting() == 0


def test_a_sandbox_lies_apart_and_vanishes(open_again: Callable[[], Queue], rows: Any) -> None:
    with open_again() as queue:
        with queue.sandbox() as box:
            assert box.write("trades", trades(rows, range(3)), Commit("w", 1)) == 3
            assert take(queue) == []
            assert ids(take(box)) == [0, 1, 2]
        assert queue.sandbox().waiting() == 0
        assert queue.waiting() == 0


def test_a_closed_one_says_so(queue: Queue, rows: Any) -> None:
    queue.close()
    queue.close()
    for act in (lambda: queue.write("trades", trades(rows, range(1))), lambda: take(queue), queue.waiting):
        with pytest.raises(StoreUnavailable, match="is closed; open it again"):
            act()


def test_it_is_a_sink_and_no_store(redis: RedisServer) -> None:
    with open_sink(redis.url) as sink:
        assert sink.spool is None
        assert sink.url == redis.url
    with pytest.raises(UsageError, match="redis:// is a queue, and a store is wanted here"):
        open_store(redis.url)
