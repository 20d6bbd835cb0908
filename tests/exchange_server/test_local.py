import gc
import json
import math
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marketlab.errors import TapeError
from marketlab.exchange_server import LocalExchange, Simulation, TapeSource


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def test_it_listens_when_it_is_there_and_leaves_no_thread_behind(events: Any, write_tape: Callable[..., Path]) -> None:
    threads = set(threading.enumerate())
    with LocalExchange(TapeSource(write_tape([events.trade(1, 0)])), speed=math.inf) as exchange:
        assert repr(exchange) == "<LocalExchange of TapeSource('tape.gz')>"
        assert exchange.ws_url.replace("ws:", "http:") == exchange.rest_url
        assert fetch(f"{exchange.rest_url}/api/v3/ping") == {}
        assert not exchange.wait_done(0.01)
        exchange.begin()
        assert exchange.wait_done(30)
        assert fetch(f"{exchange.rest_url}/control/status")["state"] == "done"
    exchange.stop()
    assert set(threading.enumerate()) == threads


def test_a_simulation_without_an_end_stops_when_told_to() -> None:
    exchange = LocalExchange(Simulation(), speed=math.inf)
    exchange.begin()
    while fetch(f"{exchange.rest_url}/control/status")["played"] < 1000:
        pass
    exchange.stop()


def test_one_that_nobody_refers_to_stops() -> None:
    threads = set(threading.enumerate())
    exchange = LocalExchange(Simulation(), speed=math.inf)
    exchange.begin()
    assert set(threading.enumerate()) > threads
    del exchange
    gc.collect()
    assert set(threading.enumerate()) == threads


def test_what_is_wrong_is_told_by_the_constructor(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    with pytest.raises(TapeError, match="no such file"):
        LocalExchange(TapeSource(tmp_path / "none.gz"))
    assert set(threading.enumerate()) == threads
