import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..servers import InfluxServer, RedisServer, free_port

Run = Callable[..., Any]


def test_what_the_store_holds_for_machines(run: Run, stored: str) -> None:
    ended = run("status", "--store", stored, "--json")
    found = json.loads(ended.out)
    assert ended.code == 0
    assert found["store"]["reachable"] is True
    assert found["store"]["holds"][0] == {
        "table": "trades",
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "interval": None,
        "rows": 50,
        "first": "2024-08-09T00:00:00.000Z",
        "last": "2024-08-09T00:00:49.000Z",
    }
    assert found["settings"]["store"] == {"value": stored, "source": "the command line"}
    assert found["packages"]["polars"]


def test_what_the_store_holds_for_people(run: Run, stored: str) -> None:
    ended = run("status", "--store", stored)
    assert "klines 1m" in ended.out
    assert "2024-08-09T00:00:49.000Z" in ended.out


def test_a_store_that_nobody_knows_is_a_mistake_but_the_rest_is_shown(run: Run) -> None:
    ended = run("status", "--store", "oracle://host/db")
    assert ended.code == 2
    assert "snapshot_seconds" in ended.out
    assert "No store answers to oracle://" in ended.out


def test_an_empty_store_holds_nothing_yet(run: Run, tmp_path: Path) -> None:
    ended = run("status", "--store", f"delta://{tmp_path}/none")
    assert ended.code == 0
    assert "holds nothing yet" in ended.out


def test_sources_are_named_and_secrets_are_covered(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("INFLUXDB_TOKEN=hush\n")
    (tmp_path / "marketlab.toml").write_text('store = "memory://"\n')
    environ = {"PATH": os.environ["PATH"], "API_PORT": "9"}
    done = subprocess.run(
        [sys.executable, "-m", "marketlab", "status"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert lines["influxdb_token"] == ["********", ".env"]
    assert lines["store"] == ["memory://", "marketlab.toml"]
    assert lines["api_port"] == ["9", "the", "environment"]
    assert "hush" not in done.stdout + done.stderr


def test_a_store_is_tried_out_shown_and_left_as_it_was(run: Run, stored: str) -> None:
    before = run("status", "--store", stored, "--json")
    ended = run("status", "--test-store", stored)
    assert (ended.code, ended.err) == (0, "")
    for word in ("connect", "write", "read", "delete", " ms", "trades, SIMULATED", "9223372036854775808"):
        assert word in ended.out
    assert ended.out.endswith("8 rows came back as they were written, and are deleted.\n")
    assert run("status", "--store", stored, "--json") == before


def test_a_trial_for_machines(run: Run, tmp_path: Path) -> None:
    ended = run("status", "--test-store", f"delta://{tmp_path}/made/new", "--json")
    assert list(tmp_path.iterdir()) == []
    found = json.loads(ended.out)
    assert (ended.code, found["ok"], found["failed"], found["reason"]) == (0, True, None, None)
    assert [step["step"] for step in found["steps"]] == ["connect", "write", "read", "delete"]
    assert {row["origin"] for rows in found["rows"].values() for row in rows} == {"simulated"}


def test_a_trial_that_fails_names_the_step_in_one_sentence(run: Run, tmp_path: Path) -> None:
    ended = run("status", "--test-store", "oracle://user:secret@host/db")
    assert ended.code == 2
    assert ended.out == "oracle://host/db\n  connect         failed\n"
    assert ended.err.startswith("The step connect failed: No store answers to oracle://.")
    (tmp_path / "file").touch()
    ended = run("status", "--test-store", f"delta://{tmp_path}/file", "--json")
    assert ended.code == 2
    assert json.loads(ended.out)["failed"] == "connect"
    assert ended.err.count("\n") == 1


def test_a_trial_says_whose_fault_it_is(run: Run, influxdb1: InfluxServer) -> None:
    missing = run("status", "--test-store", influxdb1.url("not_there"))
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert missing.err.startswith("The step write failed: ")
    assert "'not_there'" in missing.err
    away = run("status", "--test-store", f"influxdb://127.0.0.1:{free_port()}/market")
    assert (away.code, away.err.count("\n")) == (3, 1)
    assert away.err.startswith("The step connect failed: ")


def test_a_queue_in_the_place_of_a_store_says_how_much_waits(run: Run, redis: RedisServer) -> None:
    ended = run("status", "--store", redis.url, "--json")
    found = json.loads(ended.out)["store"]
    assert (ended.code, found["reachable"], found["holds"]) == (0, True, [])
    assert isinstance(found["waiting"], int)
    assert "batches wait in this queue" in run("status", "--store", redis.url).out
    assert run("status", "--store", f"redis://127.0.0.1:{free_port()}/0").code == 3
