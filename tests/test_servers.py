"""That the servers which other tests trust come, go, and keep what they were told."""

from urllib.request import Request, urlopen

import pytest

from .servers import InfluxServer, PostgresServer, RedisServer, Server


@pytest.mark.parametrize("kind", [InfluxServer, PostgresServer, RedisServer])
def test_a_server_comes_and_goes(kind: type[Server], influxdb1: object, postgres: object, redis: object) -> None:
    with kind() as server:
        first = server.pid
        server.restart()
        assert server.pid != first
    assert not server.folder.exists()


def test_a_killed_influxdb_keeps_what_it_acknowledged(influxdb1: InfluxServer) -> None:
    with InfluxServer() as server:
        with urlopen(f"http://{server.host}/query", data=b"q=CREATE DATABASE d", timeout=10) as answer:
            answer.read()  # it answers 200 before the statement is carried out
        with urlopen(Request(f"http://{server.host}/write?db=d", data=b"t v=1 1"), timeout=10) as answer:
            assert answer.status == 204
        server.restart()
        with urlopen(f"http://{server.host}/query?db=d&q=SELECT%20v%20FROM%20t", timeout=10) as answer:
            assert b'["1970-01-01T00:00:00.000000001Z",1]' in answer.read()
