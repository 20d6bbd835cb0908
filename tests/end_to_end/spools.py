"""Reads spools and stores side by side, with a reader of its own that shares nothing with the one it checks."""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import polars as pl

__all__ = ["KEYS", "Remembered", "check", "remember"]

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


def remember(spool: Path, remembered: Remembered) -> dict[str, int]:
    """Take note of every whole record in a spool; returns how many there are by table."""
    counts: Counter[str] = Counter()
    for record in _records(spool):
        table, key, facts = _PACKED[record[0]]
        counts[table] += 1
        known = remembered.setdefault(table, {})
        known.setdefault(tuple(map(record.__getitem__, key.values())), [record[place] for place in facts.values()])
    return dict(counts)


def check(name: str, folder: Path, remembered: Remembered) -> None:
    """That what is remembered of a table is in the store exactly once, and the same."""
    # The bare table, in which a double would show.
    table = pl.read_delta(str(folder / name)).with_columns(pl.col(pl.Datetime).dt.epoch("us"))
    keys = table.select(KEYS[name]).rows()
    assert len(keys) == len(set(keys))
    stored = dict(zip(keys, table.select(_FACTS[name]).to_dicts(), strict=True))
    wanted = remembered.get(name, {})
    assert not wanted.keys() - stored.keys()
    for key, facts in wanted.items():
        assert [_plain(fact) for fact in stored[key].values()] == facts


def _records(spool: Path) -> Iterator[list[Any]]:
    for path in sorted(spool.glob("*/*.segment")):
        data, place = path.read_bytes(), 0
        while place + 8 <= len(data):
            length, crc = struct.unpack_from("<II", data, place)
            payload = data[place + 8 : place + 8 + length]
            if len(payload) < length or zlib.crc32(payload) != crc:
                break
            yield from msgspec.msgpack.decode(payload)
            place += 8 + length


def _plain(fact: Any) -> Any:
    return [[level["price"], level["size"]] for level in fact] if isinstance(fact, list) else fact
