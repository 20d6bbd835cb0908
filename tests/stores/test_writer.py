"""The writer against a store that can be made to fail: everything arrives, once, or somebody is told."""

import json
import logging
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import polars as pl
import pytest

from marketlab.clock import ManualClock
from marketlab.errors import StoreDenied, StoreUnavailable, UsageError, WriteRejected
from marketlab.records import Trade
from marketlab.stores.contract import Batching, Commit
from marketlab.stores.memory import MemoryStore
from marketlab.stores.spool import read_segment, segments
from marketlab.stores.waiting import Load
from marketlab.stores.writer import Writer, backoff

LARGE = Batching(rows=1_000_000, seconds=3600.0, bytes=1_000_000_000)


def at_once() -> Iterator[float]:
    while True:
        yield 0.001


class MoodyStore(MemoryStore):
    """Fails as often as it is told to, refuses prices below zero, and remembers what it was handed."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures
        self.commits: list[tuple[str, Commit | None]] = []
        self.open = Event()
        self.open.set()

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self.open.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("The store is away.")
        if "price" in table.columns:
            bad = table.select((pl.col("price") < 0).arg_true()).to_series().to_list()
            if bad:
                raise WriteRejected("no price below zero", rows=bad)
        self.commits.append((name, commit))
        return super().write(name, table, commit)


def dead_letters(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "dead_letters.jsonl").read_text().splitlines()]


def test_flush_means_that_everything_is_in_the_store(tmp_path: Path, rows: Any) -> None:
    store = MoodyStore()
    with Writer(store, spool=tmp_path, batching=LARGE) as writer:
        writer.accept(rows.trades(range(100)))
        writer.accept([rows.quote(1), rows.kline(1)])
        report = writer.flush()
        assert store.read("trades").height == 100
        assert report.rows == {"trades": 100, "quotes": 1, "klines": 1}
        assert (report.accepted, report.pending, report.failure) == (102, 0, "")
        writer.accept(rows.trades(range(90, 110)))
        assert writer.flush().changed["trades"] == 110
    assert segments(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_store_without_a_place_for_a_spool_gets_a_temporary_one(rows: Any) -> None:
    store = MemoryStore()
    with Writer(store) as writer:
        assert writer.spool.is_dir()
        writer.accept(iter(rows.trades(range(5))))
    assert store.read("trades").height == 5
    assert not writer.spool.exists()


@pytest.mark.parametrize(
    "batching", [Batching(10, 3600.0, 1_000_000_000), Batching(1_000_000, 3600.0, 100)], ids=["rows", "bytes"]
)
def test_a_full_batch_goes_to_the_store_by_itself(tmp_path: Path, rows: Any, batching: Batching) -> None:
    store = MoodyStore()
    with Writer(store, spool=tmp_path, batching=batching, sync_seconds=0.01) as writer:
        writer.accept(rows.trades(range(25)))
        wait_until(lambda: writer.stats.pending == 0)
        assert writer.stats.flushes == 1


def test_an_old_batch_goes_to_the_store_by_itself(tmp_path: Path, rows: Any) -> None:
    clock = ManualClock()
    store = MoodyStore()
    batching = Batching(1_000_000, 10.0, 1_000_000_000)
    with Writer(store, spool=tmp_path, batching=batching, clock=clock, sync_seconds=0.01) as writer:
        writer.accept(rows.trades(range(25)))
        wait_until(lambda: bool(segments(tmp_path)) and len(read_segment(segments(tmp_path)[0]).records) == 25)
        assert writer.stats.flushes == 0

        def later() -> bool:
            # Again and again: the batch's age may not have begun to be counted yet.
            clock._elapsed += 11.0
            return writer.stats.pending == 0

        wait_until(later)


def test_a_store_that_was_away_gets_everything_once_and_in_order(tmp_path: Path, rows: Any) -> None:
    store = MoodyStore(failures=5)
    with Writer(store, spool=tmp_path, batching=LARGE, delays=at_once) as writer:
        for start in range(0, 100, 10):
            writer.accept(rows.trades(range(start, start + 10)))
            with_patience(writer)
        assert store.read("trades").height == 100
        numbers = [commit.segment for _, commit in store.commits if commit]
        assert numbers == sorted(set(numbers))
        assert writer.failed is None


def test_flush_says_what_is_missing_and_nothing_is_lost(tmp_path: Path, rows: Any) -> None:
    store = MoodyStore(failures=1_000_000)
    writer = Writer(store, spool=tmp_path, batching=LARGE, delays=at_once)
    writer.accept(rows.trades(range(10)))
    with pytest.raises(StoreUnavailable, match=r"10 records are not in memory:// yet\. The store is away"):
        writer.flush()
    assert str(writer.failed) == "The store is away."
    assert writer.stats.pending == 10
    report = writer.close(timeout=1.0)
    assert (report.pending, report.segments) == (10, 1)
    assert report.failure == "The store is away."
    assert writer.close() == report

    store.failures = 0
    with Writer(store, spool=tmp_path, batching=LARGE) as second:
        assert second.stats.adopted <= 1
    assert store.read("trades").height == 10
    assert segments(tmp_path) == []
    writer_id = store.commits[0][1]
    assert writer_id is not None
    assert writer_id.segment == 1


def test_what_waits_behind_a_store_that_is_away_waits_on_the_disk(tmp_path: Path, rows: Any) -> None:
    store = MoodyStore()
    store.open.clear()
    batching = Batching(10, 3600.0, 1_000_000_000)
    with Writer(store, spool=tmp_path, batching=batching, sync_seconds=0.005) as writer:
        for start in range(0, 100, 10):
            writer.accept(rows.trades(range(start, start + 10)))
            expected = start // 10 + 1
            wait_until(lambda expected=expected: writer.stats.segments == expected)
        assert writer._waiting.in_memory == 2
        store.open.set()
    assert store.read("trades").height == 100


def test_a_living_writers_spool_is_left_alone(tmp_path: Path, rows: Any) -> None:
    away, here = MoodyStore(failures=1_000_000), MoodyStore()
    first = Writer(away, spool=tmp_path, batching=LARGE, delays=at_once)
    first.accept(rows.trades(range(10)))
    with pytest.raises(StoreUnavailable):
        first.flush()
    with Writer(here, spool=tmp_path) as second:
        assert second.stats.adopted == 0
    assert here.read("trades").is_empty()
    assert first.close(timeout=0.5).pending == 10


def test_refused_rows_go_to_the_dead_letters_with_the_stores_words(tmp_path: Path, rows: Any) -> None:
    store = MoodyStore()
    with Writer(store, spool=tmp_path, batching=LARGE) as writer:
        writer.accept([rows.trade(1), rows.trade(2, price=-1.0), rows.trade(3), rows.trade(4, price=-2.0)])
        report = writer.flush()
    assert store.read("trades").get_column("trade_id").to_list() == ["1", "3"]
    assert (report.dead_letters, report.pending, report.rows) == (2, 0, {"trades": 2})
    letters = dead_letters(tmp_path)
    assert [letter["record"][3] for letter in letters] == ["2", "4"]
    assert {letter["reason"] for letter in letters} == {"no price below zero"}
    assert {letter["table"] for letter in letters} == {"trades"}


def test_records_of_wrong_kinds_leave_the_others_alone(tmp_path: Path, rows: Any) -> None:
    store = MoodyStore()
    odd: list[Any] = [
        Trade("binance", "BTCUSDT", "5", rows.midnight, "dear", 1.0, "buy", 0, "stream"),  # type: ignore[arg-type]
        Trade("binance", "BTCUSDT", "6", 2**80, 1.0, 1.0, "buy", 0, "stream"),
        {"not": "a record"},
        object(),
    ]
    with Writer(store, spool=tmp_path, batching=LARGE) as writer:
        writer.accept([rows.trade(1), *odd, rows.trade(2)])
        report = writer.flush()
    assert store.read("trades").get_column("trade_id").to_list() == ["1", "2"]
    assert (report.dead_letters, report.pending) == (4, 0)
    assert len(dead_letters(tmp_path)) == 4


def test_a_closed_writer_takes_nothing(tmp_path: Path, rows: Any) -> None:
    writer = Writer(MoodyStore(), spool=tmp_path)
    writer.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        writer.accept(rows.trades(range(1)))


@pytest.mark.parametrize("policy", ["stop", "drop"])
def test_the_disk_limit_stops_or_drops(tmp_path: Path, rows: Any, policy: Any) -> None:
    store = MoodyStore()
    store.open.clear()
    writer = Writer(
        store,
        spool=tmp_path,
        batching=Batching(10, 3600.0, 1_000_000_000),
        sync_seconds=0.005,
        backlog=50,
        spool_bytes=2_000,
        when_full=policy,
    )

    def fill() -> None:
        for start in range(0, 1_000, 10):
            writer.accept(rows.trades(range(start, start + 10)))
            wait_until(lambda: not writer._pending or writer.failed is not None)

    if policy == "stop":
        with pytest.raises(StoreUnavailable, match="reached its limit of 2,000 bytes"):
            fill()
    else:
        fill()
    store.open.set()
    report = writer.close()
    assert (report.accepted == 1_000, report.dropped > 0) == (policy == "drop", policy == "drop")
    assert store.read("trades").height == report.accepted - report.dropped


def test_pauses_grow_to_a_ceiling() -> None:
    pauses = backoff(0.5, 4.0, chance=lambda: 1.0)
    assert [next(pauses) for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert next(backoff(1.0, chance=lambda: 0.0)) == 0.5


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    tick = Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        tick.wait(0.01)
    pytest.fail("it did not come to pass")


def with_patience(writer: Writer) -> None:
    for _ in range(10):
        try:
            writer.flush()
        except StoreUnavailable:
            continue
        return
    pytest.fail("the store never came back")


def test_an_internal_error_is_told_to_whoever_uses_the_writer(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(load: Load) -> None:
        raise ZeroDivisionError("a bug")

    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    writer = Writer(MoodyStore(), spool=tmp_path, batching=LARGE)
    monkeypatch.setattr(writer._waiting, "done", broken)
    writer.accept(rows.trades(range(3)))
    with pytest.raises(StoreUnavailable, match=r"3 records are not in memory:// yet\. .*internal error.*a bug"):
        writer.flush()
    with pytest.raises(StoreUnavailable, match="internal error"):
        writer.accept(rows.trades(range(3)))
    assert writer.has_stopped
    assert writer.close().pending == 3
    assert len(told) == 1
    with Writer(MoodyStore(), spool=tmp_path) as second:
        assert second.close().rows == {"trades": 3}


def test_dead_letters_that_cannot_be_kept_keep_their_segment(tmp_path: Path, rows: Any) -> None:
    letters = tmp_path / "dead_letters.jsonl"
    letters.mkdir()
    store = MoodyStore()
    with Writer(store, spool=tmp_path, batching=LARGE, delays=at_once) as writer:
        writer.accept([rows.trade(1), rows.trade(2, price=-1.0)])
        with pytest.raises(StoreUnavailable, match=r"Cannot write to .*dead_letters"):
            writer.flush()
        letters.rmdir()
        with_patience(writer)
        assert writer.stats.dead_letters == 1
    assert store.read("trades").height == 1


class UnwillingStore(MemoryStore):
    """Says what it was told to say, as long as there is something; remembers how large its batches were."""

    def __init__(self, *answers: Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.tries = 0
        self.sizes: list[int] = []

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self.tries += 1
        if self.answers:
            raise self.answers.pop(0)
        self.sizes.append(table.height)
        return super().write(name, table, commit)


def an_hour() -> Iterator[float]:
    while True:
        yield 3600.0


def test_a_store_is_left_alone_for_as_long_as_it_asks(tmp_path: Path, rows: Any) -> None:
    clock = ManualClock()
    store = UnwillingStore(StoreUnavailable("Too busy.", retry_after=60.0))
    with Writer(store, spool=tmp_path, batching=LARGE, clock=clock, delays=at_once) as writer:
        writer.accept(rows.trades(range(5)))
        with pytest.raises(StoreUnavailable, match=r"5 records are not in .* yet\. Too busy\."):
            writer.flush(timeout=30.0)
        assert (store.tries, writer.stats.tries) == (1, 1)
        clock._elapsed += 59.0
        with pytest.raises(StoreUnavailable, match="Too busy"):
            writer.flush(timeout=0.3)
        assert store.tries == 1
        clock._elapsed += 2.0
        wait_until(lambda: writer.stats.pending == 0)
        assert (writer.stats.failure, writer.stats.tries) == ("", 0)


def test_whoever_is_asked_to_wait_for_long_still_ends_at_once(tmp_path: Path, rows: Any) -> None:
    store = UnwillingStore(*[StoreUnavailable("Too busy.", retry_after=86_400.0)] * 3)
    writer = Writer(store, spool=tmp_path, batching=LARGE)
    writer.accept(rows.trades(range(5)))
    wait_until(lambda: writer.stats.pending == 5)
    began = monotonic()
    report = writer.close(timeout=600.0)
    assert monotonic() - began < 60.0
    assert (report.pending, report.unspooled, report.failure) == (5, 0, "Too busy.")
    assert store.tries == 1


def test_closing_does_not_wait_for_the_end_of_a_pause(tmp_path: Path, rows: Any) -> None:
    store = UnwillingStore(StoreUnavailable("The store is away."))
    with Writer(store, spool=tmp_path, batching=Batching(5, 3600.0, 1_000_000_000), delays=an_hour) as writer:
        writer.accept(rows.trades(range(6)))
        wait_until(lambda: writer.failed is not None)
        assert writer.close().pending == 0
    assert store.tries == 2


def test_an_outage_is_a_warning_and_told_once(tmp_path: Path, rows: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="marketlab")
    with Writer(MoodyStore(failures=2), spool=tmp_path, batching=LARGE, delays=at_once) as writer:
        writer.accept(rows.trades(range(6)))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "The store is away. It will be tried again; what comes waits in the spool."),
        ("INFO", "memory:// takes records again."),
    ]


def test_a_denial_is_told_once_and_tried_slowly_until_somebody_mends_it(
    tmp_path: Path, rows: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="marketlab")
    clock = ManualClock()
    store = UnwillingStore(*[StoreDenied("The token is wrong: set INFLUXDB_TOKEN.")] * 3)
    batching = Batching(5, 3600.0, 1_000_000_000)
    with Writer(store, spool=tmp_path, batching=batching, clock=clock, delays=at_once) as writer:
        writer.accept(rows.trades(range(6)))
        wait_until(lambda: writer.stats.tries == 1)
        for tries in (2, 3):
            clock._elapsed += 29.0
            assert not Event().wait(0.3)
            assert writer.stats.tries == tries - 1
            clock._elapsed += 2.0
            wait_until(lambda tries=tries: writer.stats.tries == tries)
        assert writer.stats.failure == "The token is wrong: set INFLUXDB_TOKEN."
        clock._elapsed += 31.0
        wait_until(lambda: writer.stats.pending == 0)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "The token is wrong: set INFLUXDB_TOKEN. It will be tried again; what comes waits in the spool.",
        ),
        ("INFO", "memory:// takes records again."),
    ]


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a bug"), KeyError("a bug"), UsageError("a bug"), OSError("a bug")]
)
def test_what_no_store_should_raise_is_told_once_and_tried_again_slowly(
    tmp_path: Path, rows: Any, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    store = UnwillingStore(error, error)
    with Writer(store, spool=tmp_path, batching=LARGE, clock=clock, delays=at_once) as writer:
        writer.accept(rows.trades(range(6)))
        with pytest.raises(StoreUnavailable, match=rf"6 records .* yet\. .*{type(error).__name__}: .*a bug"):
            writer.flush(timeout=600.0)
        for tries in (2, 0):
            clock._elapsed += 31.0
            wait_until(lambda tries=tries: writer.stats.tries == tries)
        assert writer.flush().rows == {"trades": 6}
    assert len([message for message in caplog.messages if "a bug" in message]) == 1


def test_flush_says_at_once_that_a_store_denies(tmp_path: Path, rows: Any) -> None:
    store = UnwillingStore(*[StoreDenied("The token is wrong.")] * 100)
    with Writer(store, spool=tmp_path, batching=LARGE) as writer:
        writer.accept(rows.trades(range(6)))
        began = monotonic()
        with pytest.raises(StoreUnavailable, match=r"6 records are not in .* yet\. The token is wrong"):
            writer.flush(timeout=600.0)
        assert writer.close(timeout=600.0).pending == 6
        assert monotonic() - began < 60.0


def test_what_waits_is_handed_over_together_up_to_what_the_store_likes_at_most(tmp_path: Path, rows: Any) -> None:
    store = UnwillingStore(StoreUnavailable("The store is away."))
    batching = Batching(10, 3600.0, 1_000_000_000, most=50)
    with Writer(store, spool=tmp_path, batching=batching, delays=an_hour, sync_seconds=0.005) as writer:
        for start in range(0, 200, 10):
            writer.accept(rows.trades(range(start, start + 10)))
            expected = start // 10 + 1
            wait_until(lambda expected=expected: writer.stats.segments == expected)
        report = writer.flush()
        assert (report.flushes, report.segments) == (len(store.sizes), 0)
    assert store.sizes == [10, 50, 50, 50, 40]
    assert store.read("trades").get_column("trade_id").to_list() == [str(number) for number in range(200)]


def test_running_klines_come_with_each_batch_and_count_for_nothing(tmp_path: Path, rows: Any) -> None:
    store, running = MemoryStore(), [rows.kline(1, closed=False, count=3)]
    with Writer(store, spool=tmp_path, batching=LARGE, running=lambda: running) as writer:
        writer.accept(rows.trades(range(2)))
        report = writer.flush()
        assert (report.accepted, report.pending, report.rows) == (2, 0, {"trades": 2, "klines": 1})
        running[:] = [rows.kline(1, closed=False, count=9)]
        writer.accept(rows.trades(range(2, 3)))
        writer.flush()
        klines = store.read("klines", include_open=True)
        assert klines.get_column("trade_count").to_list() == [9]
        running.clear()
        writer.accept([rows.kline(1, count=10)])
    assert store.read("klines").get_column("trade_count").to_list() == [10]


@pytest.mark.parametrize("policy", ["stop", "drop"])
def test_a_limit_that_a_burst_exceeds_delays_a_healthy_store_and_loses_nothing(
    tmp_path: Path, rows: Any, policy: Any
) -> None:
    store = MoodyStore()
    with Writer(
        store, spool=tmp_path, batching=LARGE, sync_seconds=0.005, spool_bytes=2_000, when_full=policy
    ) as writer:
        for start in range(0, 2_000, 100):
            writer.accept(rows.trades(range(start, start + 100)))
        wait_until(lambda: store.read("trades").height == 2_000)
        report = writer.flush()
    assert (report.pending, report.dropped, report.failure) == (0, 0, "")


class FailingDisk:
    """What `Spool.append` is while it fails, or does not answer."""

    def __init__(self, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
        self._append = writer._intake._spool.append
        self.is_full = self.asked = False
        self.answers = Event()
        self.answers.set()
        monkeypatch.setattr(writer._intake._spool, "append", self)

    def __call__(self, records: Any) -> None:
        self.asked = True
        self.answers.wait()
        if self.is_full:
            raise StoreUnavailable("The disk is full.")
        self._append(records)


def test_what_a_disk_took_before_it_failed_is_stored(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MoodyStore()
    with Writer(store, spool=tmp_path, batching=LARGE, sync_seconds=0.005) as writer:
        writer.accept(rows.trades(range(10)))
        wait_until(lambda: not writer.stats.unspooled)
        disk = FailingDisk(writer, monkeypatch)
        disk.is_full = True
        writer.accept(rows.trades(range(10, 20)))
        wait_until(lambda: store.read("trades").height == 10)
        assert writer.stats.failure == "The disk is full."
        disk.is_full = False
    assert store.read("trades").height == 20


def test_a_flush_that_is_asked_for_while_the_disk_fails_is_not_forgotten(
    tmp_path: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Writer(MoodyStore(), spool=tmp_path, batching=LARGE, sync_seconds=0.005) as writer:
        disk = FailingDisk(writer, monkeypatch)
        disk.is_full = True
        disk.answers.clear()
        writer.accept(rows.trades(range(10)))
        wait_until(lambda: disk.asked)
        flushing = threading.Thread(target=writer.flush, args=(600.0,), daemon=True)
        flushing.start()
        wait_until(lambda: writer._hurry)
        disk.answers.set()
        wait_until(lambda: writer.failed is not None)
        disk.is_full = False
        flushing.join(20.0)
        assert not flushing.is_alive()
        assert writer.stats.rows == {"trades": 10}


def test_running_klines_stay_within_the_limit_of_the_spool(tmp_path: Path, rows: Any) -> None:
    store = MoodyStore()
    store.open.clear()
    asked = count(1)

    def running() -> list[Any]:
        now = next(asked)
        return [rows.kline(number, closed=False, count=now) for number in range(10)]

    def size() -> int:
        return sum(path.stat().st_size for path in segments(tmp_path))

    batching = Batching(1_000_000, 0.0, 1_000_000_000)
    writer = Writer(store, spool=tmp_path, batching=batching, sync_seconds=0.001, spool_bytes=5_000, running=running)
    wait_until(lambda: size() >= 5_000)
    assert not Event().wait(0.5)
    assert size() < 10_000
    store.open.set()
    writer.close()
