from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.errors import StoreDenied, StoreUnavailable, WriteRejected
from marketlab.lab.patience import PAUSES_S, Patient, moment
from marketlab.records import Trade
from marketlab.stores.contract import Commit, Coverage
from marketlab.stores.memory import MemoryStore

START = 1_723_161_600_000_000


def trades(numbers: range) -> pl.DataFrame:
    # Two share each moment.
    return tables.to_table(
        "trades",
        [
            Trade("binance", "BTCUSDT", str(number), START + number // 2, 1.0, 1.0, "buy", START, "stream")
            for number in numbers
        ],
    )


class Flaky(MemoryStore):
    """A store that does not answer, or breaks off behind the first piece, as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: list[StoreUnavailable] = []
        self.breaking = 0

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        if self.failing:
            raise self.failing.pop()
        return super().write(name, table, commit)

    def coverage(self, name: str, *, symbol: str | None = None) -> list[Coverage]:
        if self.failing:
            raise self.failing.pop()
        return super().coverage(name, symbol=symbol)

    def batches(self, name: str, **question: Any) -> Iterator[pl.DataFrame]:
        for batch in super().batches(name, **question):
            yield batch
            if self.breaking:
                self.breaking -= 1
                raise StoreUnavailable("It broke off.")


def nobody(rows: pl.DataFrame, reason: str) -> None:
    raise AssertionError("nothing is refused here")


def test_what_never_answered_is_told_at_once() -> None:
    store, pauses = Flaky(), list[float]()
    store.failing = [StoreUnavailable("It is away.")]
    with pytest.raises(StoreUnavailable, match="It is away"):
        Patient(store, pauses.append).coverage("trades", [])
    assert pauses == []


def test_what_has_answered_is_waited_for_as_it_asks() -> None:
    store, pauses = Flaky(), list[float]()
    patient = Patient(store, pauses.append)
    patient.coverage("trades", [])
    store.failing = [StoreUnavailable("It is away."), StoreUnavailable("It is busy.", retry_after=7.5)]
    assert patient.write("trades", trades(range(3)), nobody) == 3
    assert pauses == [7.5, PAUSES_S[1]]


@pytest.mark.parametrize(("asked", "pauses"), [(0.0, PAUSES_S), (86_400.0, (3_600.0,) * len(PAUSES_S))])
def test_a_store_may_ask_for_a_longer_pause_within_reason(asked: float, pauses: tuple[float, ...]) -> None:
    store, waited = Flaky(), list[float]()
    patient = Patient(store, waited.append)
    patient.coverage("trades", [])
    store.failing = [StoreUnavailable("It is busy.", retry_after=asked)] * 10
    with pytest.raises(StoreUnavailable, match="It is busy"):
        patient.write("trades", trades(range(3)), nobody)
    assert tuple(waited) == pauses


def test_patience_ends_and_a_denial_is_told_at_once() -> None:
    store, pauses = Flaky(), list[float]()
    patient = Patient(store, pauses.append)
    patient.coverage("trades", [])
    store.failing = [StoreUnavailable("It is away.")] * 10
    with pytest.raises(StoreUnavailable, match="It is away"):
        patient.write("trades", trades(range(3)), nobody)
    assert tuple(pauses) == PAUSES_S
    store.failing = [StoreDenied("No.")]
    with pytest.raises(StoreDenied, match="No"):
        patient.coverage("trades", ["BTCUSDT"])
    assert tuple(pauses) == PAUSES_S


def test_an_answer_that_breaks_off_goes_on_without_doubles() -> None:
    store, pauses = Flaky(), list[float]()
    store.write("trades", trades(range(31)))
    store.breaking = 4
    # Three a piece: some pieces end between two trades of one moment.
    found = pl.concat(Patient(store, pauses.append).batches("trades", START, START + 20, rows=3))
    assert found.equals(trades(range(31)))
    assert pauses == [PAUSES_S[0]] * 4


def test_one_moment_may_be_longer_than_a_piece_that_breaks_off() -> None:
    store = Flaky()
    table = trades(range(31)).with_columns(pl.col("time").max())
    store.write("trades", table)
    found = list[pl.DataFrame]()
    for batch in Patient(store, lambda seconds: None).batches("trades", START, START + 20, rows=3):
        # Each time behind the third piece of an answer.
        store.breaking = int(len(found) in (2, 5))
        found.append(batch)
    assert pl.concat(found).equals(tables.in_order("trades", table))


def test_both_ends_belong_to_the_question_and_an_unknown_symbol_has_no_rows() -> None:
    store = MemoryStore()
    store.write("trades", trades(range(10)))
    patient = Patient(store, lambda seconds: None)
    (found,) = patient.batches("trades", START + 1, START + 3)
    assert found.get_column("trade_id").to_list() == ["2", "3", "4", "5", "6", "7"]
    assert list(patient.batches("trades", None, None, symbol="ETHUSDT")) == []
    assert moment(START).isoformat() == "2024-08-09T00:00:00+00:00"


class Choosy(MemoryStore):
    """Refuses trades whose number ends in 7; says which, or not."""

    def __init__(self, *, says_which: bool) -> None:
        super().__init__()
        self._says_which = says_which

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        bad = table.select(pl.col("trade_id").str.ends_with("7").arg_true()).to_series().to_list()
        if bad:
            raise WriteRejected("It does not like sevens.", rows=bad if self._says_which else ())
        return super().write(name, table, commit)


@pytest.mark.parametrize("says_which", [True, False])
def test_what_is_refused_stands_alone_and_the_rest_is_stored(says_which: bool) -> None:
    store = Choosy(says_which=says_which)
    refused: list[str] = []
    patient = Patient(store, lambda seconds: None)

    def note(rows: pl.DataFrame, reason: str) -> None:
        assert reason == "It does not like sevens."
        refused.extend(rows.get_column("trade_id"))

    assert patient.write("trades", trades(range(40)), note) == 36
    assert sorted(refused) == ["17", "27", "37", "7"]
    assert store.read("trades").height == 36


class Refusing(MemoryStore):
    """Takes nothing, and does not say why not; or nothing more, once it has taken something."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = self.taking = 0

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        self.asked += 1
        if self.taking:
            self.taking -= 1
            return super().write(name, table, commit)
        raise WriteRejected("It is of another type.")


def test_a_store_that_takes_nothing_is_not_asked_for_every_row() -> None:
    store, refused = Refusing(), list[str]()
    patient = Patient(store, lambda seconds: None)
    for start in (0, 2_000):
        patient.write("trades", trades(range(start, start + 2_000)), lambda rows, why: refused.extend(rows["trade_id"]))
    assert sorted(map(int, refused)) == list(range(4_000))
    assert store.asked < 200
    # One that took something the last time is asked for more, though not without end.
    store.taking, store.asked = 1, 0
    patient.write("trades", trades(range(10)), nobody)
    patient.write("trades", trades(range(10, 10_000)), lambda rows, why: None)
    assert 1_000 < store.asked < 5_000
    assert store.read("trades").equals(trades(range(10)))
