"""A collector whose server is away: what comes waits, up to the limit that is set, and each run says what became of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from marketlab import open_store

from ..servers import InfluxServer
from .programs import at, exchange, free_port, run, started, until

LIMIT = 1_000_000
WARNING = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING (.*)")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    log = tmp_path_factory.mktemp("exchange") / "log"
    with exchange("--simulate", "--speed", "200", log=log) as found:
        yield found


def settings(folder: Path, policy: str) -> dict[str, str]:
    return {
        "MARKETLAB_SPOOL": str(folder / "spool"),
        "MARKETLAB_SPOOL_LIMIT_MB": "1",
        "MARKETLAB_SPOOL_WHEN_FULL": policy,
    }


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.segment"))


@pytest.mark.parametrize("policy", ["stop", "drop"])
def test_the_limit_of_a_spool_is_kept_and_told(port: int, tmp_path: Path, policy: str) -> None:
    url = f"influxdb://127.0.0.1:{free_port()}/market"
    limited, log = settings(tmp_path, policy), tmp_path / "log"
    # No klines: running ones wait too, and count for nothing.
    channels = ("--channels", "trade,quote,book", "--duration", "200")
    collect = ("collect", "BTCUSDT", *at(port), "--store", url, *channels, "--json")
    with started(*collect, log=log, settings=limited) as process:
        if policy == "drop":
            until(lambda: "has reached its limit" in log.read_text(), process, log)
            process.terminate()
        assert process.wait(260) == 3, log.read_text()
    lines = log.read_text().splitlines()
    warnings = [found[1] for found in map(WARNING.match, lines) if found]
    told = [line for line in lines if line.startswith("{")]
    account: Any = json.loads(told[0])
    (kept,) = account["stores"]
    assert sum("What comes waits in the spool meanwhile." in warning for warning in warnings) == 1
    (limit,) = [warning for warning in warnings if "has reached its limit of 1,000,000 bytes" in warning]
    assert kept["pending"] > 0
    assert kept["failure"]
    # A segment is closed when it is due, and the limit is looked at before each piece that is written.
    assert LIMIT / 2 < size(tmp_path / "spool") < 2 * LIMIT
    if policy == "stop":
        assert limit.endswith("nothing more is taken.")
        assert account["ended"] == "failed"
        assert kept["dropped"] == 0
        assert "records wait in the spool of influxdb://" in lines[-1]
    else:
        assert limit.endswith("the oldest records are given up.")
        assert account["ended"] == "stopped"
        assert kept["dropped"] > 0
        assert f"{kept['dropped']:,} records were given up" in lines[-1]
    listed = json.loads(run("spool", "--json", settings=limited, cwd=tmp_path).stdout)
    waiting = [sum(left["records"].values()) for state in listed for left in state["writers"]]
    assert waiting == [kept["pending"] - kept["unspooled"]]


def test_what_waited_is_stored_by_the_next_collector(tmp_path: Path) -> None:
    server, log = InfluxServer(), tmp_path / "log"
    url, kept_in = f"{server.url('market')}?create=true", {"MARKETLAB_SPOOL": str(tmp_path / "spool")}
    with exchange("--simulate", "--speed", "10", log=tmp_path / "exchange.log") as port:
        collect = ("collect", "BTCUSDT", *at(port), "--store", url, "--channels", "trade", "--json")
        first = run(*collect, "--duration", "3", settings=kept_in)
        assert first.returncode == 3, first.stderr
        pending = json.loads(first.stdout)["stores"][0]["pending"]
        assert first.stderr.splitlines()[-1].startswith(f"{pending:,} records wait in the spool of influxdb://")
        with server, open_store(url) as store:
            with started(*collect, log=log, settings={**kept_in, "MARKETLAB_FLUSH_MS": "200"}) as process:
                # What was missed in between is a gap, until it is fetched back.
                until(lambda: store.read("gaps").get_column("healed_at").drop_nulls().len(), process, log)
                process.terminate()
                assert process.wait(60) == 0, log.read_text()
            ids = store.read("trades").get_column("trade_id").cast(pl.Int64).to_list()
            gaps = store.read("gaps")
    assert len(ids) > pending
    assert gaps.get_column("healed_at").null_count() == 0
    # The second one went on where the spool of the first one ended, though the store had nothing yet.
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert not size(tmp_path / "spool")
