"""The faults are what they say they are, with the server's own view beside the client's."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from ..servers import InfluxServer
from .faulty import Answer, Cut, FaultyProxy, Late

DATABASE = "faulty"


@pytest.fixture
def proxy(influxdb1: InfluxServer) -> Iterator[FaultyProxy]:
    httpx.post(f"http://{influxdb1.host}/query", params={"q": f"CREATE DATABASE {DATABASE}"}).raise_for_status()
    with FaultyProxy(influxdb1.port) as proxy:
        yield proxy
    httpx.post(f"http://{influxdb1.host}/query", params={"q": f"DROP DATABASE {DATABASE}"}).raise_for_status()


@pytest.fixture
def client(proxy: FaultyProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{proxy.port}", timeout=30) as client:
        yield client


def write(client: httpx.Client, *values: int) -> httpx.Response:
    body = "\n".join(f"m v={value}i {value}" for value in values)
    return client.post(f"/write?db={DATABASE}", content=body)


def stored(influxdb1: InfluxServer) -> list[int]:
    question = quote('SELECT v FROM "m"')
    found = httpx.get(f"http://{influxdb1.host}/query?db={DATABASE}&epoch=ns&q={question}").raise_for_status().json()
    return [value for _, value in found["results"][0].get("series", [{"values": []}])[0]["values"]]


def test_without_a_fault_it_is_not_noticed(influxdb1: InfluxServer, proxy: FaultyProxy, client: httpx.Client) -> None:
    assert write(client, 1, 2, 3).status_code == 204
    assert write(client, 4).status_code == 204
    assert client.get("/query", params={"q": "SHOW DATABASES"}).json()["results"]
    assert stored(influxdb1) == [1, 2, 3, 4]
    assert [(passed.lines, passed.status) for passed in proxy.passed] == [(3, 204), (1, 204), (0, 200)]
    assert (proxy.lines, proxy.longest, proxy.faults) == (4, 3, 0)


@pytest.mark.parametrize("after", [None, "2"])
def test_an_answer_of_its_own(
    influxdb1: InfluxServer, proxy: FaultyProxy, client: httpx.Client, after: str | None
) -> None:
    with proxy.failing(Answer(503, after)):
        refused = write(client, 1)
    assert (refused.status_code, refused.headers.get("Retry-After")) == (503, after)
    assert write(client, 2).status_code == 204
    assert stored(influxdb1) == [2]
    assert proxy.faults == 1


@pytest.mark.parametrize(("where", "expected"), [("request", []), ("answer", [1])])
def test_a_connection_that_breaks(
    influxdb1: InfluxServer, proxy: FaultyProxy, client: httpx.Client, where: str, expected: list[int]
) -> None:
    with proxy.failing(Cut(where)), pytest.raises(httpx.TransportError):
        write(client, 1)
    assert stored(influxdb1) == expected
    assert write(client, 2).status_code == 204


def test_a_late_answer(influxdb1: InfluxServer, proxy: FaultyProxy, client: httpx.Client) -> None:
    with proxy.failing(Late(0.5)), pytest.raises(httpx.ReadTimeout):
        client.post(f"/write?db={DATABASE}", content="m v=1i 1", timeout=0.1)
    assert stored(influxdb1) == [1]


def test_nobody_there(proxy: FaultyProxy, client: httpx.Client) -> None:
    assert write(client, 1).status_code == 204
    with proxy.away(), pytest.raises(httpx.TransportError):
        write(client, 2)
    assert write(client, 3).status_code == 204
