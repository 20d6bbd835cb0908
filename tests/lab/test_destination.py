"""One of several stores that get what comes out of a queue."""

import json
from pathlib import Path
from time import sleep
from typing import Any

import polars as pl
import pytest

from marketlab import tables
from marketlab.clock import ManualClock
from marketlab.config import load_settings
from marketlab.errors import StoreUnavailable, WriteRejected
from marketlab.lab.destination import Destination, destinations
from marketlab.records import Quote
from marketlab.stores.contract import USUAL_TRIES, Commit, Taken
from marketlab.stores.dead_letters import DeadLetters

from .moody import POISON, MoodyStore, at_once, trades


def batch(number: int, table: pl.DataFrame | None, name: str = "trades", *, tries: int = 1) -> Taken:
    return Taken(f"{number}-0", "a", name, table, b"?", 0 if table is None else table.height, tries)


def batches(numbers: range, size: int = 5, *, price: float = 1.5) -> list[Taken]:
    return [batch(number, trades(range(number * size, (number + 1) * size), price)) for number in numbers]


@pytest.fixture
def store() -> MoodyStore:
    return MoodyStore()


@pytest.fixture
def destination(store: MoodyStore, tmp_path: Path) -> Destination:
    return Destination(store, store.batching, DeadLetters(tmp_path, ManualClock()), delays=at_once)


def turns(destination: Destination, count: int) -> tuple[list[Taken], list[Taken]]:
    done, stuck = [], []
    for _ in range(count):
        while not destination.is_done and not destination.is_ready:
            sleep(0.001)
        more, apart = destination.run()
        done += more
        stuck += apart
    return done, stuck


def dead_letters(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "dead_letters.jsonl").read_text().splitlines()]


def test_small_batches_of_a_table_are_written_together(destination: Destination, store: MoodyStore) -> None:
    quote = Quote("binance", "BTCUSDT", 1, 1, 1.0, 1.0, 2.0, 1.0, 1, "stream")
    quotes = batch(9, tables.to_table("quotes", [quote]), "quotes")
    taken = [*batches(range(2)), quotes, *batches(range(2, 5))]
    destination.add(taken)
    done, stuck = turns(destination, 1)
    assert (sorted(one.id for one in done), stuck) == (sorted(one.id for one in taken), [])
    assert sorted(store.writes) == [("quotes", 1), ("trades", 5), ("trades", 10), ("trades", 10)]
    assert store.ids == list(range(25))
    assert destination.account.rows == destination.account.changed == {"quotes": 1, "trades": 25}
    assert destination.is_done


def test_no_batch_carries_a_commit(destination: Destination, store: MoodyStore) -> None:
    destination.add(batches(range(3)))
    turns(destination, 1)
    assert store.commits == {None}


def test_a_store_that_is_away_costs_two_tries_a_turn_and_loses_nothing(
    destination: Destination, store: MoodyStore
) -> None:
    store.is_away = lambda: True
    destination.add(batches(range(20)))
    assert turns(destination, 4) == ([], [])
    assert len(store.writes) == 8
    assert (str(destination.failure), destination.failures) == ("The store is away.", 4)
    assert destination.account.failure == "The store is away."
    store.is_away = lambda: False
    done, stuck = turns(destination, 1)
    assert (len(done), stuck, store.ids) == (20, [], list(range(100)))
    assert (destination.failure, destination.is_done) == (None, True)


def test_what_no_store_should_raise_ends_nothing(
    destination: Destination, store: MoodyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise KeyError("a bug")

    destination.add(batches(range(3)))
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", broken)
        assert destination.run() == ([], [])
    assert "KeyError: 'a bug'" in destination.account.failure
    assert not destination.is_ready
    destination.hurry()
    done, _ = turns(destination, 1)
    assert (len(done), store.ids, destination.failure) == (3, list(range(15)), None)


def test_refused_rows_are_kept_and_the_others_are_stored(
    destination: Destination, store: MoodyStore, tmp_path: Path
) -> None:
    destination.add([*batches(range(1)), *batches(range(1, 2), price=-1.0)])
    done, _ = turns(destination, 1)
    assert (len(done), store.ids) == (2, [0, 1, 2, 3, 4])
    letters = dead_letters(tmp_path)
    assert [letter["record"][3] for letter in letters] == ["5", "6", "7", "8", "9"]
    assert {letter["reason"] for letter in letters} == {"no price below zero"}
    assert destination.account.dead_letters == 5
    assert destination.account.dead_letter_file == str(tmp_path / "dead_letters.jsonl")


@pytest.mark.parametrize("says_which", [True, False])
def test_what_is_refused_is_kept_once_though_the_store_goes_away_and_its_piece_is_cut(
    destination: Destination, store: MoodyStore, tmp_path: Path, says_which: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        bad = table.select((pl.col("price") < 0).arg_true()).to_series().to_list()
        if bad:
            raise WriteRejected("no price below zero", rows=bad if says_which else ())
        raise StoreUnavailable("The store is away.")

    destination.add([*batches(range(1), 1, price=-1.0), *batches(range(1, 8), 1)])
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", write)
        early, _ = turns(destination, 20)
    done, _ = turns(destination, 2)
    assert (len(early), len(done), store.ids) == (1, 7, list(range(1, 8)))
    assert [letter["record"][3] for letter in dead_letters(tmp_path)] == ["0"]
    assert destination.account.dead_letters == 1


def test_what_is_no_table_is_kept_as_it_is(destination: Destination, store: MoodyStore, tmp_path: Path) -> None:
    destination.add([batch(1, None), batch(2, None), *batches(range(3))])
    done, _ = turns(destination, 1)
    assert (len(done), store.ids) == (5, list(range(15)))
    assert [bytes.fromhex(letter["packed"]) for letter in dead_letters(tmp_path)] == [b"?", b"?"]


def test_a_batch_that_is_never_taken_stands_alone_in_the_end(store: MoodyStore, tmp_path: Path) -> None:
    store.batching = MoodyStore(rows=1_000).batching
    destination = Destination(store, store.batching, DeadLetters(tmp_path, ManualClock()), delays=at_once)
    poison = batch(99, trades(range(990, 995), POISON))
    destination.add([*batches(range(4)), poison, *batches(range(4, 8))])
    done: list[Taken] = []
    stuck: list[Taken] = []
    for _ in range(20):
        more, apart = turns(destination, 1)
        done += more
        stuck += apart
        # What comes later shows that the store is not away.
        destination.add(batches(range(100 + len(done), 101 + len(done))))
        if stuck:
            break
    assert stuck == [poison]
    assert set(range(40)) <= set(store.ids)
    turns(destination, 1)
    assert destination.is_done


def test_what_many_have_failed_at_comes_alone_and_last(destination: Destination, store: MoodyStore) -> None:
    suspect = batch(1, trades(range(3)), tries=USUAL_TRIES + 1)
    destination.add([suspect, *batches(range(1, 3))])
    done, _ = turns(destination, 1)
    assert done[-1] == suspect
    assert store.writes == [("trades", 10), ("trades", 3)]


def test_stores_have_their_dead_letters_where_their_spools_are(tmp_path: Path) -> None:
    settings = load_settings(environ={}, spool=tmp_path / "spool")
    with destinations([f"delta://{tmp_path}/store", "memory://", "memory://"], settings) as found:
        assert [one.url for one in found] == [f"delta://{tmp_path}/store", "memory://"]
        for one in found:
            one.add([batch(1, None)])
            one.run()
        assert len(dead_letters(tmp_path / "store" / "_spool")) == 1


def test_a_store_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    settings = load_settings(environ={}, spool=tmp_path)
    with pytest.raises(StoreUnavailable), destinations(["postgresql://nobody@127.0.0.1:1/nothing"], settings):
        pass
