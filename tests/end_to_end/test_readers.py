"""Another process reads the store in a loop while it is written and compacted."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from deltalake import DeltaTable

from marketlab import open_store

from .programs import FULL, at, environment, exchange, started, until

READING = Path(__file__).with_name("reading.py")
OVERLAP_S = 60 if FULL else 15


def compactions(folder: Path) -> int:
    if not (folder / "trades" / "_delta_log").is_dir():
        return 0
    return sum(commit["operation"] == "OPTIMIZE" for commit in DeltaTable(folder / "trades").history())


def test_a_reader_beside_the_collector_sees_everything_once_and_for_good(tapes: Path, tmp_path: Path) -> None:
    folder, stop, log = tmp_path / "store", tmp_path / "stop", tmp_path / "collector.log"
    url = f"delta://{folder}"
    tape = tapes / "btcusdt_20240809.gz"
    collect = ("collect", "BTCUSDT", "--channels", "trade,quote,book,kline_1m", "--store", url)
    settings = {"MARKETLAB_FLUSH_MS": "100"}
    with (
        exchange("--tape", tape, "--speed", "20", "--loop", "500", log=tmp_path / "exchange.log") as port,
        subprocess.Popen(
            [sys.executable, READING, url, stop],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as reader,
    ):
        try:
            with started(*collect, *at(port), log=log, settings=settings) as collector:
                until((folder / "trades" / "_delta_log").is_dir, collector, log)
                end = time.monotonic() + OVERLAP_S
                until(
                    lambda: reader.poll() is not None or (time.monotonic() >= end and compactions(folder)),
                    collector,
                    log,
                    OVERLAP_S + 240,
                )
                collector.send_signal(signal.SIGINT)
                assert collector.wait(60) == 0, log.read_text()
        finally:
            stop.touch()
            told, complaint = reader.communicate(timeout=120)
    assert reader.returncode == 0, complaint
    seen = json.loads(told)
    print(seen, compactions(folder), "compactions of trades")
    assert seen["seconds"] >= OVERLAP_S
    assert seen["reads"] > 20
    assert seen["grown"] > 20
    with open_store(url) as store:
        assert seen["rows"] == {name: store.read(name).height for name in seen["rows"]}
