"""Reads spools and stores side by side, with a reader of its own that shares nothing with the one it checks."""

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import msgspec
import polars as pl

from marketlab import open_store

__all__ = ["KEYS", "Remembered", "Watch", "check", "compare", "has_segments", "read", "remember"]

Remembered: TypeAlias = dict[str, dict[Any, Any]]
"""By table: of each key what is compared."""

# By the tag of a packed record: its table, where its key is, and where what else is compared is.
_PACKED = {
    "Trade": ("trades", {"trade_id": 3}, {"time": 4, "price": 5, "size": 6, "side": 7}),
    "Kline": ("klines", {"interval": 3, "open_time": 4}, {"open": 6, "high": 7, "close": 9, "trade_count": 12}),
    "Quote": ("quotes", {"update_id": 3}, {"bid_price": 5, "bid_size": 6, "ask_price": 7, "ask_size": 8}),
    "BookSnapshot": ("book_snapshots", {"update_id": 3}, {"time": 4, "bids": 5, "asks": 6}),
    "BookUpdate": ("book_updates", {"last_id": 4}, {"first_id": 3, "time": 6, "bids": 7, "asks": 8}),
    "Gap": ("gaps", {"channel": 3, "start": 4}, {"end": 5, "from_id": 6, "to_id": 7}),
}
KEYS = {table: list(key) for table, key, _ in _PACKED.values()}
_FACTS = {table: list(facts) for table, _, facts in _PACKED.values()}
_TRADE_COUNT, _CLOSED = 12, 15  # of a packed kline
_LOOK_S = 0.02


class Watch:
    """Keeps what comes into spools below `root`, though a writer clears it away: every segment gets a second name, in `kept`.

    That name holds the names of its folders. Both places lie on one disk, apart. A segment that lives shorter than a
    look lasts can be missed.
    """

    def __init__(self, root: Path, kept: Path) -> None:
        self.kept = kept
        self._root = root
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="watch")

    def __enter__(self) -> Self:
        self.kept.mkdir(parents=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._look()

    def _keep_looking(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        for path in _segments(self._root):
            name = self.kept / "-".join(path.relative_to(self._root).parts)
            # What is there already, or is gone by now.
            with suppress(FileExistsError, FileNotFoundError):
                os.link(path, name)


def has_segments(spool: Path) -> set[str]:
    """The folders of a spool in which something waits."""
    return {str(path.parent) for path in _segments(spool)}


def remember(spool: Path, mark: str = "") -> Remembered:
    """Every whole record in segments whose path from here has a mark in it."""
    remembered: Remembered = {name: {} for name in KEYS}
    ranks: dict[Any, tuple[bool, int]] = {}
    for record in _records(spool, mark):
        table, key_places, fact_places = _PACKED[record[0]]
        key = tuple(map(record.__getitem__, key_places.values()))
        if table == "klines":
            # Some stores get the running kline too; the better one stays.
            rank = record[_CLOSED], record[_TRADE_COUNT]
            if rank <= ranks.get(key, (False, -1)):
                continue
            ranks[key] = rank
            remembered[table].pop(key, None)
        facts = [record[place] for place in fact_places.values()]
        if remembered[table].setdefault(key, facts) != facts and table == "gaps":
            # Two runs found the same hole and saw different ends of it; either may stay.
            remembered[table][key] = []
    return remembered


def check(name: str, folder: Path, remembered: Remembered) -> None:
    """That what is remembered of a table is in the Delta store exactly once, and the same."""
    # The bare table, in which a double would show.
    table = pl.read_delta(str(folder / name)).with_columns(pl.col(pl.Datetime).dt.epoch("us"))
    keys = table.select(KEYS[name]).rows()
    assert len(keys) == len(set(keys))
    compare(_facts(name, table), remembered[name])


def compare(stored: dict[Any, Any], wanted: dict[Any, Any]) -> None:
    """That all that is wanted is there, and the same as far as its facts are known."""
    assert not wanted.keys() - stored.keys()
    known = {key: facts for key, facts in wanted.items() if facts}
    assert {key: stored[key] for key in known} == known


def read(url: str) -> Remembered:
    """What a store gives back, in the same form."""
    with open_store(url) as store:
        return {
            name: _facts(name, store.read(name, include_open=True).with_columns(pl.col(pl.Datetime).dt.epoch("us")))
            for name in KEYS
        }


def _facts(name: str, table: pl.DataFrame) -> dict[Any, Any]:
    facts = ([_plain(fact) for fact in row] for row in table.select(_FACTS[name]).iter_rows())
    return dict(zip(table.select(KEYS[name]).iter_rows(), facts, strict=True))


def _plain(fact: Any) -> Any:
    return [[level["price"], level["size"]] for level in fact] if isinstance(fact, list) else fact


def _records(spool: Path, mark: str) -> Iterator[list[Any]]:
    for path in sorted(_segments(spool)):
        if mark not in str(path.relative_to(spool)):
            continue
        data, place = path.read_bytes(), 0
        while place + 8 <= len(data):
            length, crc = struct.unpack_from("<II", data, place)
            payload = data[place + 8 : place + 8 + length]
            if len(payload) < length or zlib.crc32(payload) != crc:
                break
            yield from msgspec.msgpack.decode(payload)
            place += 8 + length


def _segments(spool: Path) -> Iterator[Path]:
    # Not Path.glob, which breaks off where a folder comes and goes while it looks.
    for folder, folders, names in os.walk(spool):
        # Tables may lie beside it.
        folders[:] = [name for name in folders if "=" not in name and name != "_delta_log"]
        for name in names:
            if name.endswith(".segment"):
                yield Path(folder, name)
