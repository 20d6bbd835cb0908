"""Whatever goes wrong is one clear sentence and the right exit code, and costs nothing that could be kept."""

import gzip
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from marketlab import open_store
from marketlab import tapes as tape_files

from .programs import account_in, at, environment, exchange, free_port, run, started, summary, until
from .spools import Remembered, check, remember

MISTAKE, OUTSIDE = 2, 3
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR|CRITICAL) ")
CHANNELS = ("--channels", "trade,quote,book,kline_1m")
FIRST, LAST, QUOTES = 3735693016, 3735703162, 45_134


def sentence(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The sentence in which a program says why it ended; nothing else may be there, but for its log."""
    assert "Traceback" not in done.stderr, done.stderr
    *before, told = done.stderr.splitlines()
    assert all(map(LOG_LINE.match, before)), done.stderr
    assert done.returncode == code, told
    assert not LOG_LINE.match(told)
    assert told.rstrip()[-1] in ".?)", told
    return told


@pytest.fixture(scope="module")
def port(tapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A healthy exchange, slow enough to last."""
    log = tmp_path_factory.mktemp("exchange") / "log"
    with exchange("--tape", tapes / "btcusdt_20240809.gz", "--speed", "20", "--loop", "500", log=log) as found:
        yield found


# The caller's mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["BTCUSTD"], "Unknown symbol 'BTCUSTD' on binance. Did you mean BTCUSDT?"),
        (["BTC USDT!"], "'BTC USDT!'"),
        (["BTCUSDT", "--channels", "trade,smoke"], "binance has no channel 'smoke'; it offers agg_trade, book,"),
        (["BTCUSDT", "--channels", "kline_1x"], "binance has no kline interval '1x'; it offers 1s, 1m,"),
        (["BTCUSDT", "--channels", "kline_1H"], "binance has no kline interval '1H'; it offers 1s, 1m,"),
        (["BTCUSDT", "--channels", ","], "Name at least one symbol and one channel."),
        (["BTCUSDT", "--exchange", "mtgox"], "Unknown exchange 'mtgox'. Known: binance."),
        (
            ["BTCUSDT", "--store", "marketdata"],
            "A store's URL has :// after its kind; write it like delta://marketdata or influxdb://host/database.",
        ),
        (
            ["BTCUSDT", "--store", "oracle://x"],
            "No store answers to oracle://. There are: delta://, influxdb://, memory://,",
        ),
        ([], "Name at least one symbol, such as BTCUSDT, or set MARKETLAB_SYMBOLS."),
        (["BTCUSDT", "--ws-url", "http://127.0.0.1"], "http://127.0.0.1"),
        (["BTCUSDT", "--rest-url", "127.0.0.1:9000"], "127.0.0.1:9000"),
        (["BTCUSDT", "--record", "exists.txt"], "The tape exists.txt exists already; choose another name or remove"),
    ],
)
def test_a_mistake_in_what_is_asked(port: int, tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "exists.txt").write_text("1 {}\n")
    done = run("collect", *at(port), *arguments, "--json", cwd=tmp_path)
    assert words in sentence(done, MISTAKE)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("settings", "file", "words"),
    [
        ({"MARKETLAB_FLUSH_MS": "abc"}, "", "The setting flush_ms from the environment is 'abc': "),
        ({"MARKETLAB_FLUSH_MS": "0"}, "", "The setting flush_ms from the environment is '0': "),
        ({"MARKETLAB_LOG_LEVEL": "loud"}, "", "The setting log_level from the environment is 'loud': "),
        ({}, "flsh_ms = 300", "marketlab.toml names an unknown setting 'flsh_ms'. Did you mean flush_ms?"),
        ({}, "flush_ms = [", "marketlab.toml is unreadable: "),
        ({}, "flush_ms = 'soon'", "The setting flush_ms from marketlab.toml is 'soon': "),
    ],
)
def test_a_bad_setting(tmp_path: Path, settings: dict[str, str], file: str, words: str) -> None:
    if file:
        (tmp_path / "marketlab.toml").write_text(file)
    done = run("collect", "BTCUSDT", "--rest-url", "http://127.0.0.1:1", "--json", cwd=tmp_path, settings=settings)
    assert words in sentence(done, MISTAKE)
    assert len(done.stderr.splitlines()) == 1


# The exchange


@pytest.mark.parametrize("command", [("collect", "BTCUSDT"), ("record", "tape.gz", "BTCUSDT")])
def test_an_exchange_that_is_not_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    nobody = free_port()
    told = sentence(run(*command, *at(nobody), "--json", cwd=tmp_path), OUTSIDE)
    assert f"Cannot reach http://127.0.0.1:{nobody}/" in told
    assert not (tmp_path / "tape.gz").exists()


@pytest.mark.parametrize(
    ("fault", "speed", "every"),
    [("malformed-frames", "max", "5000"), ("hole", "max", "5000"), ("drop-connection", "20", "20000")],
)
def test_what_the_exchange_does_wrong_costs_no_trade(
    tapes: Path, tmp_path: Path, fault: str, speed: str, every: str
) -> None:
    url = f"delta://{tmp_path / 'store'}"
    options = ("--tape", tapes / "btcusdt_20240809.gz", "--speed", speed, "--fault", fault, "--fault-every", every)
    with exchange(*options, log=tmp_path / "exchange.log") as port:
        done = run("collect", "BTCUSDT", *CHANNELS, *at(port), "--store", url, "--until-idle", "3", "--json")
    told = summary(done)
    assert "Traceback" not in done.stderr
    with open_store(url) as store:
        ids = store.read("trades").get_column("trade_id").cast(pl.Int64).to_list()
        gaps = store.read("gaps")
        counts = store.read("klines").get_column("trade_count").to_list()
        quotes = store.read("quotes").height
    assert ids == list(range(FIRST, LAST + 1))
    assert counts == [2931, 1992, 1705, 1461]
    assert gaps.get_column("healed_at").null_count() == 0
    assert told["gaps"] == told["healed"] == gaps.height
    if fault == "malformed-frames":
        assert (told["unreadable"], told["gaps"], quotes) == (11, 0, QUOTES)
    else:
        assert set(gaps.get_column("channel")) >= {"trade", "book"}
    assert bool(told["reconnects"]) == (fault == "drop-connection")


# Tapes


def start_of(tape: Path, lines: int) -> list[bytes]:
    with gzip.open(tape) as file:
        return [next(file) for _ in range(lines)]


def truncated_gz(lines: list[bytes], place: Path) -> Path:
    path = place / "truncated.gz"
    packed = gzip.compress(b"".join(lines))
    path.write_bytes(packed[: len(packed) * 2 // 3])
    return path


def corrupt_gz(lines: list[bytes], place: Path) -> Path:
    path = place / "corrupt.gz"
    packed = bytearray(gzip.compress(b"".join(lines)))
    middle = len(packed) * 2 // 3
    packed[middle : middle + 64] = bytes(64)
    path.write_bytes(packed)
    return path


def truncated_text(lines: list[bytes], place: Path) -> Path:
    path = place / "truncated.txt"
    path.write_bytes(b"".join(lines[:1000]) + lines[1000][:70])
    return path


def a_line_of_garbage(lines: list[bytes], place: Path) -> Path:
    path = place / "garbage.txt"
    path.write_bytes(b"".join([*lines[:1000], b"what is this\n", *lines[1000:]]))
    return path


@pytest.mark.parametrize("damage", [truncated_gz, corrupt_gz, truncated_text, a_line_of_garbage])
def test_a_damaged_tape_is_good_up_to_the_damage(
    tapes: Path, tmp_path: Path, damage: Callable[[list[bytes], Path], Path]
) -> None:
    tape = damage(start_of(tapes / "btcusdt_20240809.gz", 3000), tmp_path)
    url = f"delta://{tmp_path / 'store'}"
    done = run("replay", tape, "--store", url, "--json")
    told = sentence(done, OUTSIDE)
    found = re.fullmatch(rf"Unreadable tape {re.escape(str(tape))}, line (\d+): .+\.", told)
    assert found, told
    line = int(found[1])
    assert 100 < line <= 3000
    if tape.suffix == ".txt":
        assert line == 1001
    account = json.loads(done.stdout)
    assert (account["ended"], account["frames"]) == ("damaged tape", line - 1)
    with open_store(url) as store:
        rows = sum(store.read(name).height for name in ("trades", "quotes", "book_updates"))
        ids = store.read("trades").get_column("trade_id").cast(pl.Int64).to_list()
    assert rows == line - 1
    assert ids == list(range(FIRST, FIRST + len(ids)))
    assert sentence(run("exchange", "--tape", tape), OUTSIDE) == told


def test_a_frame_that_is_damaged_costs_only_itself(tapes: Path, tmp_path: Path) -> None:
    lines = start_of(tapes / "btcusdt_20240809.gz", 3000)
    lines[1000] = lines[1000][:70] + b"\n"
    tape = tmp_path / "frame.txt"
    tape.write_bytes(b"".join(lines))
    told = summary(run("replay", tape, "--store", f"delta://{tmp_path / 'store'}", "--json"))
    assert (told["frames"], told["unreadable"]) == (3000, 1)


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("missing.gz", None, OUTSIDE, "missing.gz: there is no such file."),
        ("text.gz", b"no tape\n", OUTSIDE, "text.gz, line 1: the packed data is damaged"),
        ("text.txt", b"no tape\n", OUTSIDE, "text.txt, line 1: a line is the nanosecond of receipt, a blank and the"),
        ("other.txt", b'5 {"a":1}\n', MISTAKE, "There is no frame of"),
        ("empty.txt", b"", MISTAKE, "There is no frame of"),
    ],
)
@pytest.mark.parametrize("command", [("replay",), ("exchange", "--tape")])
def test_what_is_no_tape(
    tmp_path: Path, command: tuple[str, ...], name: str, content: bytes | None, code: int, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run(*command, name, cwd=tmp_path)
    assert words in sentence(done, code)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_channel_that_the_tape_lacks(tapes: Path, tmp_path: Path) -> None:
    done = run("replay", tapes / "btcusdt_20240809.gz", "--channels", "ticker", cwd=tmp_path)
    assert sentence(done, MISTAKE).startswith("The tape holds no ticker, only book, quote, trade; klines (1s, 1m,")


# The disk

LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("marketlab", run_name="__main__", alter_sys=True)
"""


TRADES = 10_147  # of the tape
ENDLESS = ("--speed", "max", "--loop", "6", "--no-hold")


def mounted(place: Path, options: str) -> bool:
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if os.geteuid() or not shutil.which("mount"):
        return False
    return not subprocess.run(mount, capture_output=True, check=False).returncode


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    yield place
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_keeps_what_was_on_it(tapes: Path, tmp_path: Path, disk: Path) -> None:
    if not mounted(disk, "size=1m"):
        pytest.skip("a small disk can only be made by root")
    folder = disk / "store"
    options = ("BTCUSDT", *CHANNELS, "--store", f"delta://{folder}", "--json")
    with exchange(*ENDLESS, "--tape", tapes / "btcusdt_20240809.gz", log=tmp_path / "exchange.log") as port:
        full = limited(resource.RLIM_INFINITY, "collect", *options, *at(port))
        told = sentence(full, OUTSIDE)
        assert told.endswith("the disk is full: free some room.")
        assert "records could not be kept" in told
        account = json.loads(full.stdout)
        assert account["ended"] == "failed"
        assert account["stores"][0]["pending"] >= account["stores"][0]["unspooled"] > 0
        remembered = remember(folder / "_spool")
        assert sum(map(len, remembered.values()))
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        again = summary(run("collect", *options, *at(port), "--duration", "1"))
    assert_all_there(again, folder, remembered)


def test_a_limit_of_file_sizes_costs_nothing(tapes: Path, tmp_path: Path) -> None:
    # The spool goes on in another file; what the store cannot write in files so small waits there.
    folder = tmp_path / "store"
    options = ("BTCUSDT", *CHANNELS, "--store", f"delta://{folder}", "--json")
    with exchange(*ENDLESS, "--tape", tapes / "btcusdt_20240809.gz", log=tmp_path / "exchange.log") as port:
        done = limited(1_000_000, "collect", *options, *at(port), "--until-idle", "3")
        assert done.returncode in (0, OUTSIDE)
        account = json.loads(done.stdout)
        assert account["ended"] == "idle"
        assert account["stores"][0]["unspooled"] == 0
        assert (account["stores"][0]["pending"] > 0) == (done.returncode == OUTSIDE)
        remembered = remember(folder / "_spool")
        again = summary(run("collect", *options, *at(port), "--duration", "1"))
    assert_all_there(again, folder, remembered)
    with open_store(f"delta://{folder}") as store:
        ids = store.read("trades", columns=["trade_id"]).get_column("trade_id").cast(pl.Int64)
    assert ids.to_list() == list(range(ids[0], ids[-1] + 1))
    assert ids.len() > TRADES


def limited(file_size: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(file_size), *map(str, arguments)],
        capture_output=True,
        check=False,
        env=environment(),
        text=True,
        timeout=180,
    )


def assert_all_there(again: Any, folder: Path, remembered: Remembered) -> None:
    assert again["stores"][0]["pending"] == 0
    assert not list((folder / "_spool").glob("*/*.segment"))
    for name, rows in remembered.items():
        if rows:
            check(name, folder, remembered)


def test_a_disk_that_is_read_only(port: int, disk: Path) -> None:
    if not mounted(disk, "size=1m,ro"):
        pytest.skip("a read-only disk can only be made by root")
    done = run("collect", "BTCUSDT", *at(port), "--store", f"delta://{disk}/store", "--json")
    words = "the disk is read-only: remount it or choose another place."
    assert sentence(done, OUTSIDE) == f"Cannot write to {disk}/store/_spool: {words}"
    done = run("record", disk / "tape.gz", "BTCUSDT", *at(port), "--json")
    assert sentence(done, OUTSIDE).startswith(f"The tape {disk}/tape.gz cannot be written: ")


def test_a_file_where_a_folder_should_be(port: int, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    done = run("collect", "BTCUSDT", *at(port), "--store", f"delta://{file}/store", "--json")
    assert sentence(done, MISTAKE) == f"{file} is a file: name the folder of a store, or one that is to become it."
    done = run("record", file / "tape.gz", "BTCUSDT", *at(port), "--json")
    assert sentence(done, OUTSIDE).startswith(f"The tape {file}/tape.gz cannot be written: ")
    assert file.read_text() == "in the way"


# Somebody ends it


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_whoever_is_stopped_has_everything_flushed(port: int, tmp_path: Path, which: signal.Signals) -> None:
    folder, tape, channels = tmp_path / "store", tmp_path / "tape.gz", CHANNELS
    collecting, recording = tmp_path / "collect.log", tmp_path / "record.log"
    collect = ("collect", "BTCUSDT", *channels, *at(port), "--store", f"delta://{folder}", "--json")
    record: tuple[str | Path, ...] = ("record", tape, "BTCUSDT", *channels, *at(port), "--json")
    with started(*collect, log=collecting) as collector, started(*record, log=recording) as recorder:
        until(lambda: list(folder.glob("_spool/*/*.segment")), collector, collecting)
        until(lambda: tape.exists() and tape.stat().st_size > 20_000, recorder, recording)
        collector.send_signal(which)
        recorder.send_signal(which)
        assert collector.wait(60) == 0, collecting.read_text()
        assert recorder.wait(60) == 0, recording.read_text()
    account = account_in(collecting)
    assert account["ended"] == "stopped"
    assert account["stores"][0]["pending"] == 0
    assert not list(folder.glob("_spool/*/*.segment"))
    with open_store(f"delta://{folder}") as store:
        ids = store.read("trades").get_column("trade_id").cast(pl.Int64).to_list()
        rows = {name: store.read(name).height for name in ("trades", "quotes", "book_updates")}
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert rows == {name: account["stores"][0]["rows"][name] for name in rows}

    lines = list(tape_files.read(tape))
    recorded = account_in(recording)
    assert recorded["ended"] == "stopped"
    assert recorded["frames"] == sum(tape_files.answer(line.frame) is None for line in lines) > 0


def test_a_killed_recording_is_good_up_to_its_last_flush(port: int, tmp_path: Path) -> None:
    tape, log = tmp_path / "tape.gz", tmp_path / "record.log"
    with started("record", tape, "BTCUSDT", *CHANNELS, *at(port), log=log) as recorder:
        until(lambda: tape.exists() and tape.stat().st_size > 50_000, recorder, log)
        recorder.kill()
        recorder.wait(60)
    url = f"delta://{tmp_path / 'store'}"
    done = run("replay", tape, "--store", url, "--json")
    found = re.search(r"line (\d+): the packed file breaks off", sentence(done, OUTSIDE))
    assert found
    assert json.loads(done.stdout)["frames"] == int(found[1]) - 1 > 1000
    with open_store(url) as store:
        ids = store.read("trades").get_column("trade_id").cast(pl.Int64).to_list()
    assert ids == list(range(ids[0], ids[-1] + 1))


def test_a_replay_that_is_stopped_has_stored_what_it_read(tapes: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "store", tmp_path / "replay.log"
    many = [tapes / "btcusdt_20240809.gz"] * 15
    with started("replay", *many, "--store", f"delta://{folder}", "--json", log=log) as replay:
        until(lambda: list(folder.glob("_spool/*/*.segment")), replay, log)
        replay.send_signal(signal.SIGINT)
        assert replay.wait(60) == 0, log.read_text()
    account = account_in(log)
    assert account["ended"] == "stopped"
    assert account["frames"] < 15 * 58_325
    assert account["stores"][0]["pending"] == 0
    with open_store(f"delta://{folder}") as store:
        ids = store.read("trades").get_column("trade_id").cast(pl.Int64).to_list()
    assert ids == list(range(FIRST, FIRST + len(ids)))
