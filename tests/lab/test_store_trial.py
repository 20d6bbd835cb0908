from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from redis import Redis

from marketlab import tables
from marketlab.errors import StoreDenied, StoreError, StoreUnavailable, UsageError
from marketlab.lab.store_trial import sample, try_out
from marketlab.stores.contract import Commit
from marketlab.stores.memory import MemoryStore
from marketlab.stores.open import open_queue, open_store

from ..servers import RedisServer
from ..stores.places import PLACES

NOW = 1_723_161_612_345_678


def test_every_row_of_the_sample_is_marked_and_fits_its_table() -> None:
    rows = sample(NOW)
    assert {"trades", "klines", "quotes", "book_snapshots", "gaps"} == set(rows)
    for name, table in rows.items():
        tables.check(name, table)
        assert set(table.get_column("origin")) == {"simulated"}
        assert set(table.get_column("exchange")) == {"marketlab"}


@pytest.mark.parametrize("kind", PLACES)
def test_a_store_that_works_gives_the_sample_back_and_is_as_it_was(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    with PLACES[kind](request, tmp_path) as opened:
        trial = try_out("store://user:secret@place", opened, now=NOW)
        assert trial.failure is None, trial.failure
        assert [step.step for step in trial.steps] == ["connect", "write", "read", "delete"]
        assert all(step.ms >= 0 for step in trial.steps)
        assert {name: table.rows() for name, table in trial.found.items()} == {
            name: table.rows() for name, table in sample(NOW).items()
        }
        with opened() as store:
            assert all(not store.coverage(name) for name in tables.TABLES)


def test_a_queue_that_works_hands_the_sample_out_and_nobody_else_sees_it(redis: RedisServer) -> None:
    with Redis(port=redis.port) as client:
        before = sorted(client.keys())
        trial = try_out(redis.url, lambda: open_queue(redis.url), now=NOW)
        assert trial.failure is None, trial.failure
        assert [step.step for step in trial.steps] == ["connect", "write", "take", "acknowledge", "delete"]
        assert all(table.equals(trial.found[name]) for name, table in sample(NOW).items())
        assert sorted(client.keys()) == before


def test_what_cannot_be_opened_is_told_with_its_step_and_without_secrets() -> None:
    url = "oracle://user:secret@place"
    trial = try_out(url, lambda: open_store(url), now=NOW)
    assert (trial.url, trial.failed, trial.steps) == ("oracle://place", "connect", [])
    assert isinstance(trial.failure, UsageError)


class Faulty(MemoryStore):
    """A store whose sandboxes do something wrong; it keeps count of those that are open."""

    def __init__(
        self, *, fault: Callable[[str, pl.DataFrame], pl.DataFrame], removes: bool = True, is_box: bool = False
    ) -> None:
        super().__init__()
        self._fault, self._removes = fault, removes
        self._is_box = is_box
        self.boxes: list[Faulty] = []

    def sandbox(self) -> "Faulty":
        self.boxes.append(Faulty(fault=self._fault, removes=self._removes, is_box=True))
        return self.boxes[-1]

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        return super().write(name, self._fault(name, table), commit)

    def close(self) -> None:
        if self._is_box and not self._removes:
            raise StoreUnavailable("It is gone.")
        super().close()

    @property
    def is_closed(self) -> bool:
        with suppress(StoreUnavailable):
            self.coverage("trades")
            return False
        return True


def denied(name: str, table: pl.DataFrame) -> pl.DataFrame:
    raise StoreDenied("The token may not write.")


def rounded(name: str, table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("price").round(1)) if name == "trades" else table


def cut_off(name: str, table: pl.DataFrame) -> pl.DataFrame:
    return table.head(1)


def without_levels(name: str, table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("bids").list.head(1)) if name == "book_snapshots" else table


@pytest.mark.parametrize(
    ("fault", "step", "kind", "words"),
    [
        (denied, "write", StoreDenied, "The token may not write."),
        (rounded, "read", StoreError, "price of row 0 of trades came back as 60000.0 instead of 60000.01"),
        (cut_off, "read", StoreError, "1 rows of trades came back instead of 2"),
        (without_levels, "read", StoreError, "bids of row 0 of book_snapshots came back as"),
    ],
)
def test_a_fault_is_named_with_its_step_and_nothing_is_left_behind(
    fault: Any, step: str, kind: Any, words: str
) -> None:
    store = Faulty(fault=fault)
    trial = try_out("memory://", lambda: store, now=NOW)
    assert trial.failed == step
    assert isinstance(trial.failure, kind)
    assert words in str(trial.failure)
    assert [box.is_closed for box in store.boxes] == [True]
    assert trial.left == ""


def test_a_sample_that_cannot_be_removed_is_told() -> None:
    store = Faulty(fault=denied, removes=False)
    trial = try_out("memory://", lambda: store, now=NOW)
    assert trial.failed == "write"
    assert trial.left == "It is gone."
