import asyncio
from typing import Any, ClassVar

import httpx
import pytest
from aiohttp import web

from marketlab.clock import ManualClock
from marketlab.errors import ConnectionLost, ExchangeError, RateLimited, Rejected, UsageError
from marketlab.exchanges.binance import Binance
from marketlab.exchanges.contract import Endpoint
from marketlab.records import BookSnapshot
from marketlab.streams.backoff import Backoff
from marketlab.streams.pacing import Priority
from marketlab.streams.rest import FOREIGN, Answer, Rest, translate
from marketlab.streams.transport import ORIGIN_HEADER

DEPTH = {"lastUpdateId": 7, "bids": [["1.5", "2"]], "asks": [["1.6", "3"]]}
REQUEST = Binance().snapshot_request("BTCUSDT", 100)
QUICK = Backoff(first=0.001, ceiling=0.001)


async def silence(visit: Any) -> None:
    await visit.gone.wait()


class Replies:
    """Answers in turn; the last one for ever."""

    def __init__(self, *replies: dict[str, Any]) -> None:
        self.replies = list(replies)

    async def __call__(self, _: web.Request) -> web.StreamResponse:
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return web.json_response(**reply)


GOOD = {"data": DEPTH, "headers": {"X-MBX-USED-WEIGHT-1M": "123"}}


def test_every_exception_of_the_library_has_its_place_in_the_table() -> None:
    kinds = {kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    left_over = {kind for kind in kinds if not issubclass(kind, FOREIGN)}
    # Raised by misuse of a client or response, and by cookies, which we do not use.
    assert {kind.__name__ for kind in left_over} == {
        "CookieConflict",
        "RequestNotRead",
        "ResponseNotRead",
        "StreamClosed",
        "StreamConsumed",
        "StreamError",
    }


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectTimeout("slow"), ConnectionLost),
        (httpx.ConnectError("refused"), ConnectionLost),
        (httpx.ReadError(""), ConnectionLost),
        (httpx.UnsupportedProtocol("gopher"), UsageError),
        (httpx.InvalidURL("no"), UsageError),
    ],
)
def test_what_the_library_raises_in_our_words(error: Exception, kind: type[Exception]) -> None:
    translated = translate(error, "http://host/path")
    assert type(translated) is kind
    assert "http://host/path" in str(translated)


def test_an_answer_with_its_records_weight_and_origin(small_exchange: Any) -> None:
    async def scenario() -> None:
        seen: list[Answer] = []
        replies = Replies(GOOD, {"data": DEPTH, "headers": {ORIGIN_HEADER: "simulated"}})
        async with small_exchange(silence, replies) as exchange:
            clock = ManualClock()
            async with Rest(Binance(), url=exchange.rest_url, clock=clock, tap=seen.append) as rest:
                [snapshot] = await rest.records(REQUEST)
                assert isinstance(snapshot, BookSnapshot)
                assert (snapshot.update_id, snapshot.origin, snapshot.received) == (7, "rest", clock.now())
                assert rest.budget.used == 123
                [snapshot] = await rest.records(REQUEST, Priority.HEAL, origin="backfill")
                assert snapshot.origin == "simulated"
                assert rest.budget.used == 128
                assert rest.requests == len(seen) == 2
                assert exchange.asked == ["/api/v3/depth?symbol=BTCUSDT&limit=100"] * 2

    asyncio.run(scenario())


def test_an_origin_that_was_asked_for_is_used_with_a_real_exchange(small_exchange: Any) -> None:
    async def scenario() -> str:
        async with (
            small_exchange(silence, Replies(GOOD)) as exchange,
            Rest(Binance(), url=exchange.rest_url) as rest,
        ):
            [snapshot] = await rest.records(REQUEST, origin="backfill")
            return snapshot.origin

    assert asyncio.run(scenario()) == "backfill"


def test_slow_down_waits_as_long_as_the_exchange_says(small_exchange: Any, until: Any) -> None:
    async def scenario() -> None:
        replies = Replies({"data": {}, "status": 429, "headers": {"Retry-After": "30"}}, GOOD)
        async with small_exchange(silence, replies) as exchange:
            clock = ManualClock()
            async with Rest(Binance(), url=exchange.rest_url, clock=clock) as rest:
                asked = asyncio.create_task(rest.fetch(REQUEST))
                await until(lambda: clock.sleepers)
                await clock.advance(29.0)
                assert rest.requests == 1
                await clock.advance(2.0)
                answer = await asked
                assert (answer.at, rest.requests, rest.failures) == (clock.now() - 1_000_000, 2, 1)

    asyncio.run(scenario())


def test_still_limited_after_the_last_attempt(small_exchange: Any) -> None:
    async def scenario() -> None:
        replies = Replies({"data": {}, "status": 429, "headers": {"Retry-After": "0"}})
        async with (
            small_exchange(silence, replies) as exchange,
            Rest(Binance(), url=exchange.rest_url, backoff=QUICK) as rest,
        ):
            with pytest.raises(RateLimited):
                await rest.fetch(REQUEST, attempts=3)
            assert rest.requests == 3

    asyncio.run(scenario())


def test_a_ban_is_told_at_once_and_nobody_asks_until_it_is_over(small_exchange: Any) -> None:
    async def scenario() -> None:
        replies = Replies({"data": {}, "status": 418, "headers": {"Retry-After": "7200"}}, GOOD)
        async with small_exchange(silence, replies) as exchange:
            clock = ManualClock()
            async with Rest(Binance(), url=exchange.rest_url, clock=clock) as rest:
                for _ in range(2):
                    with pytest.raises(RateLimited, match="banned this address; next request in 7200 s"):
                        await rest.fetch(REQUEST)
                assert rest.requests == 1
                await clock.advance(7201.0)
                await rest.fetch(REQUEST)

    asyncio.run(scenario())


def test_a_refusal_has_the_exchanges_code_and_words(small_exchange: Any) -> None:
    async def scenario() -> None:
        replies = Replies({"data": {"code": -1121, "msg": "Invalid symbol."}, "status": 400})
        async with small_exchange(silence, replies) as exchange, Rest(Binance(), url=exchange.rest_url) as rest:
            with pytest.raises(Rejected, match=r"Invalid symbol\. \(code -1121\)") as caught:
                await rest.fetch(REQUEST)
            assert caught.value.code == -1121
            assert rest.requests == 1

    asyncio.run(scenario())


def test_a_failing_server_is_asked_a_bounded_number_of_times(small_exchange: Any) -> None:
    async def scenario() -> None:
        async with (
            small_exchange(silence, Replies({"data": {}, "status": 502})) as exchange,
            Rest(Binance(), url=exchange.rest_url, backoff=QUICK) as rest,
        ):
            with pytest.raises(ConnectionLost, match="HTTP 502; it may be under maintenance"):
                await rest.fetch(REQUEST, attempts=3)
            assert (rest.requests, rest.failures) == (3, 3)

    asyncio.run(scenario())


def test_another_host_is_asked_when_the_first_is_away(small_exchange: Any, free_port: int) -> None:
    async def scenario() -> None:
        async with small_exchange(silence, Replies(GOOD)) as exchange:

            class TwoHosts(Binance):
                endpoint: ClassVar[Endpoint] = Endpoint((), (f"http://127.0.0.1:{free_port}", exchange.rest_url))

            async with Rest(TwoHosts(), backoff=QUICK) as rest:
                await rest.fetch(REQUEST)
                assert rest.url == exchange.rest_url
                await rest.fetch(REQUEST)
                assert rest.requests == 3

    asyncio.run(scenario())


@pytest.mark.parametrize(("attempts", "kind"), [(1, ConnectionLost), (2, ConnectionLost)])
def test_nobody_there_is_one_sentence(free_port: int, attempts: int, kind: type[ExchangeError]) -> None:
    async def scenario() -> None:
        async with Rest(Binance(), url=f"http://127.0.0.1:{free_port}", backoff=QUICK) as rest:
            await rest.fetch(REQUEST, attempts=attempts)

    with pytest.raises(kind, match=rf"^Cannot reach http://127\.0\.0\.1:{free_port}/api/v3/depth: .*\.$"):
        asyncio.run(scenario())


def test_a_server_that_never_answers(deaf_port: int) -> None:
    async def scenario() -> None:
        async with Rest(Binance(), url=f"http://127.0.0.1:{deaf_port}", timeout_s=0.1) as rest:
            await rest.fetch(REQUEST, attempts=1)

    with pytest.raises(ConnectionLost, match="does not answer"):
        asyncio.run(scenario())


def test_a_wrong_address_is_the_callers_mistake() -> None:
    async def scenario() -> None:
        async with Rest(Binance(), url="gopher://host") as rest:
            await rest.fetch(REQUEST)

    with pytest.raises(UsageError, match="gopher"):
        asyncio.run(scenario())
