from collections.abc import Iterator

import pytest

pytest.importorskip("anywidget")

from marketlab.errors import UsageError
from marketlab.exchange_server import LocalExchange, Simulation
from marketlab.streams.live import LiveFeed
from marketlab.widgets.book_ladder import BookLadder
from marketlab.widgets.book_picture import Shown, shown


@pytest.fixture
def feed() -> Iterator[LiveFeed]:
    with (
        LocalExchange(Simulation(seed=4), speed=20.0, start_after=0.1) as local,
        LiveFeed("BTCUSDT", ["book"], ws_url=local.ws_url, rest_url=local.rest_url) as running,
    ):
        running.wait(update_id=1)
        yield running


def now(ladder: BookLadder) -> Shown:
    seat = ladder._seat
    assert seat is not None
    (frame,) = ladder.feed.ask(lambda: seat.scene.frames(whole=True))
    return shown(frame)


def test_options_reach_the_picture(feed: LiveFeed) -> None:
    ladder = BookLadder(feed, "btc/usdt", depth=4)
    assert repr(ladder) == "<BookLadder BTCUSDT on binance>"
    assert ladder.instrument == {"base": "BTC", "quote": "USDT", "tick": 0.01}
    assert len(now(ladder).bids) == 4
    ladder.depth = 6
    ladder.group = 10
    assert now(ladder).group == 10.0
    assert len(now(ladder).asks) == 6
    ladder.palette = "cvd"
    assert "#D55E00" in ladder.picture().svg
    ladder.close()


def test_what_the_feed_had_before_is_there_at_once(feed: LiveFeed) -> None:
    feed.subscribe("BTCUSDT", "trade", "quote")
    feed.wait(trades=10, quotes=1)
    ladder = BookLadder(feed, "BTCUSDT")
    seat = ladder._seat
    assert seat is not None
    feed.wait(records=feed.status().records + 50)
    trades = [abs(size) for _, size, _ in now(ladder).trades]
    kept = feed.trades("BTCUSDT")["size"].to_list()
    assert len(trades) == 8
    assert any(kept[at : at + 8] == trades[::-1] for at in range(len(kept)))
    assert "● simulated" in ladder.picture().svg
    ladder.close()


def test_a_step_of_one_symbol_is_none_of_another(feed: LiveFeed) -> None:
    ladder = BookLadder(feed, "BTCUSDT", group=10)
    ladder.symbol = "ETH-USDT"
    assert (ladder.symbol, ladder.group) == ("ETHUSDT", 0.0)
    assert ladder.instrument["base"] == "ETH"
    ladder.close()


@pytest.mark.parametrize("group", [-1, 0.015, float("nan"), float("inf"), 1e-12])
def test_an_impossible_step_is_refused_in_a_sentence(feed: LiveFeed, group: float) -> None:
    with pytest.raises(UsageError, match=r"give a multiple of 0\.01, the tick of BTCUSDT, or 0"):
        BookLadder(feed, "BTCUSDT", group=group)


def test_an_unknown_option_is_told_with_those_that_there_are(feed: LiveFeed) -> None:
    with pytest.raises(UsageError, match="has no option 'instrument'; there are depth, group, height"):
        BookLadder(feed, "BTCUSDT", instrument={})
