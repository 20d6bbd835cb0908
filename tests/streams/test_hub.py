import asyncio

import pytest

from marketlab.records import AggTrade, BookSnapshot, BookUpdate, Gap, Kline, Quote, Record, Ticker, Trade
from marketlab.streams.hub import Batch, Hub, channel_of


def trade(number: int, symbol: str = "BTCUSDT") -> Trade:
    return Trade("binance", symbol, str(number), number, 1.0, 1.0, "buy", number, "stream")


def ticker(vwap: float | None) -> Ticker:
    return Ticker("binance", "BTCUSDT", 1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, None, vwap, None, None, 1, "stream")


@pytest.mark.parametrize(
    ("record", "channel"),
    [
        (trade(1), "trade"),
        (AggTrade("binance", "BTCUSDT", "1", 1, 1.0, 1.0, "buy", "1", "1", 1, "stream"), "agg_trade"),
        (Quote("binance", "BTCUSDT", 1, 1, 1.0, 1.0, 1.0, 1.0, 1, "stream"), "quote"),
        (ticker(1.0), "ticker"),
        (ticker(None), "mini_ticker"),
        (BookUpdate("binance", "BTCUSDT", 1, 1, None, 1, [], [], 1, "stream"), "book"),
        (BookSnapshot("binance", "BTCUSDT", 1, 1, [], [], 1, True, 1, "stream"), "book"),
        (Gap("binance", "BTCUSDT", "trade", 1, 2, None, None, "", None, None, 1, "stream"), "gap"),
        (
            Kline("binance", "BTCUSDT", "1m", 1, 2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1.0, True, 1, "stream"),
            "kline_1m",
        ),
    ],
)
def test_every_record_has_its_channel(record: Record, channel: str) -> None:
    assert channel_of(record) == channel


def test_a_callback_gets_every_batch_until_it_leaves() -> None:
    async def scenario() -> list[Batch]:
        hub, batches = Hub(), list[Batch]()
        with hub.lossless(batches.append):
            hub.publish([trade(1)])
            hub.publish([trade(2), trade(3)])
        hub.publish([trade(4)])
        return batches

    assert asyncio.run(scenario()) == [[trade(1)], [trade(2), trade(3)]]


def test_what_a_callback_raises_is_not_swallowed() -> None:
    def fail(_: Batch) -> None:
        raise OSError("disk full")

    async def scenario() -> None:
        hub = Hub()
        hub.lossless(fail)
        hub.publish([trade(1)])

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(scenario())


def test_a_full_queue_holds_the_sockets_up_and_loses_nothing() -> None:
    async def scenario() -> tuple[list[bool], list[Record]]:
        hub = Hub()
        queue = hub.queue(limit=3)
        room = []
        hub.publish([trade(1), trade(2)])
        room.append(hub.has_room)
        hub.publish([trade(3), trade(4)])
        room.append(hub.has_room)
        reader = asyncio.create_task(hub.room())
        await asyncio.sleep(0)
        room.append(reader.done())
        got = list(await queue.get())
        await reader
        room.append(hub.has_room)
        got += await queue.get()
        return room, got

    room, got = asyncio.run(scenario())
    assert room == [True, False, False, True]
    assert got == [trade(1), trade(2), trade(3), trade(4)]


def test_a_reader_that_leaves_frees_the_sockets() -> None:
    async def scenario() -> tuple[bool, bool, int]:
        hub = Hub()
        queue = hub.queue(limit=1)
        hub.publish([trade(1)])
        before = hub.has_room
        queue.close()
        return before, hub.has_room, hub.waiting

    assert asyncio.run(scenario()) == (False, True, 0)


def test_a_closed_hub_ends_a_queue_after_what_is_left() -> None:
    async def scenario() -> tuple[Batch, Batch, Batch]:
        hub = Hub()
        queue, idle = hub.queue(), hub.queue()
        waiter = asyncio.create_task(idle.get())
        await asyncio.sleep(0)
        hub.publish([trade(1)])
        await waiter
        ended = asyncio.create_task(idle.get())
        await asyncio.sleep(0)
        hub.close()
        return await queue.get(), await queue.get(), await ended

    assert asyncio.run(scenario()) == ([trade(1)], [], [])


def test_latest_keeps_one_record_per_symbol_and_channel_and_counts_the_rest() -> None:
    async def scenario() -> None:
        hub, calls = Hub(), list[int]()
        latest = hub.latest(lambda: calls.append(1))
        hub.publish([trade(1), trade(2), trade(3, "ETHUSDT"), ticker(1.0)])
        hub.publish([trade(4)])
        assert latest.waiting == 3
        assert latest.take() == {
            ("BTCUSDT", "trade"): trade(4),
            ("ETHUSDT", "trade"): trade(3, "ETHUSDT"),
            ("BTCUSDT", "ticker"): ticker(1.0),
        }
        assert latest.dropped == hub.dropped == 2
        assert calls == [1]
        assert latest.take() == {}
        hub.publish([trade(5)])
        assert calls == [1, 1]

    asyncio.run(scenario())
