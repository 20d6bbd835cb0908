import asyncio

from marketlab.errors import UsageError
from marketlab.streams.feed import Feed


def test_a_feed_that_was_never_started_has_a_status() -> None:
    async def scenario() -> None:
        feed = Feed(["BTCUSDT", "eth/usdt"], ["trade", "book"], ws_url="ws://127.0.0.1:1")
        status = feed.status()
        assert (status.exchange, status.url, status.running) == ("binance", "ws://127.0.0.1:1", False)
        assert (status.frames, status.streams, status.books, status.last_error) == (0, (), (), None)
        assert feed.words == "binance: BTCUSDT, eth/usdt (book, trade)"
        feed.failure = UsageError("why it ended")
        assert feed.status().last_error == "why it ended"
        await feed.stop()

    asyncio.run(scenario())
