"""What real servers say when a collector comes to write: mistakes at once, absences never."""

from pathlib import Path

import pytest

from marketlab.config import Settings, load_settings
from marketlab.errors import StoreDenied
from marketlab.lab.opening import keeping
from marketlab.records import Trade
from marketlab.stores.open import open_store
from marketlab.stores.spool_places import places

from ..servers import InfluxServer, PostgresServer, free_port

NOW = 1_723_161_600_000_000
TRADE = Trade("binance", "BTCUSDT", "1", NOW, 1.0, 1.0, "buy", NOW, "stream")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(folder=tmp_path, environ={}, spool=tmp_path / "spool")


def test_a_database_that_is_missing_is_told_at_once(influxdb1: InfluxServer, settings: Settings) -> None:
    with pytest.raises(StoreDenied, match="nowhere"), keeping([influxdb1.url("nowhere")], settings):
        pytest.fail("it has begun")


def test_a_database_that_is_to_be_made_is_made(influxdb1: InfluxServer, settings: Settings) -> None:
    url = f"{influxdb1.url('made_at_the_start')}?create=true"
    with keeping([url], settings) as keeper:
        keeper.accept([TRADE])
    with open_store(url) as store:
        assert store.read("trades").height == 1


def test_a_postgresql_database_that_is_missing_is_told_at_once(postgres: PostgresServer, settings: Settings) -> None:
    url = f"{postgres.url.rpartition('/')[0]}/nowhere"
    with pytest.raises(StoreDenied, match="nowhere"), keeping([url], settings):
        pytest.fail("it has begun")


@pytest.mark.parametrize("scheme", ["influxdb", "postgresql", "redis"])
def test_a_server_that_is_absent_does_not_stop_collecting(
    settings: Settings, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}/{0 if scheme == 'redis' else 'market'}"
    with keeping([url], settings) as keeper:
        keeper.accept([TRADE])
    (kept,) = keeper.account()
    assert (kept.pending, kept.unspooled) == (1, 0)
    assert kept.failure
    assert [told for told in caplog.messages if told.endswith("What comes waits in the spool meanwhile.")]
    ((known, place),) = places(settings.spool)
    assert known == url
    assert list(place.glob("*/*.segment"))


def test_what_waited_for_a_server_is_stored_when_it_is_there(settings: Settings) -> None:
    server = InfluxServer()
    url = f"{server.url('market')}?create=true"
    with keeping([url], settings) as keeper:
        keeper.accept([TRADE])
    with server:
        with keeping([url], settings):
            pass
        with open_store(url) as store:
            assert store.read("trades").height == 1
