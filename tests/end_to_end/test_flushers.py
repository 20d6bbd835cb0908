"""Through a queue: collectors on one side, several flushers on the other, and whatever kills them or the server between."""

import json
import secrets
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest
from redis import Redis

from marketlab import open_store, tables

from ..servers import RedisServer
from .programs import at, exchange, run, started, summary, until

CHANNELS = ("--channels", "trade,quote,book,kline_1m")
BTC = "btcusdt_20240809.gz"
RECEIPT = ("received", "origin")


def contents(url: str) -> dict[str, pl.DataFrame]:
    with open_store(url) as store:
        return {name: store.read(name, include_open=True) for name in tables.TABLES}


def test_flushers_and_the_server_may_die_and_every_row_is_there_once(redis: RedisServer, tmp_path: Path) -> None:
    direct, flushed = f"delta://{tmp_path}/direct", f"delta://{tmp_path}/flushed"
    settings = {"MARKETLAB_SPOOL": str(tmp_path / "spool"), "MARKETLAB_FLUSH_ROWS": "300"}
    deaths = ("after-commit:2", "before-commit:3", "")
    with RedisServer() as server, ExitStack() as ending, Redis(port=server.port) as client:
        flush = ("flush", "--from", server.url, "--to", flushed, "--idle", "3", "--json")
        flushers = [
            ending.enter_context(
                started(*flush, log=tmp_path / f"{number}.log", settings={**settings, "MARKETLAB_CRASH_AT": death})
            )
            for number, death in enumerate(deaths)
        ]
        port = ending.enter_context(exchange("--simulate", "--speed", "25", log=tmp_path / "exchange"))
        log = tmp_path / "collector"
        collect = ("collect", "BTCUSDT", *CHANNELS, *at(port), "--store", direct, "--store", server.url)
        with started(*collect, "--json", log=log, settings=settings) as collector:
            for flusher in flushers[:2]:
                assert flusher.wait(60) == -signal.SIGKILL
            server.kill()
            time.sleep(1.0)
            server.start()
            client.delete("tick:latest:BTCUSDT")
            until(lambda: client.exists("tick:latest:BTCUSDT"), collector, log)
            collector.send_signal(signal.SIGINT)
            assert collector.wait(120) == 0, log.read_text()
        flushers[2].send_signal(signal.SIGINT)
        assert flushers[2].wait(60) == 0, (tmp_path / "2.log").read_text()
        survivor = json.loads((tmp_path / "2.log").read_text().splitlines()[-1])
        last = summary(run(*flush, "--until-idle", "1", settings=settings))
        assert survivor["taken_over"] + last["taken_over"] >= 2, "those who died had nothing in hand"
        assert (last["waiting"], last["unfinished"]) == (0, 0)
        assert client.xlen("marketlab:batches") == 0
    left, right = contents(direct), contents(flushed)
    assert left["trades"].height > 100
    for name in tables.TABLES:
        assert left[name].equals(right[name]), name


def test_a_tape_through_the_queue_is_as_if_replayed(redis: RedisServer, tapes: Path, tmp_path: Path) -> None:
    queue, flushed, replayed = (
        f"{redis.url}?name={secrets.token_hex(6)}",
        f"delta://{tmp_path}/a",
        f"delta://{tmp_path}/b",
    )
    with exchange("--tape", tapes / BTC, "--speed", "max", log=tmp_path / "exchange") as port:
        collected = run("collect", "BTCUSDT", *CHANNELS, *at(port), "--store", queue, "--until-idle", "3", "--json")
    went_in = summary(collected)["stores"][0]["rows"]
    done = summary(run("flush", "--from", queue, "--to", flushed, "--until-idle", "1", "--json"))
    assert done["stores"][0]["rows"] == went_in
    summary(run("replay", tapes / BTC, *CHANNELS, "--store", replayed, "--json"))
    left, right = contents(flushed), contents(replayed)
    assert left["trades"].height == 10_147
    for name in ("trades", "klines", "book_updates", "quotes"):
        hidden = [*RECEIPT, "time"] if name == "quotes" else list(RECEIPT)
        by = tables.spec(name).id or tables.spec(name).time
        assert left[name].drop(hidden).sort(by).equals(right[name].drop(hidden).sort(by)), name


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stores_what_is_in_hand_and_twice_ends_at_once(redis: RedisServer, tmp_path: Path, times: int) -> None:
    queue, store = f"{redis.url}?name={secrets.token_hex(6)}", f"delta://{tmp_path}/store"
    with exchange("--simulate", "--duration", "60", "--speed", "max", log=tmp_path / "exchange") as port:
        summary(run("collect", "BTCUSDT", *CHANNELS, *at(port), "--store", queue, "--until-idle", "2", "--json"))
    log = tmp_path / "log"
    with started("flush", "--from", queue, "--to", store, "--json", log=log, cwd=tmp_path) as flusher:
        # A Delta store waits for more: what was taken is in hand.
        name = queue.rpartition("=")[2]
        with Redis(port=redis.port) as client:
            until(lambda: is_taken(client, f"{name}:batches"), flusher, log)
        for _ in range(times):
            flusher.send_signal(signal.SIGINT)
        code = flusher.wait(60)
    told = [line for line in log.read_text().splitlines() if line.startswith(("{", "Ended", "Traceback"))]
    assert len(told) == 1, log.read_text()
    if code == 130:
        assert told[0] == "Ended at once; what was not stored yet is taken over from the queue by others."
    else:  # the second signal came too late, or both came as one
        assert code == 0, log.read_text()
        assert json.loads(told[0])["ended"] == "stopped"
        assert json.loads(told[0])["waiting"] == 0
    rest = summary(run("flush", "--from", queue, "--to", store, "--until-idle", "0.5", "--idle", "0.5", "--json"))
    assert (rest["waiting"], rest["unfinished"]) == (0, 0)
    assert contents(store)["trades"].height > 0


def is_taken(client: Redis, stream: str) -> bool:
    groups = client.xinfo_groups(stream)
    return bool(groups and groups[0]["pending"] == client.xlen(stream))
