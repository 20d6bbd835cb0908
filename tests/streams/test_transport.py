import asyncio
from typing import Any

import pytest
from aiohttp import web
from websockets import exceptions as ws

from marketlab.errors import ConnectionLost, ExchangeError, RateLimited, Rejected, UsageError
from marketlab.exchanges.binance import Binance
from marketlab.exchanges.contract import Request
from marketlab.streams.rest import Rest
from marketlab.streams.transport import FOREIGN, ORIGIN_HEADER, connect, is_local, origin_of, translate

OUR_OWN_MISTAKES = {ws.ConcurrencyError, ws.InvalidState, ws.WebSocketException}


def test_every_exception_of_the_library_has_its_place_in_the_table() -> None:
    kinds = {kind for kind in vars(ws).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    kinds |= {getattr(ws, name) for name in ws.__all__}
    assert len(kinds) > 25
    assert {kind for kind in kinds if not issubclass(kind, FOREIGN)} == OUR_OWN_MISTAKES


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionRefusedError(111, "refused"), EOFError()])
def test_what_the_network_raises_is_a_lost_connection(error: Exception) -> None:
    assert isinstance(translate(error, "ws://host"), ConnectionLost)


async def silence(visit: Any) -> None:
    await visit.gone.wait()


def test_frames_come_in_order_and_in_batches(small_exchange: Any) -> None:
    sent = [f"frame {number}".encode() for number in range(3000)]

    async def talk(visit: Any) -> None:
        await visit.say(*sent)
        await visit.gone.wait()

    async def scenario() -> list[list[bytes]]:
        async with small_exchange(talk) as exchange:
            transport = await connect(exchange.ws_url)
            batches: list[list[bytes]] = []
            while sum(map(len, batches)) < len(sent):
                batches.append(await transport.receive())
            await transport.close()
            return batches

    batches = asyncio.run(scenario())
    assert [frame for batch in batches for frame in batch] == sent
    assert len(batches) < len(sent)


def test_cancelling_a_receive_loses_no_frame(small_exchange: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.heard.wait()
        await visit.say("whole")
        for number in range(200):
            await visit.say(str(number))
            await asyncio.sleep(0)
        await visit.gone.wait()

    async def scenario() -> list[bytes]:
        got: list[bytes] = []
        async with small_exchange(talk) as exchange:
            transport = await connect(exchange.ws_url)
            await transport.send("go")
            while len(got) < 201:
                try:
                    async with asyncio.timeout(0.0005):
                        got += await transport.receive()
                except TimeoutError:
                    continue
            await transport.close()
        return got

    assert asyncio.run(scenario()) == [b"whole", *(str(number).encode() for number in range(200))]


def test_frames_before_a_close_are_delivered_before_the_loss(small_exchange: Any) -> None:
    async def talk(visit: Any) -> None:
        await visit.say("one", "two")

    async def scenario() -> list[bytes]:
        got: list[bytes] = []
        async with small_exchange(talk) as exchange:
            transport = await connect(exchange.ws_url)
            while len(got) < 2:
                got += await transport.receive()
            with pytest.raises(ConnectionLost, match=r"The connection to ws://127\.0\.0\.1:\d+ ended"):
                await transport.receive()
            with pytest.raises(ConnectionLost):
                await transport.send("more")
            with pytest.raises(ConnectionLost):
                await transport.ping()
            await transport.close()
            await transport.close()
        return got

    assert asyncio.run(scenario()) == [b"one", b"two"]


def test_origin_comes_from_the_handshake_and_pings_are_answered(small_exchange: Any) -> None:
    async def scenario() -> None:
        async with small_exchange(silence) as exchange:
            transport = await connect(exchange.ws_url)
            assert transport.origin is None
            await transport.close()
            exchange.headers[ORIGIN_HEADER] = "simulated"
            transport = await connect(exchange.ws_url)
            assert transport.origin == "simulated"

            async def read() -> None:
                await transport.receive()

            reader = asyncio.create_task(read())
            await asyncio.wait_for(transport.ping(), 10)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            await transport.close()

    asyncio.run(scenario())


def test_only_known_origins_count() -> None:
    assert [origin_of(text) for text in (None, "replay", "gossip")] == [None, "replay", None]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ({"status": 429, "headers": {"Retry-After": "7"}}, RateLimited, "next request in 7 s"),
        ({"status": 418}, RateLimited, "banned this address; next request in 60 s"),
        ({"status": 403}, Rejected, "HTTP 403 Forbidden"),
        ({"status": 503}, ConnectionLost, "HTTP 503; it may be under maintenance"),
    ],
)
def test_a_refused_handshake(
    small_exchange: Any, answer: dict[str, Any], kind: type[ExchangeError], words: str
) -> None:
    async def scenario() -> None:
        async with small_exchange(silence) as exchange:
            exchange.refuse.append(web.Response(**answer))
            await connect(exchange.ws_url)

    with pytest.raises(kind, match=words):
        asyncio.run(scenario())


def test_nobody_there_is_one_sentence(free_port: int) -> None:
    with pytest.raises(ConnectionLost, match=rf"^Cannot reach ws://127\.0\.0\.1:{free_port}: .*\.$"):
        asyncio.run(connect_only(f"ws://127.0.0.1:{free_port}"))


def test_a_server_that_never_answers(deaf_port: int) -> None:
    with pytest.raises(ConnectionLost, match="does not answer"):
        asyncio.run(connect_only(f"ws://127.0.0.1:{deaf_port}", timeout_s=0.2))


@pytest.mark.parametrize("url", ["http://127.0.0.1", "ws://", "nonsense"])
def test_a_wrong_address_is_the_callers_mistake(url: str) -> None:
    with pytest.raises(UsageError, match="isn't a valid URI"):
        asyncio.run(connect_only(url))


async def connect_only(url: str, **options: Any) -> None:
    await connect(url, **options)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("ws://127.0.0.1:8000", True),
        ("http://localhost", True),
        ("ws://[::1]:9/ws", True),
        ("wss://stream.binance.com:9443", False),
        ("ws://localhost.example.com", False),
    ],
)
def test_loopback_is_known(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    small_exchange: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "WS_PROXY", "WSS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"serverTime": 1})

    async def scenario() -> None:
        async with small_exchange(silence, answer) as exchange:
            await (await connect(exchange.ws_url)).close()
            async with Rest(Binance(), url=exchange.rest_url) as rest:
                await rest.fetch(Request("time", "/api/v3/time", (), 1), attempts=1)
            with pytest.raises(ConnectionLost):
                await connect(exchange.ws_url, proxy=f"http://127.0.0.1:{free_port}")

    asyncio.run(scenario())
