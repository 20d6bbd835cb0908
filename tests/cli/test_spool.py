"""What waits is listed, stored or thrown away; what a living collector holds is only listed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from marketlab import open_store
from marketlab.clock import SystemClock
from marketlab.records import Quote, Record, Trade
from marketlab.stores.dead_letters import DeadLetters, letters
from marketlab.stores.open import open_sink
from marketlab.stores.spool import Spool, segments
from marketlab.stores.spool_places import places, prepared

from ..servers import InfluxServer, PostgresServer, free_port

START = 1_723_161_600_000_000
Run: TypeAlias = Callable[..., Any]


def trade(number: int, price: float = 1.0) -> Trade:
    time = START + number * 1_000_000
    return Trade("binance", "BTCUSDT", str(number), time, price, 0.5, "buy", time, "stream")


@contextmanager
def spooled(folder: Path, *segments: list[Record]) -> Iterator[Spool]:
    spool = Spool.create(folder)
    for records in segments:
        spool.append(records)
        spool.close_segment()
    yield spool
    spool.release()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local store, which is that of the settings; every other spool is below this folder too."""
    monkeypatch.setenv("MARKETLAB_STORE", f"delta://{tmp_path}/store")
    monkeypatch.setenv("MARKETLAB_SPOOL", str(tmp_path / "spool"))
    return tmp_path / "store"


@pytest.fixture
def left(folder: Path) -> Path:
    """A spool that a collector has left, with 5 trades and a quote in two segments, and one refused row."""
    quote = Quote("binance", "BTCUSDT", 9, START, 1.0, 1.0, 2.0, 1.0, START + 9_000_000, "stream")
    with spooled(folder / "_spool", [trade(0), trade(1)], [trade(2), trade(3), trade(4), quote]):
        pass
    DeadLetters(folder / "_spool", SystemClock()).keep("trades", "no such price", [trade(7)])
    return folder / "_spool"


def test_nothing_waits(run: Run, folder: Path) -> None:
    assert run("spool") == (0, "Nothing waits.\n", "")
    assert run("spool", "replay").out == "Nothing waits that could be stored.\n"
    assert run("spool", "empty").out == "Nothing was thrown away.\n"
    assert json.loads(run("spool", "--json").out) == []
    assert not folder.exists()


def test_what_waits_is_listed(run: Run, left: Path) -> None:
    with spooled(left, [trade(20)]) as living:
        (state,) = json.loads(run("spool", "--json").out)
        words = run("spool").out
    assert state["store"] == f"delta://{left.parent}"
    assert state["folder"] == str(left)
    writers = {writer["locked"]: writer for writer in state["writers"]}
    assert writers[True]["writer"] == living.writer
    assert writers[True]["records"] == {"trades": 1}
    free = writers[False]
    assert (free["segments"], free["records"], free["unreadable"]) == (2, {"trades": 5, "quotes": 1}, 0)
    assert (free["oldest"], free["newest"]) == (START, START + 9_000_000)
    assert free["bytes"] == sum(path.stat().st_size for path in segments(left) if living.writer not in path.parts)
    assert (state["dead_letters"]["count"], state["dead_letters"]["reason"]) == (1, "no such price")
    assert "living" in words
    assert "2 segments" in words
    assert "1 quotes, 5 trades; 2024-08-09T00:00:00Z ... 2024-08-09T00:00:09Z" in words
    assert "refused 1 rows" in words


def test_a_local_store_that_is_not_set_is_found_too(run: Run, folder: Path) -> None:
    url = f"delta://{folder.parent}/other"
    with open_sink(url) as sink:
        place = prepared(sink, folder.parent / "spool", url)
    assert place is not None
    with spooled(place, [trade(0), trade(1)]):
        pass
    (state,) = json.loads(run("spool", "--json").out)
    assert state["store"] == url
    assert run("spool", "replay").code == 0
    with open_store(url) as store:
        assert store.read("trades").height == 2
    assert run("spool").out == "Nothing waits.\n"


def test_what_is_free_is_stored_and_what_is_held_is_left_alone(run: Run, left: Path) -> None:
    with spooled(left, [trade(20)]) as living:
        ended = run("spool", "replay", "--json")
        assert ended.code == 0
        (handed,) = json.loads(ended.out)
        assert (handed["rows"], handed["segments"], handed["failure"]) == ({"trades": 5, "quotes": 1}, 0, "")
        assert "1 of the writers live" in ended.err
        assert [path.parent.name for path in segments(left)] == [living.writer]
        assert len(list(letters(left))) == 1
        again = run("spool", "replay")
        assert again.out == "Nothing waits that could be stored.\n"
        # A read sees what the living one holds.
        with open_store(f"delta://{left.parent}") as store:
            assert store.read("trades").get_column("trade_id").to_list() == ["0", "1", "2", "3", "4", "20"]
            assert store.read("quotes").height == 1


def test_dead_letters_are_tried_again_on_demand(run: Run, left: Path) -> None:
    odd = DeadLetters(left, SystemClock())
    odd.keep(None, "This is not a record.", [b"\xc1"])
    odd.keep("trades", "refused", [trade(8, price=float("nan"))])
    ended = run("spool", "replay", "--dead-letters")
    assert ended.code == 0
    assert f"delta://{left.parent}: 1 quotes, 6 trades" in ended.out
    with open_store(f"delta://{left.parent}") as store:
        assert store.read("trades").get_column("trade_id").to_list() == ["0", "1", "2", "3", "4", "7"]
    # What cannot be read back is still there, and nothing else.
    assert [letter.reason for letter in letters(left)] == ["This is not a record.", "refused"]
    assert [path.name for path in left.iterdir()] == ["dead_letters.jsonl"]
    assert run("spool", "replay", "--dead-letters").code == 0
    assert len(list(letters(left))) == 2


def test_rows_that_are_refused_are_told_and_no_success(run: Run, folder: Path) -> None:
    odd: Any = "no record"
    with spooled(folder / "_spool", [trade(0), odd]):
        pass
    ended = run("spool", "replay")
    assert ended.code == 3
    assert ended.out.startswith(f"delta://{folder}: 1 trades")
    assert ended.err == f"1 rows were refused by delta://{folder} and are in {folder}/_spool/dead_letters.jsonl.\n"


def test_a_replay_of_dead_letters_that_was_killed_is_finished_by_the_next(run: Run, left: Path) -> None:
    (left / "dead_letters.jsonl").rename(left / "dead_letters-1.taken.jsonl")
    DeadLetters(left, SystemClock()).keep("trades", "later", [trade(9)])
    assert [letter.reason for letter in letters(left)] == ["no such price", "later"]
    assert run("spool", "replay", "--dead-letters").code == 0
    assert list(letters(left)) == []
    with open_store(f"delta://{left.parent}") as store:
        assert store.read("trades").get_column("trade_id").to_list() == ["0", "1", "2", "3", "4", "7", "9"]


def test_emptying_asks_and_says_what_went(run: Run, left: Path) -> None:
    asked = run("spool", "empty")
    assert asked.code == 2
    assert asked.err.startswith("Throw away 6 records in 2 segments, which wait for delta://")
    assert "--yes" in asked.err
    assert len(segments(left)) == 2
    with spooled(left, [trade(20)]):
        ended = run("spool", "empty", "--yes")
        assert ended.out == f"6 records in 2 segments for delta://{left.parent} are gone.\n"
        assert len(segments(left)) == 1
    assert len(list(letters(left))) == 1
    (gone,) = json.loads(run("spool", "empty", "--yes", "--dead-letters", "--json").out)
    assert (gone["writers"][0]["records"], gone["dead_letters"]["count"]) == ({"trades": 1}, 1)
    assert list(left.iterdir()) == []


def test_a_store_that_is_away_keeps_what_waits(run: Run, folder: Path) -> None:
    url = f"influxdb://127.0.0.1:{free_port()}/market"
    place = make_place(folder.parent / "spool", url)
    with spooled(place, [trade(1)]):
        pass
    ended = run("spool", "replay")
    assert ended.code == 3
    assert ended.out == ""
    assert url.partition("://")[2].partition("/")[0] in ended.err
    (failed,) = json.loads(run("spool", "replay", "--json").out)
    assert (failed["rows"], failed["segments"], failed["failure"]) == ({}, 1, ended.err.strip())
    assert len(segments(place)) == 1
    assert run("spool", "--store", "delta://elsewhere").out == "Nothing waits.\n"
    assert "1 trades" in run("spool", "--store", url).out


def test_each_spool_goes_to_its_own_store(run: Run, left: Path, influxdb1: InfluxServer) -> None:
    url = f"{influxdb1.url('of_the_spool')}?create=true"
    root = left.parent.parent / "spool"
    place = make_place(root, url)
    with spooled(place, [trade(100)], [trade(101)]):
        pass
    assert {known for known, _ in places(root)} == {url}
    assert run("spool", "replay").code == 0
    with open_store(url) as store, open_store(f"delta://{left.parent}") as local:
        assert store.read("trades").get_column("trade_id").to_list() == ["100", "101"]
        assert local.read("trades").height == 5
    assert run("spool").out.startswith(f"delta://{left.parent}")  # but for the dead letter
    assert segments(place) == segments(left) == []


def make_place(root: Path, url: str) -> Path:
    with open_sink(url) as sink:
        place = prepared(sink, root, url)
    assert place is not None
    return place


def test_who_asks_is_remembered_and_the_password_is_asked_for(run: Run, folder: Path, postgres: PostgresServer) -> None:
    with spooled(make_place(folder.parent / "spool", postgres.url), [trade(1)]):
        pass
    assert run("spool", "replay").code == 0
    denied = postgres.url.replace("postgres@", "nobody:hush@")
    with spooled(make_place(folder.parent / "spool", denied), [trade(2)]):
        pass
    ended = run("spool", "replay")
    assert ended.code == 3
    assert "The password is not kept: marketlab spool replay --store postgresql://" in ended.err
    assert "hush" not in ended.err
