import asyncio
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marketlab.errors import UsageError
from marketlab.exchange_server import TapeSource
from marketlab.exchange_server.looped import Looped

ONE = "1.00000000"
NONE = "0.00000000"


def played(source: Looped) -> list[tuple[int, Any]]:
    asyncio.run(source.contents())
    return [(line.received, json.loads(line.frame)) for line in source.lines()]


def test_ids_times_and_the_book_go_on_from_round_to_round(events: Any, write_tape: Callable[..., Path]) -> None:
    path = write_tape(
        [
            events.quote(9, 0, "99", "101"),
            events.depth(10, 12, 100, [["99.0", ONE]], [["101.0", ONE], ["102.0", ONE]]),
            events.trade(1, 150),
            events.depth(13, 14, 200, [["98.0", ONE]], [["102.0", NONE]]),
            events.quote(15, 250, "99", "101"),
            events.trade(2, 300),
            ("btcusdt@kline_1m", events.minute + 300, {"e": "kline", "E": events.minute + 300}),
        ]
    )
    lines = played(Looped(TapeSource(path), 3))
    assert len(lines) == 7 + 2 * 7
    assert [received for received, _ in lines] == sorted(received for received, _ in lines)
    data = {
        kind: [frame["data"] for _, frame in lines if f"@{kind}" in frame["stream"]]
        for kind in ("trade", "depth", "book")
    }
    assert [trade["t"] for trade in data["trade"]] == [1, 2, 3, 4, 5, 6]
    ids = [(depth["U"], depth["u"]) for depth in data["depth"]]
    assert ids == [(10, 12), (13, 14), (15, 16), (18, 20), (21, 22), (23, 24), (26, 28), (29, 30)]
    assert [quote["u"] for quote in data["book"]] == [9, 15, 17, 23, 25, 31]
    back = data["depth"][2]
    assert (back["b"], back["a"]) == ([["99.0", NONE], ["98.0", NONE]], [["101.0", NONE]])
    times = [depth["E"] for depth in data["depth"]]
    assert times == sorted(times)
    assert data["trade"][2]["T"] - data["trade"][0]["T"] == 300


def test_ids_have_no_hole_where_book_and_quotes_begin_apart(events: Any, write_tape: Callable[..., Path]) -> None:
    path = write_tape([events.depth(10, 12, 0), events.quote(13, 1, "1", "2"), events.depth(13, 14, 2)])
    data = [frame["data"] for _, frame in played(Looped(TapeSource(path), 2)) if "depth" in frame["stream"]]
    assert all(after["U"] == before["u"] + 1 for before, after in itertools.pairwise(data))


def test_the_book_goes_back_to_the_snapshot(events: Any, write_tape: Callable[..., Path]) -> None:
    snapshot = {"lastUpdateId": 9, "bids": [["99.0", ONE]], "asks": [["101.0", ONE]]}
    path = write_tape(
        [(0, snapshot), events.depth(10, 12, 1, [["99.0", "5.00000000"], ["98.0", ONE]]), events.trade(1, 2)]
    )
    source = Looped(TapeSource(path), 2)
    back = played(source)[3][1]["data"]
    assert back["b"] == [["98.0", NONE], ["99.0", ONE]]
    assert back["a"] == [["101.0", ONE]]
    assert repr(source) == "TapeSource('tape.gz') x 2"
    assert (source.origin, source.history("BTCUSDT")) == ("replay", ())


def test_it_is_played_once_at_least(events: Any, write_tape: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="at least once, not 0 times"):
        Looped(TapeSource(write_tape([events.trade(1, 0)])), 0)
