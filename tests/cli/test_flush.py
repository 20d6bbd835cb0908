"""`marketlab flush` as people and machines see it."""

import json
import secrets
from pathlib import Path

import pytest

from marketlab import tables
from marketlab.stores.open import open_queue, open_store

from ..servers import InfluxServer, RedisServer, free_port
from .conftest import Run, trade


@pytest.fixture
def queue(redis: RedisServer) -> str:
    """The URL of a queue with two batches."""
    url = f"{redis.url}?name={secrets.token_hex(6)}"
    with open_queue(url) as opened:
        for start in (0, 10):
            numbers = range(start, start + 10)
            opened.write("trades", tables.to_table("trades", [trade(number) for number in numbers]))
    return url


def test_a_queue_is_emptied_into_every_store(run: Run, queue: str, tmp_path: Path) -> None:
    stores = [f"delta://{tmp_path}/{name}" for name in "ab"]
    ended = run(
        "flush", "--from", queue, "--to", stores[0], "--to", stores[1], "--until-idle", "0.3", "--name", "me", "--json"
    )
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert (told["batches"], told["waiting"], told["consumer"], told["ended"]) == (2, 0, "me", "idle")
    assert [store["rows"] for store in told["stores"]] == [{"trades": 20}] * 2
    for url in stores:
        with open_store(url) as store:
            assert store.read("trades").height == 20


def test_people_are_told_in_lines(run: Run, queue: str, tmp_path: Path) -> None:
    ended = run("flush", "--from", queue, "--to", f"delta://{tmp_path}/a", "--until-idle", "0.3")
    assert (ended.code, ended.out) == (0, "")
    assert "2 batches in " in ended.err
    assert "(0 waiting); ended: idle." in ended.err
    assert ": 20 trades (20 rows new or better)" in ended.err


def test_rows_that_are_refused_are_told_and_no_success(run: Run, queue: str, influxdb1: InfluxServer) -> None:
    # InfluxDB's time ends in 2262.
    with open_queue(queue) as opened:
        opened.write("trades", tables.to_table("trades", [trade(8_000_000_000)]))
    ended = run("flush", "--from", queue, "--to", f"{influxdb1.url('refusing')}?create=true", "--until-idle", "0.3")
    assert ended.code == 3
    told = ended.err.splitlines()[-1]
    assert told.startswith("1 rows were refused by influxdb://")
    assert told.endswith("/dead_letters.jsonl.")


def test_a_server_that_is_not_there_is_one_sentence(run: Run, tmp_path: Path) -> None:
    ended = run("flush", "--from", f"redis://127.0.0.1:{free_port()}", "--to", f"delta://{tmp_path}/a")
    assert ended.code == 3
    assert ended.err.startswith("Cannot reach redis://127.0.0.1:")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("source", "to", "words"),
    [
        ("delta://x", "memory://", "delta:// is a store, and a queue is wanted here."),
        ("redis://", "redis://", "redis:// is a queue, and a store is wanted here."),
        ("redis://?size=1", "memory://", "knows no size="),
    ],
)
def test_what_is_no_queue_or_no_store_is_a_mistake(run: Run, source: str, to: str, words: str) -> None:
    ended = run("flush", "--from", source, "--to", to)
    assert ended.code == 2
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_a_wrong_password_is_a_mistake(run: Run, redis: RedisServer) -> None:
    ended = run("flush", "--from", redis.url.replace("//", "//:secret@"), "--to", "memory://")
    assert ended.code == 2
    assert "wants no password" in ended.err
    assert "secret" not in ended.err
