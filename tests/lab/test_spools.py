"""A spool is handed over, or it is told why not; it always comes to an end."""

import threading
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest

from marketlab.config import load_settings
from marketlab.lab import spools
from marketlab.lab.spools import HandedOver, Place, hand_over
from marketlab.records import Trade
from marketlab.stores.contract import Commit
from marketlab.stores.memory import MemoryStore
from marketlab.stores.spool import Spool, segments
from marketlab.stores.waiting import Load, Waiting

NOW = 1_723_161_600_000_000


class OddStore(MemoryStore):
    def write(self, name: str, table: pl.DataFrame, commit: Commit | None = None) -> int:
        raise KeyError("a bug")


@pytest.mark.parametrize("whose", ["the store's", "the writer's"])
def test_a_handover_ends_whatever_breaks(tmp_path: Path, whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Waiting, load: Load) -> None:
        raise KeyError("a bug")

    spool = Spool.create(tmp_path / "spool")
    spool.append([Trade("binance", "BTCUSDT", "1", NOW, 1.0, 1.0, "buy", NOW, "stream")])
    spool.release()
    monkeypatch.setattr(spools, "open_sink", lambda *_: OddStore() if whose == "the store's" else MemoryStore())
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    if whose == "the writer's":
        monkeypatch.setattr(Waiting, "done", broken)
    told: list[HandedOver] = []
    settings: Any = load_settings(folder=tmp_path, environ={})
    place = Place("memory://", tmp_path / "spool")
    thread = Thread(target=lambda: told.append(hand_over(place, settings)), daemon=True)
    thread.start()
    thread.join(60.0)
    assert "KeyError('a bug')" in told[0].failure or "KeyError: 'a bug'" in told[0].failure
    assert (told[0].segments, len(segments(tmp_path / "spool"))) == (1, 1)
