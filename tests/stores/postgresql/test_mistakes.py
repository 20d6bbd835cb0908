"""What is wrong with the server, the user or the network, in one sentence each and without secrets."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest

from marketlab import tables
from marketlab.errors import StoreDenied, StoreError, StoreUnavailable, UsageError, WriteRejected
from marketlab.stores.contract import Store
from marketlab.stores.open import open_store
from marketlab.stores.postgresql.mistakes import mistake
from marketlab.stores.postgresql.store import PostgresStore

from ...servers import PostgresServer, free_port

Sql = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def guarded(mortal: PostgresServer) -> PostgresServer:
    """A server that asks some users for a password, and others not even for that."""
    rules = mortal.folder / "data" / "pg_hba.conf"
    rules.write_text("host all ann 127.0.0.1/32 scram-sha-256\nhost all eve 127.0.0.1/32 reject\n" + rules.read_text())
    with psycopg.connect(mortal.url, autocommit=True) as connection:
        for statement in (
            "create role ann login password 'hush'",
            "create role eve login",
            "create role bob login",
            "create role tim login connection limit 0",
            "create database closed",
            "revoke connect on database closed from public",
            "select pg_reload_conf()",
        ):
            connection.execute(statement.encode())
    return mortal


def told(url: str, kind: type[StoreError]) -> str:
    """What reading and writing say, which is the same."""
    said = set()
    with open_store(url) as store:
        for use in (lambda: store.read("trades"), lambda: store.query("select 1"), lambda: store.exists):
            with pytest.raises(StoreError) as caught:
                use()
            assert type(caught.value) is kind
            said.add(str(caught.value))
    (sentence,) = said
    assert "hush" not in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize(
    ("user", "rest", "kind", "words"),
    [
        ("ann:hushhush", "postgres", StoreDenied, "does not accept the user and password"),
        ("ann", "postgres", StoreDenied, "does not accept the user and password"),
        ("eve:hush", "postgres", StoreDenied, "does not let this user in"),
        ("nobody:hush", "postgres", StoreDenied, "does not let this user in"),
        ("bob:hush", "closed", StoreDenied, "does not let this user in"),
        ("postgres:hush", "absent", StoreDenied, "has no such database"),
        ("postgres:hush", "postgres?sslmode=require", StoreDenied, "cannot be reached over TLS"),
        ("postgres:hush", "postgres?sslmode=verify-full&sslrootcert=absent", StoreDenied, "over TLS"),
        ("tim:hush", "postgres", StoreUnavailable, "has no more connections"),
    ],
)
def test_who_is_not_let_in_is_told_why(
    guarded: PostgresServer, user: str, rest: str, kind: type[StoreError], words: str
) -> None:
    assert words in told(f"postgresql://{user}@127.0.0.1:{guarded.port}/{rest}", kind)


def test_no_server_no_host_and_another_server_are_told_apart(mortal: PostgresServer, tmp_path: Path) -> None:
    assert "nothing listens there" in told(f"postgresql://127.0.0.1:{free_port()}/market", StoreUnavailable)
    assert "check the host's name" in told("postgresql://no.such.host.invalid/market", StoreUnavailable)
    assert "local socket" in told(f"postgresql:///market?host={tmp_path}", StoreUnavailable)
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "is not a PostgreSQL server" in told(f"postgresql://127.0.0.1:{port}/market", StoreDenied)
    with mortal.frozen():
        sentence = told(f"postgresql://127.0.0.1:{mortal.port}/postgres?connect_timeout=2", StoreUnavailable)
    assert "does not answer in time" in sentence


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Something that listens and says always the same."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(100)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_a_certificate_that_nobody_vouches_for_is_a_matter_of_tls() -> None:
    assert "TLS" in str(mistake("postgresql://h/d", psycopg.OperationalError("SSL error: certificate verify failed")))


@pytest.mark.parametrize(
    "words",
    [
        "consuming input failed: SSL SYSCALL error: EOF detected",
        "consuming input failed: SSL connection has been closed unexpectedly",
        "consuming input failed: SSL SYSCALL error: Connection reset by peer",
        "could not receive data from server: Connection reset by peer",
        "consuming input failed: SSL error: unexpected eof while reading",
    ],
)
def test_a_connection_that_is_lost_in_the_middle_may_come_back(words: str) -> None:
    found = mistake("postgresql://h/d", psycopg.OperationalError(words))
    assert (type(found), str(found)) == (StoreUnavailable, "postgresql://h/d broke the connection off.")


def test_one_who_may_not_make_tables_is_told_so(guarded: PostgresServer, rows: Any) -> None:
    table = tables.to_table("trades", rows.trades(range(3)))
    for place in ("postgres", "postgres?schema=of_bob"):
        with open_store(f"postgresql://bob@127.0.0.1:{guarded.port}/{place}") as store:
            assert store.read("trades").is_empty()
            with pytest.raises(StoreDenied, match="does not permit this to the user"):
                store.write("trades", table)


def test_too_many_connections_are_told_and_end(guarded: PostgresServer) -> None:
    held = []
    with suppress(psycopg.OperationalError):
        for _ in range(60):
            held.append(psycopg.connect(guarded.url))
    assert "has no more connections" in told(guarded.url, StoreUnavailable)
    for connection in held:
        connection.close()
    with open_store(guarded.url) as store:
        deadline = monotonic() + 30
        while not answers(store):
            assert monotonic() < deadline


def answers(store: Store) -> bool:
    try:
        return bool(store.query("select 1").item() == 1)
    except StoreUnavailable:
        return False


def failing(sql: Sql, code: str, times: int) -> None:
    """Let the server refuse so many inserts into trades with a code of its own."""
    sql("create sequence if not exists refused")
    sql("alter sequence refused restart")
    sql(
        "create or replace function refuse() returns trigger language plpgsql as $$ begin "
        f"if nextval('refused') <= {times} then raise exception 'told by the server' using errcode = '{code}'; end if; "
        "return new; end $$"
    )
    sql("create or replace trigger refusing before insert on trades for each statement execute function refuse()")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("53100", StoreUnavailable, "has a full disk"),
        ("53200", StoreUnavailable, "out of memory"),
        ("57014", StoreUnavailable, "statement_timeout"),
        ("57P01", StoreUnavailable, "broke off: told by the server"),
        ("25006", StoreDenied, "read-only"),
        ("23514", WriteRejected, "constraint: told by the server"),
        ("22003", WriteRejected, "values: told by the server"),
        ("42883", StoreDenied, "told by the server"),
        ("XX000", StoreUnavailable, "told by the server"),
    ],
)
def test_what_the_server_says_in_the_middle_leaves_nothing(
    store: PostgresStore, sql: Sql, rows: Any, code: str, kind: type[StoreError], words: str
) -> None:
    store.write("trades", tables.to_table("trades", rows.trades(range(3))))
    failing(sql, code, 1)
    table = tables.to_table("trades", [*rows.trades(range(9)), rows.trade(1, "NEWUSDT")])
    with pytest.raises(StoreError, match=words) as caught:
        store.write("trades", table)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert sql("select count(*) from markets") == [(1,)]
    assert store.read("trades").height == 3
    assert store.write("trades", table) == 7


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_who_gave_way_to_another_writer_tries_again_twice(store: PostgresStore, sql: Sql, rows: Any, code: str) -> None:
    table = tables.to_table("trades", rows.trades(range(9)))
    store.write("trades", table.head(1))
    failing(sql, code, 2)
    assert store.write("trades", table) == 8
    failing(sql, code, 3)
    with pytest.raises(StoreUnavailable, match="gave way"):
        store.write("trades", table)


def test_a_table_of_somebody_else_is_left_alone(store: PostgresStore, sql: Sql, rows: Any, url: str) -> None:
    store.write("quotes", tables.to_table("quotes", [rows.quote(1)]))
    sql("create table trades (id integer, note text)")
    for use in (
        lambda: store.read("trades"),
        lambda: store.write("trades", tables.to_table("trades", [rows.trade(1)])),
    ):
        with pytest.raises(StoreDenied, match="not one of marketlab's: name another schema"):
            use()
    assert sql("select count(*) from trades") == [(0,)]
    sql("drop table trades; create view trades as select 1 as id")
    with pytest.raises(StoreDenied, match="name another schema"):
        store.write("trades", tables.to_table("trades", [rows.trade(1)]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("selec 1", "syntax error"),
        ("select * from nowhere", "nowhere"),
        ("select 1/0", "division by zero"),
        ("", "no table to give"),
        ("set timezone = 'UTC'", "no table to give"),
        ("select 1; select 2", "multiple commands"),
        ("commit; drop table markets", "multiple commands"),
        ("delete from trades returning 1", "read-only"),
        ("select 1 as a, 2 as a", "name columns apart"),
        ("copy markets to stdout", "COPY"),
    ],
)
def test_a_question_that_cannot_be_answered_is_the_callers_mistake(
    store: PostgresStore, rows: Any, text: str, words: str
) -> None:
    store.write("trades", tables.to_table("trades", [rows.trade(1)]))
    with pytest.raises(UsageError, match=words):
        store.query(text)
    assert store.query("select symbol from markets").item() == "BTCUSDT"
