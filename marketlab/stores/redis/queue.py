"""Batches in a stream with a consumer group.

1. An entry is there until it is acknowledged: nothing is trimmed, and a full stream takes nothing more.
2. Every step is one script on the server, so that what is counted, bounded and handed out agrees at any moment.
3. A lost stream or group is made again by whoever comes next; a lost connection likewise.
"""

import hashlib
import secrets
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec
import polars as pl
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from marketlab.errors import StoreDenied, StoreUnavailable
from marketlab.stores.accepting import accepted
from marketlab.stores.contract import USUAL_TRIES, Batching, Commit, Taken
from marketlab.stores.redis import scripts
from marketlab.stores.redis.address import Address
from marketlab.stores.redis.faults import told
from marketlab.stores.redis.packing import Latest, latest, packed, unpacked

__all__ = ["RedisQueue"]

_GROUP = "flush"
_PART = 10_000  # rows of an entry at most, so that flushers can share a large table
_LOOK_S = 0.2
_TICK_S = 60
_MARK_S = 7 * 86_400
_AT_ONCE_MS = 86_400_000
_CONNECT_S = 5.0
_TIMEOUT_S = 15.0


class RedisQueue:
    """A bounded queue on a Redis server. Safe to use from several threads; connects when it is first used."""

    scheme: ClassVar[str] = "redis"
    batching: Batching = Batching(rows=500, seconds=1.0, bytes=1_000_000, most=5_000)

    def __init__(self, address: Address, *, is_sandbox: bool = False) -> None:
        self.url = address.url
        self.spool: Path | None = None
        self._address = address
        self._is_sandbox = is_sandbox
        self._limit = address.limit
        self._name = address.name
        self._stream, self._rows = f"{address.name}:batches", f"{address.name}:rows"
        self._server = _connected(address)
        self._put = self._server.register_script(scripts.PUT)
        self._take = self._server.register_script(scripts.TAKE)
        self._acknowledge = self._server.register_script(scripts.ACKNOWLEDGE)
        self._touch = self._server.register_script(scripts.TOUCH)
        self._leave = self._server.register_script(scripts.LEAVE)
        self._lock = Lock()
        self._consumers: set[str] = set()
        self._trusted = self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        """Put a table at the end; returns how many rows. See `marketlab.stores.contract.Sink.write`.

        With a `commit` whose batch was the last of its writer and table already, nothing happens.
        """
        batch = accepted(name, table)
        if batch.is_empty():
            return 0
        parts = [(part.height, packed(part)) for part in batch.iter_slices(_PART)]
        facts = list(latest(name, batch))
        keys = [self._stream, self._rows, f"{self._name}:seen:{commit.writer if commit else ''}"]
        keys += [self._key_of(fact) for fact in facts]
        values: list[Any] = [
            self._limit,
            name,
            *_marks(commit, parts),
            batch.height,
            len(parts),
            _MARK_S,
            _TICK_S,
            _GROUP,
        ]
        values += [value for part in parts for value in part]
        values += [value for fact in facts for value in (fact.kind, fact.time, fact.id, fact.data)]
        with self._asking():
            done, held = self._put(keys=keys, args=values)
        if done < 0:
            raise StoreUnavailable(
                f"{self.url} is full: {held:,} of {self._limit:,} rows wait to be stored; run marketlab flush."
            )
        return batch.height if done else 0

    def take(self, consumer: str, *, rows: int, wait: float, idle: float) -> list[Taken]:
        """Batches of about `rows` rows in all. See `marketlab.stores.contract.Queue.take`."""
        deadline = monotonic() + wait
        with self._lock:
            self._consumers.add(consumer)
        while True:
            values: list[str | int] = [_GROUP, consumer, round(idle * 1_000), rows, USUAL_TRIES]
            with self._asking():
                found = self._take(keys=[self._stream], args=values)
            left = deadline - monotonic()
            if found or left <= 0:
                return [_taken(entry, consumer) for entry in found]
            # Looking now and then costs next to nothing, sees what has become idle, and can be ended at any time.
            sleep(min(_LOOK_S, left))

    def hold(self, taken: Iterable[Taken]) -> None:
        """These are being worked on. See `marketlab.stores.contract.Queue.hold`."""
        self._mark(taken, 0)

    def give_back(self, taken: Iterable[Taken]) -> None:
        """Others may have these at once. See `marketlab.stores.contract.Queue.give_back`."""
        self._mark(taken, _AT_ONCE_MS)

    def acknowledge(self, taken: Iterable[Taken]) -> None:
        """These are stored: forget them. See `marketlab.stores.contract.Queue.acknowledge`."""
        values = [value for one in taken for value in (one.id, one.rows)]
        if values:
            with self._asking():
                self._acknowledge(keys=[self._stream, self._rows], args=[_GROUP, *values])

    def waiting(self) -> int:
        """How many batches are not acknowledged yet. See `marketlab.stores.contract.Queue.waiting`."""
        with self._asking():
            return self._server.xlen(self._stream)

    def sandbox(self) -> "RedisQueue":
        """An empty queue on the same server. See `marketlab.stores.contract.Queue.sandbox`."""
        apart = msgspec.structs.replace(self._address, name=f"sandbox_{secrets.token_hex(6)}")
        return RedisQueue(apart, is_sandbox=True)

    def close(self) -> None:
        """Let go of the connection; twice is once. What was taken and not acknowledged is taken over by others.

        Raises:
            StoreUnavailable: this is a sandbox, and the server does not let us remove it.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            if self._is_sandbox:
                with told(self.url):
                    for key in self._server.scan_iter(f"{self._name}:*"):
                        self._server.delete(key)
            else:
                self._sign_off()
        finally:
            self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _mark(self, taken: Iterable[Taken], idle_ms: int) -> None:
        of: dict[str, list[str]] = {}
        for one in taken:
            of.setdefault(one.consumer, []).append(one.id)
        for consumer, ids in of.items():
            with self._asking():
                self._touch(keys=[self._stream], args=[_GROUP, consumer, idle_ms, *ids])

    def _key_of(self, fact: Latest) -> str:
        # A sandbox tells nobody what the latest price is.
        return f"{self._name}:" * self._is_sandbox + _KEYS[fact.kind] + fact.symbol

    def _sign_off(self) -> None:
        for consumer in self._consumers:
            try:
                with told(self.url):
                    self._leave(keys=[self._stream], args=[_GROUP, consumer])
            except StoreUnavailable:
                # Only tidying up: a name that stays behind harms nobody.
                return

    def _asking(self) -> AbstractContextManager[None]:
        if self._closed:
            raise StoreUnavailable(f"{self.url} is closed; open it again.")
        if not self._trusted:
            self._trust()
        return told(self.url)

    def _trust(self) -> None:
        with told(self.url):
            try:
                memory: Any = self._server.info("memory")
            except NoPermissionError:
                memory = {}
        policy = str(memory.get("maxmemory_policy", ""))
        if memory.get("maxmemory") and policy.startswith("allkeys"):
            raise StoreDenied(
                f"{self.url} would throw batches away when its memory is full: set maxmemory-policy to noeviction "
                f"instead of {policy}."
            )
        self._trusted = True


_KEYS = {"tick": "tick:latest:", "book": "crypto:orderbook:"}


def _connected(address: Address) -> "Redis":
    password = address.password.get_secret_value() if address.password else None
    # Tried once more at once, which is what a connection needs that its server has lost; more patience is the caller's.
    return Redis(
        host=address.host,
        port=address.port,
        db=address.db,
        username=address.user,
        password=password,
        ssl=address.tls,
        ssl_ca_certs=str(address.ca) if address.ca else None,
        protocol=2,
        retry=Retry(NoBackoff(), 1),
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_CONNECT_S,
    )


def _marks(commit: Commit | None, parts: list[tuple[int, bytes]]) -> tuple[str, int, str]:
    # By content too: one segment may come in pieces, and a piece must never be taken for another.
    if commit is None:
        return "", 0, ""
    digest = hashlib.blake2b(digest_size=16)
    for _, content in parts:
        digest.update(content)
    return commit.writer, commit.segment, f"{commit.segment}:{digest.hexdigest()}"


def _taken(entry: list[Any], consumer: str) -> Taken:
    id, flat, tries = entry
    return unpacked(id.decode(), consumer, dict(zip(flat[::2], flat[1::2], strict=True)), tries)
