"""What is Redis's own about the queue: addresses, faults, what others may look up, and a server that comes and goes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis import exceptions as faults

from marketlab import tables
from marketlab.config import load_settings
from marketlab.errors import StoreDenied, StoreUnavailable, UsageError
from marketlab.records import BookSnapshot, Trade
from marketlab.stores.contract import Queue
from marketlab.stores.open import open_queue
from marketlab.stores.redis.address import Address
from marketlab.stores.redis.faults import told
from marketlab.stores.redis.packing import unpacked

from ..servers import RedisServer, free_port

NOTHING_SET = load_settings(environ={})


@pytest.fixture
def server(redis: RedisServer) -> Iterator[RedisServer]:
    """One that may be broken."""
    with RedisServer() as own:
        yield own


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with Redis(port=server.port, decode_responses=True) as connected:
        yield connected


@pytest.fixture
def queue(server: RedisServer) -> Iterator[Queue]:
    with open_queue(server.url) as opened:
        yield opened


def put(queue: Queue, *records: Any) -> None:
    for name, table in tables.to_tables(records).items():
        queue.write(name, table)


# Addresses


@pytest.mark.parametrize(
    ("url", "shown", "limit"),
    [
        ("redis://", "redis://localhost:6379/0", 1_000_000),
        ("redis://cache", "redis://cache:6379/0", 1_000_000),
        ("redis://cache:6380/3?limit=5", "redis://cache:6380/3", 5),
        ("rediss://joe:se%40cret@cache/?name=btc", "rediss://cache:6379/0?name=btc", 1_000_000),
        ("redis://[::1]:6380/1", "redis://[::1]:6380/1", 1_000_000),
    ],
)
def test_a_url_says_where(url: str, shown: str, limit: int) -> None:
    address = Address.of(url, NOTHING_SET)
    assert (address.url, address.limit) == (shown, limit)
    assert "se@cret" not in repr(address)
    if "@" in url:
        assert address.user == "joe"
        assert address.password is not None
        assert address.password.get_secret_value() == "se@cret"


def test_the_settings_fill_what_the_url_leaves_out() -> None:
    names = {"REDIS_HOST": "cache", "REDIS_PORT": "6390", "REDIS_PASSWORD": "hush", "REDIS_DB": "2"}
    settings = load_settings(environ=names)
    address = Address.of("redis://", settings)
    assert address.url == "redis://cache:6390/2"
    assert address.password is not None
    assert address.password.get_secret_value() == "hush"
    assert Address.of("redis://:own@other:1/0", settings).url == "redis://other:1/0"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://h:99999", "The port in redis://h:99999 should be a number"),
        ("redis://h:x", "The port in"),
        ("redis://h/x", "the database in redis://h/x should be a number from 0 on, not 'x'"),
        ("redis://:secret@h/0?foo=1", "redis://h/0 knows no foo=; there are name, limit, ca"),
        ("redis://h?limit=0", "limit in redis://h should be a number from 1 on, not '0'"),
        ("redis://h?limit=many", "limit in redis://h"),
        ("redis://h?name=a%20b", "should be letters, digits"),
        ("redis://[x", "is no URL"),
        ("redis://:1#secret@h", "redis://h is not understood: write # "),
        ("redis://:1/secret@h:1/0", "redis://h:1/0 is not understood: write # "),
        ("redis://:1?name=secret@h", "redis://... is not understood: write # "),
    ],
)
def test_a_url_that_makes_no_sense_is_told(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as told_so:
        open_queue(url)
    assert "secret" not in str(told_so.value)


def test_an_absent_package_is_named_with_the_line_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from marketlab.errors import MissingDependency\n"
        "from marketlab.stores.open import open_sink, queue_schemes, schemes\n"
        "for url in ('redis://x', 'rediss://x'):\n"
        "    try: open_sink(url)\n"
        "    except MissingDependency as error: print(error)\n"
        "assert 'redis' in queue_schemes() and 'redis' not in schemes()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.count("A redis:// queue needs the package redis: run pip install 'marketlab[redis]'.") == 2


# Faults


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (faults.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable, "still loading its data"),
        (faults.ResponseError("MISCONF Redis is configured to save"), StoreUnavailable, "cannot save to its disk"),
        (faults.ResponseError("NOREPLICAS Not enough good replicas"), StoreUnavailable, "too few replicas"),
        (faults.ResponseError("BUSY Redis is busy running a script"), StoreUnavailable, "busy with somebody's script"),
        (faults.ConnectionError("max number of clients reached"), StoreUnavailable, "max number of clients reached"),
        (faults.ResponseError("something new"), StoreUnavailable, "refuses: something new"),
        (faults.ResponseError("unknown command 'XADD'"), StoreDenied, "no Redis of version 6.2 or later"),
        (faults.MovedError("1234 127.0.0.1:7000"), StoreDenied, "part of a Redis cluster"),
        (faults.ReadOnlyError("You can't write"), StoreDenied, "read-only replica"),
        (faults.InvalidResponse("Protocol Error: b'HTTP/1.1 400'"), StoreDenied, "is no Redis server"),
    ],
)
def test_each_fault_is_one_sentence(error: Exception, kind: type[StoreUnavailable], words: str) -> None:
    with pytest.raises(StoreUnavailable, match=words) as found, told("redis://h:1/0"):
        raise error
    assert type(found.value) is kind
    assert str(found.value).count("redis://h:1/0") == 1


def test_every_fault_of_the_package_has_a_sentence() -> None:
    kinds = [kind for kind in vars(faults).values() if isinstance(kind, type) and issubclass(kind, faults.RedisError)]
    assert len(kinds) > 20
    for kind in kinds:
        error = kind("1 h:2") if issubclass(kind, faults.AskError) else kind("nothing we know")
        with pytest.raises(StoreUnavailable, match=r"redis://h:1/0.*\.$"), told("redis://h:1/0"):
            raise error


def test_a_wrong_password_is_told_without_it(server: RedisServer, client: Any) -> None:
    client.config_set("requirepass", "right")
    for user in ("", ":wrong@", "joe:wrong@"):
        with (
            open_queue(server.url.replace("//", f"//{user}")) as queue,
            pytest.raises(StoreDenied, match="refuses the user or the password") as denied,
        ):
            queue.waiting()
        assert "wrong" not in str(denied.value)
    with open_queue(server.url.replace("//", "//:right@")) as queue:
        assert queue.waiting() == 0
        assert "right" not in repr(queue) + queue.url
    client.config_set("requirepass", "")
    with (
        open_queue(server.url.replace("//", "//:right@")) as queue,
        pytest.raises(StoreDenied, match="wants no password"),
    ):
        queue.waiting()


def test_what_a_setting_is_wrong_for_is_told(server: RedisServer, client: Any, rows: Any) -> None:
    client.execute_command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+get")
    client.set("mine:batches", "a text")
    for url, words in (
        (server.url.replace("/0", "/99"), "has no database of that number"),
        (server.url.replace("//", "//bob:pw@"), "does not let this user do what a queue needs"),
        (f"{server.url}?name=mine", r"Something else has the keys of .*: choose another \?name="),
    ):
        with open_queue(url) as queue, pytest.raises(StoreDenied, match=words):
            put(queue, rows.trade(1))


def test_no_server_is_told() -> None:
    with (
        open_queue(f"redis://127.0.0.1:{free_port()}") as queue,
        pytest.raises(StoreUnavailable, match="Cannot reach") as lost,
    ):
        queue.waiting()
    assert not isinstance(lost.value, StoreDenied)


def test_a_server_of_another_kind_is_told() -> None:
    class Silent(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as web:
        Thread(target=web.serve_forever, daemon=True).start()
        url = f"redis://127.0.0.1:{web.server_port}"
        with open_queue(url) as queue, pytest.raises(StoreUnavailable, match=r"Cannot reach|is no Redis server"):
            queue.waiting()
        web.shutdown()


def test_a_replica_is_told(queue: Queue, client: Any, rows: Any) -> None:
    client.replicaof("127.0.0.1", free_port())
    with pytest.raises(StoreDenied, match="is a read-only replica"):
        put(queue, rows.trade(1))


def test_a_server_that_may_throw_keys_away_is_refused(server: RedisServer, client: Any) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    with open_queue(server.url) as queue:
        assert queue.waiting() == 0, "without a limit it throws nothing away"
    client.config_set("maxmemory", "1gb")
    with open_queue(server.url) as queue, pytest.raises(StoreDenied, match="set maxmemory-policy to noeviction"):
        queue.waiting()


def test_a_server_without_memory_keeps_what_it_has(queue: Queue, client: Any, rows: Any) -> None:
    put(queue, *rows.trades(range(5)))
    client.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailable, match="has reached its maxmemory"):
        put(queue, *rows.trades(range(5, 10)))
    (taken,) = queue.take("a", rows=100, wait=0, idle=60)
    queue.hold([taken])
    queue.acknowledge([taken])
    assert queue.waiting() == 0
    assert client.get("marketlab:rows") == "0"
    client.config_set("maxmemory", "0")
    put(queue, *rows.trades(range(5, 10)))
    assert queue.waiting() == 1


def test_a_disk_that_fails_is_told(server: RedisServer, queue: Queue, client: Any, rows: Any) -> None:
    client.config_set("save", "1 1")
    (server.folder / "dump.rdb").mkdir()
    client.bgsave()
    while client.info("persistence")["rdb_bgsave_in_progress"]:
        time.sleep(0.05)
    with pytest.raises(StoreUnavailable, match="cannot save to its disk"):
        put(queue, rows.trade(1))


# A server that comes and goes


def test_a_killed_server_is_found_again_with_all_it_had(server: RedisServer, queue: Queue, rows: Any) -> None:
    put(queue, *rows.trades(range(10)))
    taken = queue.take("a", rows=100, wait=0, idle=60)
    put(queue, *rows.trades(range(10, 20)))
    server.kill()
    with pytest.raises(StoreUnavailable, match="Cannot reach"):
        put(queue, *rows.trades(range(20, 30)))
    server.start()
    put(queue, *rows.trades(range(20, 30)))
    queue.acknowledge(taken)
    left = queue.take("a", rows=100, wait=0, idle=60)
    assert [one.table["trade_id"][0] for one in left if one.table is not None] == ["10", "20"]


def test_what_is_lost_is_made_again(queue: Queue, client: Any, rows: Any) -> None:
    put(queue, *rows.trades(range(10)))
    taken = queue.take("a", rows=100, wait=0, idle=60)
    client.xgroup_destroy("marketlab:batches", "flush")
    assert [one.id for one in queue.take("b", rows=100, wait=0, idle=60)] == [taken[0].id]
    client.flushall()
    client.script_flush()
    queue.hold(taken)
    queue.acknowledge(taken)
    assert queue.take("a", rows=100, wait=0, idle=60) == []
    put(queue, *rows.trades(range(10, 30)))
    assert client.get("marketlab:rows") == "20"
    assert [one.rows for one in queue.take("a", rows=100, wait=0, idle=60)] == [20]


def test_whoever_leaves_takes_nothing_along(server: RedisServer, queue: Queue, client: Any, rows: Any) -> None:
    put(queue, rows.trade(1))
    with open_queue(server.url) as leaving:
        leaving.take("idle", rows=1, wait=0, idle=60)
        leaving.acknowledge(leaving.take("busy", rows=1, wait=0, idle=0))
    assert client.xinfo_consumers("marketlab:batches", "flush") == []
    put(queue, rows.trade(2))
    with open_queue(server.url) as leaving:
        leaving.take("unfinished", rows=1, wait=0, idle=60)
    assert [one["pending"] for one in client.xinfo_consumers("marketlab:batches", "flush")] == [1]
    assert len(queue.take("a", rows=1, wait=0, idle=0)) == 1


def test_what_is_no_table_of_ours_is_handed_out_as_it_is(queue: Queue, client: Any) -> None:
    client.xadd("marketlab:batches", {"table": "trades", "rows": "3", "content": "?"})
    client.xadd("marketlab:batches", {"hello": "world"})
    first, second = queue.take("a", rows=100, wait=0, idle=60)
    assert (first.name, first.table, first.content, first.rows) == ("trades", None, b"?", 3)
    assert (second.name, second.table, second.content, second.rows) == ("", None, b"", 0)
    queue.acknowledge([first, second])
    assert queue.waiting() == 0


@given(st.dictionaries(st.sampled_from([b"table", b"rows", b"content"]), st.binary(max_size=200) | st.just(b"trades")))
def test_whatever_is_in_an_entry_can_be_looked_at(fields: dict[bytes, bytes]) -> None:
    assert unpacked("1-1", "a", fields, 1).table is None


# What others may look up


def trade(number: int, at: int, symbol: str = "BTCUSDT", price: float = 1.5) -> Trade:
    return Trade("binance", symbol, str(number), at, price, 0.5, "sell", at + 7, "simulated")


def book(number: int, at: int, bid: float = 2.0) -> BookSnapshot:
    return BookSnapshot("binance", "BTCUSDT", number, at, [(bid, 1.0)], [(3.0, 1.5)], 1, True, at + 7, "stream")


def told_by(client: Any, symbol: str = "BTCUSDT") -> Any:
    return json.loads(client.get(f"tick:latest:{symbol}"))


def test_the_latest_trade_of_each_symbol_is_there_for_a_minute(queue: Queue, client: Any) -> None:
    put(queue, trade(9, 1_000), trade(8, 900), trade(5, 400, "ETHUSDT"))
    assert told_by(client) == {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "trade_id": "9",
        "time": 1_000,
        "price": 1.5,
        "size": 0.5,
        "side": "sell",
        "received": 1_007,
        "origin": "simulated",
    }
    assert told_by(client, "ETHUSDT")["trade_id"] == "5"
    assert 0 < client.ttl("tick:latest:BTCUSDT") <= 60


def test_an_older_trade_never_replaces_a_newer_one(queue: Queue, client: Any) -> None:
    kept = []
    for number, at in ((9, 1_000), (8, 999), (99, 1_000), (10, 1_000), (9, 1_001), (2**70, 1_001), (3, 1_001)):
        put(queue, trade(number, at))
        kept.append(int(told_by(client)["trade_id"]))
    assert kept == [9, 9, 99, 99, 9, 2**70, 2**70]


def test_the_newest_book_is_there(queue: Queue, client: Any) -> None:
    at = 1_723_161_600_000_001
    kept = []
    for number, when in ((5, at), (4, at - 1), (6, at), (5, at), (1, at + 1)):
        put(queue, book(number, when))
        found = client.hgetall("crypto:orderbook:BTCUSDT")
        assert set(found) == {"data", "timestamp"}
        data = json.loads(found["data"])
        assert data["time"] == int(found["timestamp"])
        kept.append((data["update_id"], data["time"] - at))
    assert kept == [(5, 0), (5, 0), (6, 0), (6, 0), (1, 1)]
    assert (data["bids"], data["asks"], data["verified"], data["origin"]) == (
        [[2.0, 1.0]],
        [[3.0, 1.5]],
        True,
        "stream",
    )
    assert client.ttl("crypto:orderbook:BTCUSDT") == -1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client, key: client.set(key, "no JSON"),
        lambda client, key: client.set(key, "[1]"),
        lambda client, key: client.set(key, '{"time": "soon"}'),
        lambda client, key: client.hset(key, "data", "{"),
        lambda client, key: client.rpush(key, "1"),
    ],
)
def test_what_somebody_else_put_there_keeps_nothing_out(queue: Queue, client: Any, spoil: Callable[..., Any]) -> None:
    for key in ("tick:latest:BTCUSDT", "crypto:orderbook:BTCUSDT"):
        spoil(client, key)
    put(queue, trade(1, 10), book(1, 10))
    assert told_by(client)["trade_id"] == "1"
    assert client.hget("crypto:orderbook:BTCUSDT", "timestamp") == "10"
    assert queue.waiting() == 2


def test_a_sandbox_tells_no_prices_and_leaves_nothing(queue: Queue, client: Any) -> None:
    with queue.sandbox() as box:
        put(box, trade(1, 10), book(1, 10))
        assert client.exists("tick:latest:BTCUSDT", "crypto:orderbook:BTCUSDT") == 0
        assert client.dbsize() > 0
    assert client.dbsize() == 0
