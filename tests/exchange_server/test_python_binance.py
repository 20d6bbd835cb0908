"""An independent client, python-binance, over one play of a real tape at 20x its pace."""

import asyncio
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from marketlab import tapes as tape_files
from marketlab.exchange_server import ExchangeServer, Limits, TapeSource
from marketlab.market.orderbook import OrderBook, Outcome
from marketlab.records import BookSnapshot, BookUpdate

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # third-party code, old ways
    from binance import AsyncClient, BinanceSocketManager, DepthCacheManager

# It holds on to helpers of websockets and asyncio that are on their way out.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

TRUTH = {
    1_723_161_660_000: ("61631.79", "61631.79", "61556.04", "61589.99", "79.69369", 2931),
    1_723_161_720_000: ("61590.00", "61700.00", "61590.00", "61626.17", "40.44064", 1992),
    1_723_161_780_000: ("61626.17", "61686.00", "61608.30", "61637.26", "37.08509", 1705),
    1_723_161_840_000: ("61637.26", "61691.64", "61602.00", "61607.99", "30.31600", 1461),
}
TRADES = range(3_735_693_016, 3_735_703_163)
LAST_KLINE = (1_723_161_900_000, 253)
QUOTES, DEPTHS = 45_134, 3_044


def test_it_reads_klines_trades_books_and_combined_streams_without_a_fault(tapes: Path) -> None:
    asyncio.run(play(tapes / "btcusdt_20240809.gz"))


async def play(tape: Path) -> None:
    patient = Limits(pong_within_s=600)
    async with ExchangeServer(TapeSource(tape), speed=20, start_after=None, limits=patient) as server:
        client = AsyncClient()
        client.API_URL = f"{server.rest_url}/api"
        try:
            manager = BinanceSocketManager(client, max_queue_size=1_000_000)
            manager.STREAM_URL = f"{server.ws_url}/"
            manager.ws_kwargs = {"ping_interval": None}  # a machine too slow for this pace is late, not gone
            ours = our_best_prices(tape)
            names = ["btcusdt@bookTicker", "btcusdt@depth@100ms"]
            async with (
                manager.kline_socket("BTCUSDT", "1m") as klines,
                manager.trade_socket("BTCUSDT") as trades,
                manager.multiplex_socket(names) as combined,
                DepthCacheManager(client, "BTCUSDT", bm=manager, ws_interval=100, limit=5000) as cache,
            ):
                for socket in (klines, trades, combined, cache._socket):
                    socket.TIMEOUT = 0.5  # how long its closing may take
                server.begin()
                async with asyncio.TaskGroup() as group:
                    group.create_task(check_klines(klines))
                    group.create_task(check_trades(trades))
                    group.create_task(check_combined(combined))
                    group.create_task(check_book(cache, ours))
            await check_rest(client)
        finally:
            await client.close_connection()


async def check_klines(socket: Any) -> None:
    closed = {}
    async for kline in messages(socket):
        if kline["k"]["x"]:
            closed[kline["k"]["t"]] = kline["k"]
        if (kline["k"]["t"], kline["k"]["n"]) == LAST_KLINE:
            break
    shown = {at: (*(float(k[key]) for key in "ohlcv"), k["n"]) for at, k in closed.items()}
    assert shown == {at: (*(float(text) for text in row[:5]), row[5]) for at, row in TRUTH.items()}


async def check_trades(socket: Any) -> None:
    ids = []
    async for trade in messages(socket):
        ids.append(trade["t"])
        if trade["t"] == TRADES[-1]:
            break
    assert ids == list(TRADES)


async def check_combined(socket: Any) -> None:
    streams: dict[str, int] = {}
    async for message in messages(socket):
        streams[message["stream"]] = streams.get(message["stream"], 0) + 1
        if sum(streams.values()) == QUOTES + DEPTHS:
            break
    assert streams == {"btcusdt@bookTicker": QUOTES, "btcusdt@depth@100ms": DEPTHS}


async def check_book(cache: Any, ours: dict[int, tuple[float | None, float | None]]) -> None:
    compared = 0
    last = max(ours)
    while True:
        book = await cache.recv()
        now = cache._last_update_id
        if now == last or now % 3 == 0:  # sorting its book takes python-binance long
            compared += 1
            assert (book.get_bids()[0][0], book.get_asks()[0][0]) == ours[now]
        if now == last:
            break
    assert compared > 500


async def check_rest(client: Any) -> None:
    rows = await client.get_klines(symbol="BTCUSDT", interval="1m")
    assert [row[0] for row in rows] == [*TRUTH, LAST_KLINE[0]]
    assert [float(row[5]) for row in rows[:-1]] == [float(row[4]) for row in TRUTH.values()]
    assert float((await client.get_ticker(symbol="BTCUSDT"))["volume"]) == 225.88237
    found = await client.get_historical_trades(symbol="BTCUSDT", fromId=TRADES[500], limit=10)
    assert [trade["id"] for trade in found] == list(TRADES[500:510])
    assert [info["symbol"] for info in (await client.get_exchange_info())["symbols"]] == ["BTCUSDT"]


async def messages(socket: Any) -> Any:
    while True:
        message = await socket.recv()
        assert message.get("e") != "error", message
        yield message


def our_best_prices(tape: Path) -> dict[int, tuple[float | None, float | None]]:
    book = OrderBook("binance", "BTCUSDT")
    best: dict[int, tuple[float | None, float | None]] = {}
    for line in tape_files.read(tape):
        if not line.frame.startswith(b'{"stream":"btcusdt@depth'):
            continue
        data = json.loads(line.frame)["data"]
        first, last, time = data["U"], data["u"], data["E"] * 1000
        bids, asks = ([(float(price), float(size)) for price, size in data[side]] for side in "ba")
        if not best:
            book.load(BookSnapshot("binance", "BTCUSDT", first - 1, time, [], [], 0, False, time, "replay"))
        update = BookUpdate("binance", "BTCUSDT", first, last, None, time, bids, asks, time, "replay")
        assert book.apply(update) is Outcome.APPLIED
        best[last] = (book.best_bid, book.best_ask)
    return best
