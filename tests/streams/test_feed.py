import asyncio
import contextlib
import json
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web

from marketlab import tapes as tape_files
from marketlab.errors import (
    ConnectionLost,
    ExchangeError,
    RateLimited,
    Rejected,
    StoreError,
    UnknownExchange,
    UnknownSymbol,
    Unsupported,
    UsageError,
)
from marketlab.exchange_server import ExchangeServer, Simulation, Source, TapeSource
from marketlab.exchanges.binance import Binance
from marketlab.exchanges.contract import Limits, Subscription
from marketlab.records import BookSnapshot, BookUpdate, Gap, Kline, Quote, Record, Trade
from marketlab.streams.backoff import Backoff
from marketlab.streams.feed import Feed
from marketlab.streams.hub import Batch
from marketlab.streams.runner import StreamSettings
from marketlab.streams.waiting import Wish

QUICK = StreamSettings(
    backoff=Backoff(first=0.005, ceiling=0.05), overlap_s=0.1, handover_s=5.0, open_timeout_s=5.0, start_timeout_s=5.0
)
ALL = ("trade", "quote", "book", "kline_1m")


def simulation(**options: Any) -> Simulation:
    return Simulation(["BTCUSDT", "ETHUSDT"], **{"seed": 1, "duration": 130.0, **options})


@asynccontextmanager
async def streaming(
    source: Source, symbols: Any = "BTCUSDT", channels: Any = ALL, *, serve: Any = None, **options: Any
) -> AsyncIterator[tuple[ExchangeServer, Feed, list[Record]]]:
    server = ExchangeServer(source, **{"speed": math.inf, "start_after": 0.1, **(serve or {})})
    async with server:
        options = {"settings": QUICK, **options}
        feed = Feed(symbols, channels, ws_url=server.ws_url, rest_url=server.rest_url, **options)
        records: list[Record] = []
        feed.hub.lossless(records.extend)
        async with feed:
            yield server, feed, records


def ids(records: list[Record], symbol: str = "BTCUSDT") -> list[int]:
    return [int(r.trade_id) for r in records if isinstance(r, Trade) and r.symbol == symbol]


def complete(numbers: list[int]) -> bool:
    return sorted(numbers) == list(range(min(numbers), max(numbers) + 1))


def test_a_whole_tape_through_real_sockets(tapes: Path) -> None:
    async def scenario() -> None:
        async with streaming(TapeSource(tapes / "btcusdt_20240809.gz")) as (server, feed, records):
            await feed.wait(Wish(trades=10_147, quotes=45_134, klines=4, update_id=1), 120)
            await server.done.wait()
            await feed.wait(Wish(idle=0.3), 60)
            assert ids(records) == list(range(3735693016, 3735703163))
            assert sum(isinstance(record, Quote) for record in records) == 45_134
            closed = [record for record in records if isinstance(record, Kline) and record.closed]
            assert [kline.open_time // 1000 for kline in closed] == [1723161660000 + n * 60_000 for n in range(4)]
            assert [kline.trade_count for kline in closed] == [2931, 1992, 1705, 1461]
            [book] = feed.status().books
            assert book.compared >= 3_000
            assert book.compared - book.equal <= 2
            assert {record.origin for record in records} == {"replay"}

    asyncio.run(scenario())


def test_books_follow_from_the_snapshot_of_the_tape(tapes: Path) -> None:
    async def scenario() -> None:
        async with streaming(TapeSource(tapes / "ethusdt_20240808.gz"), "eth/usdt") as (server, feed, records):
            await server.done.wait()
            await feed.wait(Wish(update_id=35346671849, symbol="ETHUSDT"), 60)
            book = feed.book("ETHUSDT", 3)
            assert (book.compared, book.equal, book.verified) == (3432, 3432, True)
            assert (len(book.bids), len(book.asks)) == (3, 3)
            assert isinstance(next(r for r in records if isinstance(r, BookSnapshot)), BookSnapshot)
            assert not [record for record in records if isinstance(record, Gap)]

    asyncio.run(scenario())


def test_iterating_gives_every_record_and_the_status_counts_them() -> None:
    async def scenario() -> None:
        async with streaming(simulation(), ["BTCUSDT", "ETHUSDT"]) as (server, feed, records):
            seen: list[Record] = []

            async def read() -> None:
                async for record in feed:
                    seen.append(record)

            reader = asyncio.create_task(read())
            await asyncio.sleep(0)
            await server.done.wait()
            await feed.wait(Wish(klines=4, idle=0.2), 60)
            status = feed.status()
            await feed.stop()
            await reader
            assert seen == records
            assert status.records == len(records)
            assert status.origins == ("simulated",)
            assert {record.origin for record in records} == {"simulated"}
            counts = {(s.symbol, s.channel): s.records for s in status.streams}
            assert counts["BTCUSDT", "trade"] == len(ids(records))
            assert counts["ETHUSDT", "book"] == sum(
                isinstance(record, BookUpdate) and record.symbol == "ETHUSDT" for record in records
            )
            assert all(book.compared and book.compared == book.equal for book in status.books)
            assert (status.running, feed.status().running) == (True, False)
            assert (status.connections, status.unreadable, status.errors) == (1, 0, 0)

    asyncio.run(scenario())


def test_a_reader_far_behind_loses_nothing() -> None:
    async def scenario() -> None:
        async with streaming(simulation(duration=60.0)) as (server, feed, records):
            queue = feed.hub.queue(limit=50)
            taken: list[Record] = []
            while len(taken) < 500:
                await asyncio.sleep(0.001)
                taken += await queue.get()
            assert feed.status().waiting < 5_000
            queue.close()
            await server.done.wait()
            await feed.wait(Wish(idle=0.2), 60)
            assert taken == records[: len(taken)]

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", ["malformed-frames", "hole", "drop-connection"])
def test_whatever_breaks_is_healed(fault: str, until: Any) -> None:
    async def scenario() -> None:
        serve = {"faults": (fault,), "fault_every": 2500, "speed": 200.0}
        async with streaming(simulation(), serve=serve) as (server, feed, records):
            await server.done.wait()
            await feed.wait(Wish(idle=0.3, update_id=1), 60)
            await until(lambda: feed.status().gaps == feed.status().healed)
            status = feed.status()
            assert complete(ids(records))
            assert len(ids(records)) == len(set(ids(records)))
            closed = [r.open_time for r in records if isinstance(r, Kline) and r.closed]
            assert len(closed) == len(set(closed))
            if fault == "malformed-frames":
                assert status.unreadable == len(feed.unreadable_frames) > 0
                assert status.gaps == 0
            else:
                assert status.gaps > 0
            if fault == "drop-connection":
                assert status.reconnects > 0
            [book] = status.books
            # The last connection may have been lost after the last update of all.
            assert feed.market.book("BTCUSDT").verified
            assert book.compared > 0
            assert book.compared - book.equal <= status.gaps  # a quote was among what was left out

    asyncio.run(scenario())


def test_what_was_missed_before_the_start_comes_back(until: Any) -> None:
    async def scenario() -> None:
        serve, told = {"speed": 200.0}, []
        async with streaming(simulation(), channels="trade", serve=serve) as (server, feed, records):
            await feed.wait(Wish(trades=30, symbol="BTCUSDT"), 60)
            await feed.stop()
            first = [record for record in records if isinstance(record, Trade)]
            newest, early = first[-1], first[3]
            number = int(early.trade_id)
            gap = Gap(
                *("binance", "BTCUSDT", "trade", early.time, early.time + 1, str(number + 1), str(number + 2)),
                *("missing trade ids", None, None, early.received, "simulated"),
            )

            def memory(streams: Any, now: int, origin: str) -> list[Trade | Gap]:
                told.append((streams, now >= newest.time - 1_000_000, origin))
                return [newest, gap]

            again = Feed("btc/usdt", "trade", ws_url=server.ws_url, rest_url=server.rest_url, memory=memory)
            later: list[Record] = []
            again.hub.lossless(later.extend)
            async with again:
                await again.wait(Wish(trades=30), 60)
                await until(lambda: again.status().healed == 2)
            assert told == [([Subscription("BTCUSDT", "trade")], True, "simulated")]
            last = int(newest.trade_id)
            assert [id for id in ids(later) if id <= last] == [number + 1, number + 2]
            assert complete([last, *(id for id in ids(later) if id > last)])
            healed = [record for record in later if isinstance(record, Gap) and record.healed_at is not None]
            assert gap.start in [record.start for record in healed]

    asyncio.run(scenario())


def test_a_stalled_connection_is_left_for_another_and_what_was_missed_comes_back() -> None:
    class Watchful(Binance):
        limits: ClassVar[Limits] = msgspec.structs.replace(Binance.limits, server_ping_s=0.1)

    async def scenario() -> None:
        serve = {"faults": ("stall",), "fault_every": 400, "speed": 50.0}
        settings = msgspec.structs.replace(QUICK, patience_s=dict.fromkeys(("trade", "quote", "book", "kline"), 0.5))
        async with streaming(simulation(), serve=serve, exchange=Watchful(), settings=settings) as (
            server,
            feed,
            records,
        ):
            await server.done.wait()
            await feed.wait(Wish(idle=0.3, update_id=1), 60)
            assert feed.status().reconnects > 0
            assert complete(ids(records))

    asyncio.run(scenario())


def test_a_shutdown_notice_leaves_no_gap() -> None:
    async def scenario() -> None:
        async with streaming(simulation(), serve={"speed": 60.0}) as (server, feed, records):
            await feed.wait(Wish(trades=50), 60)
            await server.shut_down()
            await server.done.wait()
            await feed.wait(Wish(idle=0.3), 60)
            status = feed.status()
            assert (status.reconnects, status.gaps, status.errors) == (1, 0, 0)
            assert complete(ids(records))
            assert len(ids(records)) == len(set(ids(records)))

    asyncio.run(scenario())


class Cable:
    """What lies between a feed and its exchange, and can be cut."""

    def __init__(self, to: int) -> None:
        self.port = 0
        self._to = to
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        self._server.close()
        for end in self._ends:
            end.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._ends += [writer, far_writer]
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()


def test_a_feed_whose_connection_is_down_does_not_look_healthy(until: Any) -> None:
    async def scenario() -> None:
        async with ExchangeServer(simulation(duration=None), speed=20.0, start_after=0.1) as server:
            cable = Cable(server.port)
            await cable.join()
            ws_url = f"ws://127.0.0.1:{cable.port}"
            async with Feed("BTCUSDT", ALL, ws_url=ws_url, rest_url=server.rest_url, settings=QUICK) as feed:
                await until(lambda: feed.book("BTCUSDT").verified)
                await cable.cut()
                await until(lambda: "Cannot reach" in (feed.status().last_error or ""))
                status, book = feed.status(), feed.book("BTCUSDT")
                assert (book.verified, book.current, status.books[0].verified) == (False, False, False)
                assert (status.connections, status.connections_wanted) == (0, 1)
                assert status.down_since is not None
                assert repr(status).startswith("binance: reconnecting since ")
                await cable.join()
                await until(lambda: feed.book("BTCUSDT").verified)
                assert (feed.status().connections, feed.status().down_since) == (1, None)
            assert not feed.book("BTCUSDT").verified
            await cable.cut()

    asyncio.run(scenario())


def test_more_and_less_while_it_runs() -> None:
    async def scenario() -> None:
        async with streaming(simulation(duration=None), "BTCUSDT", "trade", serve={"speed": 30.0}) as (
            _,
            feed,
            records,
        ):
            await feed.subscribe("eth-usdt", "trade", "book", "trade")
            await feed.subscribe("ETHUSDT", "trade")
            await feed.wait(Wish(trades=5, update_id=1, symbol="ETHUSDT"), 60)
            assert feed.book("ETHUSDT").verified
            await feed.unsubscribe("BTCUSDT")
            seen = len(ids(records))
            await feed.wait(Wish(trades=200, symbol="ETHUSDT"), 60)
            assert len(ids(records)) - seen < 100
            assert [stream.symbol for stream in feed.status().streams] == ["ETHUSDT", "ETHUSDT"]
            await feed.unsubscribe("ETHUSDT", "book")
            await feed.unsubscribe("ETHUSDT")
            assert feed.status().connections == 0
            with pytest.raises(UsageError, match="Name at least one channel"):
                await feed.subscribe("ETHUSDT")
            with pytest.raises(Unsupported):
                await feed.subscribe("ETHUSDT", "kline_7m")
            await feed.subscribe("BTCUSDT", "mini_ticker")
            assert feed.status().connections == 1

    asyncio.run(scenario())


def test_history_comes_over_rest() -> None:
    async def scenario() -> None:
        async with streaming(simulation(), "BTCUSDT", "trade") as (server, feed, _):
            await server.done.wait()
            klines = await feed.history("btcusdt", "1m", 500)
            assert len(klines) == 500
            times = [kline.open_time for kline in klines]
            assert times == sorted(set(times))
            with pytest.raises(UnknownSymbol, match="Did you mean BTCUSDT"):
                await feed.history("BTCUSD", "1m")
            with pytest.raises(Unsupported, match="no kline interval '7m'"):
                await feed.history("BTCUSDT", "7m")

    asyncio.run(scenario())


def test_everything_on_the_wire_is_recorded_and_replays_alike(tmp_path: Path) -> None:
    tape = tmp_path / "recorded.gz"

    async def scenario() -> tuple[int, list[Record]]:
        async with streaming(simulation(duration=30.0), record=tape) as (server, feed, records):
            await server.done.wait()
            await feed.wait(Wish(idle=0.2, update_id=1), 60)
            return feed.status().frames, records

    frames, records = asyncio.run(scenario())
    lines = list(tape_files.read(tape))
    answers = [found for line in lines if (found := tape_files.answer(line.frame)) is not None]
    assert len(lines) - len(answers) == frames
    assert [answer.request for answer in answers] == ["/api/v3/depth?symbol=BTCUSDT&limit=5000"]
    assert tape_files.origin(tape) == "simulated"

    async def again() -> list[Record]:
        async with streaming(TapeSource(tape)) as (server, feed, replayed):
            await server.done.wait()
            await feed.wait(Wish(idle=0.2, update_id=1), 60)
            assert {record.origin for record in replayed} == {"simulated"}
            return replayed

    assert ids(asyncio.run(again())) == ids(records)


def test_a_disk_that_refuses_the_tape_ends_the_feed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with streaming(simulation(), record="/dev/full") as (_, feed, _records):
            with pytest.raises(StoreError, match="No space left"):
                await feed.wait(Wish(trades=10**9), 60)
            assert not feed.running

    asyncio.run(scenario())


def test_what_a_subscriber_raises_ends_the_feed_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)

    def fail(_: Batch) -> None:
        raise ZeroDivisionError("in a callback")

    async def scenario() -> None:
        async with streaming(simulation()) as (_, feed, _records):
            feed.hub.lossless(fail)
            with pytest.raises(ZeroDivisionError):
                async for _record in feed:
                    pass
            assert feed.status().last_error == "in a callback"
            with pytest.raises(ZeroDivisionError):
                await feed.wait(Wish(records=10**9), 60)

    asyncio.run(scenario())
    assert "The feed ends: ZeroDivisionError('in a callback')" in caplog.text


def test_waiting_says_what_did_not_come() -> None:
    async def scenario() -> None:
        async with streaming(simulation(duration=20.0)) as (server, feed, _):
            await server.done.wait()
            await feed.wait(Wish(idle=0.1), 60)
            wish = Wish(trades=10**6, klines=7, update_id=10**15, symbol="BTCUSDT")
            with pytest.raises(TimeoutError, match=r"of 1,000,000 trades, \d of 7 closed klines, update \d+ of"):
                await feed.wait(wish, 0.01)
            waiting = asyncio.create_task(feed.wait(Wish(trades=10**6), 60))
            await asyncio.sleep(0)
            await feed.stop()
            with pytest.raises(UsageError, match="not running; it had"):
                await waiting
            with pytest.raises(UsageError, match="starts once"):
                await feed.start()

    asyncio.run(scenario())


async def start(symbols: Any, channels: Any = "trade", **options: Any) -> None:
    async with Feed(symbols, channels, settings=QUICK, **options):
        pass


@pytest.mark.parametrize(
    ("symbols", "channels", "kind", "words"),
    [
        ("BTCUSDX", "trade", UnknownSymbol, "Unknown symbol 'BTCUSDX' on binance. Did you mean BTCUSDT"),
        ("BTCUSDT", "candles", Unsupported, "binance has no channel 'candles'; it offers"),
        ("BTCUSDT", "kline_7m", Unsupported, "no kline interval '7m'"),
        ("B?", "trade", UsageError, "is not a symbol"),
        ((), "trade", UsageError, "at least one symbol and one channel"),
        ("BTCUSDT", (), UsageError, "at least one symbol and one channel"),
    ],
)
def test_a_callers_mistake_is_one_sentence(symbols: Any, channels: Any, kind: type[Exception], words: str) -> None:
    async def scenario() -> None:
        async with ExchangeServer(simulation()) as server:
            await start(symbols, channels, ws_url=server.ws_url, rest_url=server.rest_url)

    with pytest.raises(kind, match=words.replace("(", r"\(").replace("?", r"\?")):
        asyncio.run(scenario())


def test_an_exchange_that_is_not_installed() -> None:
    with pytest.raises(UnknownExchange, match="Unknown exchange 'nowhere'"):
        Feed("BTCUSDT", exchange="nowhere")


def test_a_tape_is_never_overwritten(tmp_path: Path) -> None:
    tape = tmp_path / "tape.txt"
    tape.write_text("1 {}\n")

    async def scenario() -> None:
        async with ExchangeServer(simulation()) as server:
            await start("BTCUSDT", ws_url=server.ws_url, rest_url=server.rest_url, record=tape)

    with pytest.raises(UsageError, match="exists already"):
        asyncio.run(scenario())


def test_an_exchange_that_is_not_there(free_port: int) -> None:
    with pytest.raises(ConnectionLost, match=rf"^Cannot reach http://127\.0\.0\.1:{free_port}/.*\.$"):
        asyncio.run(start("BTCUSDT", ws_url=f"ws://127.0.0.1:{free_port}", rest_url=f"http://127.0.0.1:{free_port}"))


def test_streams_that_are_not_there(free_port: int) -> None:
    settings = msgspec.structs.replace(QUICK, start_timeout_s=0.3)

    async def scenario() -> None:
        async with (
            ExchangeServer(simulation()) as server,
            Feed("BTCUSDT", ws_url=f"ws://127.0.0.1:{free_port}", rest_url=server.rest_url, settings=settings),
        ):
            pass

    with pytest.raises(ConnectionLost, match=rf"^Cannot reach ws://127\.0\.0\.1:{free_port}/stream"):
        asyncio.run(scenario())


def test_streams_that_never_answer(deaf_port: int) -> None:
    settings = msgspec.structs.replace(QUICK, start_timeout_s=0.3)

    async def scenario() -> None:
        async with (
            ExchangeServer(simulation()) as server,
            Feed("BTCUSDT", ws_url=f"ws://127.0.0.1:{deaf_port}", rest_url=server.rest_url, settings=settings),
        ):
            pass

    with pytest.raises(ConnectionLost, match="does not answer; check the address and the network"):
        asyncio.run(scenario())


EXCHANGE_INFO = {
    "symbols": [
        {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": []},
    ]
}


def answering(**others: Callable[[], web.Response]) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        name = request.path.rsplit("/", 1)[-1]
        return others[name]() if name in others else web.json_response(EXCHANGE_INFO)

    return answer


@pytest.mark.parametrize(("status", "kind"), [(418, RateLimited), (403, Rejected), (429, RateLimited), (451, Rejected)])
def test_an_exchange_that_does_not_want_us(small_exchange: Any, status: int, kind: type[ExchangeError]) -> None:
    async def silence(visit: Any) -> None:
        await visit.gone.wait()

    async def scenario() -> None:
        async with small_exchange(silence, answering()) as exchange:
            exchange.refuse += [web.Response(status=status) for _ in range(3)]
            settings = msgspec.structs.replace(QUICK, start_timeout_s=0.3)
            async with Feed("BTCUSDT", "trade", ws_url=exchange.ws_url, rest_url=exchange.rest_url, settings=settings):
                pass

    with pytest.raises(kind):
        asyncio.run(scenario())


def test_a_snapshot_that_is_too_old_or_refused_is_fetched_again(small_exchange: Any, until: Any) -> None:
    def update(first: int, last: int) -> str:
        data = {"e": "depthUpdate", "E": last, "s": "BTCUSDT", "U": first, "u": last, "b": [["1.0", "1"]], "a": []}
        return json.dumps({"stream": "btcusdt@depth@100ms", "data": data}, separators=(",", ":"))

    snapshots = [
        web.json_response({"code": -1, "msg": "not now"}, status=400),
        web.json_response({"lastUpdateId": 5, "bids": [], "asks": []}),
        web.json_response({"lastUpdateId": 12, "bids": [["0.9", "3"]], "asks": [["1.1", "2"]]}),
    ]

    async def talk(visit: Any) -> None:
        await visit.say(update(11, 12), update(13, 14))
        await visit.gone.wait()

    async def scenario() -> None:
        async with (
            small_exchange(talk, answering(depth=lambda: snapshots.pop(0))) as exchange,
            Feed("BTCUSDT", "book", ws_url=exchange.ws_url, rest_url=exchange.rest_url, settings=QUICK) as feed,
        ):
            await feed.wait(Wish(update_id=14), 60)
            book = feed.book("BTCUSDT")
            assert (book.best_bid, book.best_ask, book.id) == (1.0, 1.1, 14)
            assert feed.status().last_error == "The exchange refused the request: not now (code -1)."
            assert feed.status().errors == 1
            await feed.unsubscribe("BTCUSDT", "book")
            with pytest.raises(UsageError, match="has no book of BTCUSDT"):
                feed.book("BTCUSDT")

    asyncio.run(scenario())


def test_a_hole_that_cannot_be_filled_stays_a_gap(small_exchange: Any, until: Any) -> None:
    def trade(number: int) -> str:
        data = {"e": "trade", "s": "BTCUSDT", "t": number, "p": "1", "q": "1", "T": number, "m": False}
        return json.dumps({"stream": "btcusdt@trade", "data": data}, separators=(",", ":"))

    async def talk(visit: Any) -> None:
        await visit.say(trade(1), trade(5))
        await visit.gone.wait()

    async def scenario() -> None:
        async with (
            small_exchange(talk, answering(historicalTrades=lambda: web.json_response([]))) as exchange,
            Feed("BTCUSDT", "trade", ws_url=exchange.ws_url, rest_url=exchange.rest_url, settings=QUICK) as feed,
        ):
            gaps: list[Record] = []
            feed.hub.lossless(lambda batch: gaps.extend(r for r in batch if isinstance(r, Gap)))
            await feed.wait(Wish(trades=2), 60)
            await until(lambda: sum("historicalTrades" in path for path in exchange.asked) == 5)
            await until(lambda: not feed._healer.tasks)
            assert [(gap.from_id, gap.to_id, gap.healed_at) for gap in gaps if isinstance(gap, Gap)] == [
                ("2", "4", None)
            ]
            assert (feed.status().gaps, feed.status().healed) == (1, 0)

    asyncio.run(scenario())
