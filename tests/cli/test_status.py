import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
