"""What goes wrong between a collector and its database costs nothing: each case prints what was received and what is there."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from ..servers import InfluxServer
from .accounts import HEADER, SENT, account, on_tape
from .faulty import Answer, Cut, Fault, FaultyProxy, Late
from .histories import DeltaHistory, History, InfluxHistory
from .programs import FULL, at, exchange, run, summary
from .scenes import CHANNELS, Scene, collecting
from .spools import Remembered, has_segments, remember

Told: TypeAlias = Callable[..., None]

OUTSIDE = 3
MIDNIGHT_US = 1_723_161_600_000_000
AWAY_S = 60.0 if FULL else 8.0
LATE_S = 5.0 if FULL else 1.0
TAPE_S = 15.0 if FULL else 4.0
TIMES = 5 if FULL else 2


@pytest.fixture
def tape(tapes: Path) -> Path:
    return tapes / "btcusdt_20240809.gz"


@pytest.fixture
def proxy(influxdb1: InfluxServer) -> Iterator[FaultyProxy]:
    with FaultyProxy(influxdb1.port) as proxy:
        yield proxy


@pytest.fixture
def history(influxdb1: InfluxServer, proxy: FaultyProxy) -> InfluxHistory:
    return InfluxHistory(influxdb1, proxy.port)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Print an account, and be strict."""

    def tell(case: str, history: History, sent: Remembered, spooled: Remembered, refused: Iterable[Any] = ()) -> None:
        counted = account(case, history, sent, spooled, refused)
        with capsys.disabled():
            print(f"\n{HEADER}\n{counted}")
        assert (counted.lost, counted.doubled) == (0, 0)
        if sent:
            assert counted.received == counted.stored + counted.refused
            assert counted.gaps == 0

    return tell


def is_done(summary: Any) -> bool:
    """Every store has everything."""
    return all(store["pending"] == 0 and store["failure"] == "" for store in summary["stores"])


def wait_for_more(scene: Scene, proxy: FaultyProxy) -> None:
    written = proxy.lines
    scene.until(lambda: proxy.lines > written)


def wait_for_faults(scene: Scene, proxy: FaultyProxy) -> None:
    met = proxy.faults
    scene.until(lambda: proxy.faults > met)


def test_nothing_goes_wrong(tape: Path, tmp_path: Path, told: Told) -> None:
    history = DeltaHistory(tmp_path / "work" / "store")
    with collecting(tmp_path, tape, history.url) as scene:
        assert is_done(scene.end())
    told("nothing goes wrong", history, on_tape(tape), scene.remembered(history))


@pytest.mark.parametrize(
    ("case", "fault", "times"),
    [
        ("bursts of 429", Answer(429), TIMES),
        ("bursts of 429 with Retry-After", Answer(429, "1"), TIMES),
        ("bursts of 503", Answer(503), TIMES),
        ("bursts of 503 with Retry-After", Answer(503, "1"), TIMES),
        # Asked again after half a minute, or when the collector ends.
        ("the token is not good for a while (401)", Answer(401), 1),
        ("connections cut in the middle of a request", Cut("request"), 2 * TIMES),
        ("connections cut before the answer", Cut("answer"), 2 * TIMES),
    ],
)
def test_a_fault_now_and_then(
    tape: Path,
    tmp_path: Path,
    told: Told,
    history: InfluxHistory,
    proxy: FaultyProxy,
    case: str,
    fault: Fault,
    times: int,
) -> None:
    with collecting(tmp_path, tape, history.url, seconds=TAPE_S) as scene:
        enough = time.monotonic() + TAPE_S
        for _ in range(times):
            wait_for_more(scene, proxy)
            with proxy.failing(fault):
                wait_for_faults(scene, proxy)
            if time.monotonic() > enough:
                # Whoever ends tries a few times only, and should not meet a fault each time.
                break
        assert is_done(scene.end())
    told(case, history, on_tape(tape), scene.remembered(history))


def test_a_server_that_is_killed_and_comes_back(tape: Path, tmp_path: Path, told: Told) -> None:
    with InfluxServer() as server, FaultyProxy(server.port) as proxy:
        history = InfluxHistory(server, proxy.port)
        with collecting(tmp_path, tape, history.url, seconds=2 * TAPE_S) as scene:
            for _ in range(TIMES):
                wait_for_more(scene, proxy)
                server.kill()
                time.sleep(0.3)
                server.start()
            assert is_done(scene.end())
        told("the server killed with kill -9 and restarted", history, on_tape(tape), scene.remembered(history))


def test_no_server_for_a_while(
    tape: Path, tmp_path: Path, told: Told, history: InfluxHistory, proxy: FaultyProxy
) -> None:
    with collecting(tmp_path, tape, history.url, seconds=AWAY_S * 1.2) as scene:
        scene.until(lambda: proxy.lines)
        longest = proxy.longest
        with proxy.away():
            time.sleep(AWAY_S)
            assert scene.process.poll() is None
        assert is_done(scene.end())
    told(f"{AWAY_S:g} s without a server", history, on_tape(tape), scene.remembered(history))
    print(f"the longest request grew from {longest:,} rows to {proxy.longest:,}")
    # Batches that wait go together as they are, so that one more would have been too much.
    assert longest < 3_500 < proxy.longest <= 5_000


def test_a_slow_server_delays_no_other(
    tape: Path, tmp_path: Path, told: Told, influxdb1: InfluxServer, history: InfluxHistory, proxy: FaultyProxy
) -> None:
    quick = InfluxHistory(influxdb1)
    sent = on_tape(tape)
    with collecting(tmp_path, tape, history.url, quick.url, seconds=4 * LATE_S) as scene:
        with proxy.failing(Late(LATE_S)):
            scene.until(lambda: all(quick.count(name, "BTCUSDT") == len(sent[name]) for name in SENT))
            behind = sum(map(len, sent.values())) - proxy.lines
            late = proxy.faults
        assert is_done(scene.end())
    told("beside a slow server", quick, sent, scene.remembered(quick))
    told(f"{LATE_S:g} s for each answer", history, sent, scene.remembered(history))
    print(f"{behind:,} rows were not in the slow store when all were in the other, after {late} late answers")
    assert behind > 0


def test_a_dead_store_beside_a_good_one(
    tape: Path, tmp_path: Path, told: Told, history: InfluxHistory, proxy: FaultyProxy
) -> None:
    good = DeltaHistory(tmp_path / "work" / "store")
    sent = on_tape(tape)
    with proxy.away(), collecting(tmp_path, tape, good.url, history.url) as scene:
        done = scene.end(OUTSIDE)
    assert done["stores"][0]["pending"] == 0
    assert done["stores"][1]["pending"] >= sum(map(len, sent.values()))
    told("beside a dead store", good, sent, scene.remembered(good))
    summary(run("spool", "replay", "--store", history.url, "--json", cwd=tmp_path, settings=scene.settings))
    told("a dead store that lives again", history, sent, scene.remembered(history))


def test_rows_that_the_server_refuses(
    tapes: Path, tmp_path: Path, told: Told, influxdb1: InfluxServer, proxy: FaultyProxy
) -> None:
    # A field's type is the matter of a shard. The tape runs a second beyond the hour, where somebody's price is a text.
    history = InfluxHistory(influxdb1, proxy.port, "WITH DURATION INF SHARD DURATION 1h")
    history.write(f'trade,exchange=binance,symbol=TEXT price="1" {MIDNIGHT_US * 1_000}')
    tape = tapes / "ethusdt_20240808.gz"
    sent = on_tape(tape)
    late = {key for key, facts in sent["trades"].items() if facts[0] >= MIDNIGHT_US}
    with collecting(tmp_path, tape, history.url) as scene:
        done = scene.end(code=3)
    assert is_done(done)
    told(
        "rows that the server refuses among good ones",
        history,
        sent,
        scene.remembered(history),
        [("trades", key) for key in late],
    )
    (file,) = scene.spool.rglob("dead_letters.jsonl")
    assert done["stores"][0]["dead_letter_file"] == str(file)
    letters = [json.loads(line) for line in file.read_text().splitlines()]
    assert {(letter["record"][3],) for letter in letters} == late
    assert len(letters) == len(late) == done["stores"][0]["dead_letters"] == 8
    assert all("field type conflict" in letter["reason"] for letter in letters)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be made by root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_under_the_spool(
    tape: Path, tmp_path: Path, told: Told, small_disk: Path, history: InfluxHistory, proxy: FaultyProxy
) -> None:
    spool = small_disk / "spool"
    collect = ("collect", "BTCUSDT", *CHANNELS, "--store", history.url, "--json")
    settings = {"MARKETLAB_SPOOL": str(spool)}
    with exchange("--tape", tape, "--speed", "max", "--loop", "6", "--no-hold", log=tmp_path / "exchange.log") as port:
        with proxy.failing(Answer(503)):
            full = run(*collect, *at(port), cwd=tmp_path, settings=settings)
        assert full.returncode == OUTSIDE, full.stderr[-3000:]
        assert "the disk is full: free some room." in full.stderr.splitlines()[-1]
        unspooled = json.loads(full.stdout)["stores"][0]["unspooled"]
        spooled = remember(spool)
        assert unspooled
        assert spooled["trades"]
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        assert is_done(summary(run(*collect, *at(port), "--duration", "1", cwd=tmp_path, settings=settings)))
    assert not has_segments(spool)
    told("a full disk under the spool", history, {}, spooled)
    print(f"{unspooled:,} records found no room, and the program said so")
