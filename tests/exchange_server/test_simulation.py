import asyncio
import itertools
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from marketlab.errors import UsageError
from marketlab.exchange_server import Simulation
from marketlab.exchange_server.simulated_book import SimulatedBook
from marketlab.exchange_server.source import symbol_asked

MIDNIGHT = 1_723_161_600_000


def frames_of(simulation: Simulation) -> list[Any]:
    return [json.loads(line.frame) for line in simulation.lines()]


class Follower:
    """Keeps books as a client would and compares them with the quotes."""

    def __init__(self) -> None:
        self.books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self.ids: dict[str, int] = {}
        self.quotes: dict[str, Any] = {}
        self.compared = 0

    def take(self, frame: Any) -> None:
        if "request" in frame:
            symbol, answer = symbol_asked(frame["request"]), frame["answer"]
            self.books[symbol] = dict(answer["bids"]), dict(answer["asks"])
            self.ids[symbol] = answer["lastUpdateId"]
        elif frame["stream"].endswith("@bookTicker"):
            self.quotes[frame["data"]["s"]] = frame["data"]
        elif "@depth" in frame["stream"]:
            self.follow(frame["data"])

    def follow(self, data: Any) -> None:
        symbol = data["s"]
        assert data["U"] == self.ids[symbol] + 1
        self.ids[symbol] = data["u"]
        for side, changes in zip(self.books[symbol], (data["b"], data["a"]), strict=True):
            side.update(changes)
            for price in [price for price, size in changes if float(size) == 0]:
                del side[price]
        bids, asks = self.books[symbol]
        bid, ask = max(bids, key=float), min(asks, key=float)
        assert float(bid) < float(ask)
        if symbol in self.quotes:
            quote = self.quotes[symbol]
            assert quote["u"] <= data["u"]
            assert (bid, bids[bid], ask, asks[ask]) == (quote["b"], quote["B"], quote["a"], quote["A"])
            self.compared += 1


@pytest.mark.parametrize(("symbols", "rate"), [(("BTCUSDT", "ETHUSDT"), 4.0), (("DOGEUSDT", "ANY"), 40.0)])
def test_the_books_prove_themselves(symbols: tuple[str, ...], rate: float) -> None:
    follower = Follower()
    for frame in frames_of(Simulation(symbols, seed=5, duration=60, trades_per_second=rate)):
        follower.take(frame)
    assert follower.compared > 1000


def test_no_bid_ever_reaches_an_ask() -> None:
    frames = frames_of(Simulation(seed=5, duration=120))
    quotes = [frame["data"] for frame in frames if "bookTicker" in frame.get("stream", "")]
    assert len(quotes) > 1_000
    assert all(float(quote["b"]) < float(quote["a"]) for quote in quotes)


def test_trades_have_every_id_and_times_that_rise_within_the_duration() -> None:
    trades = [frame["data"] for frame in frames_of(Simulation(duration=60)) if frame.get("stream") == "btcusdt@trade"]
    ids = [trade["t"] for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 120
    times = [trade["T"] for trade in trades]
    assert times == sorted(times)
    assert MIDNIGHT <= times[0] <= times[-1] < MIDNIGHT + 60_000
    assert {trade["m"] for trade in trades} == {True, False}


def test_receipt_times_never_run_back() -> None:
    received = [line.received for line in Simulation(duration=10).lines()]
    assert received == sorted(received)


def test_the_same_seed_gives_the_same_frames_whatever_is_beside_it() -> None:
    def frames(*symbols: str, seed: int = 3) -> list[bytes]:
        mine = (line.frame for line in Simulation(symbols, seed=seed).lines() if b'"btcusdt@' in line.frame[:24])
        return list(itertools.islice(mine, 2000))

    assert frames("BTCUSDT") == frames("ETHUSDT", "BTCUSDT")
    assert frames("BTCUSDT") != frames("BTCUSDT", seed=4)


def test_history_leads_up_to_the_first_price() -> None:
    simulation = Simulation(seed=2)
    history = simulation.history("BTCUSDT")
    assert len(history) == 1000
    assert history[-1].end == MIDNIGHT * 1000
    assert all(before.end == after.open_time for before, after in itertools.pairwise(history))
    assert all(before.close == after.open for before, after in itertools.pairwise(history))
    assert all(before.last_id + 1 == after.first_id for before, after in itertools.pairwise(history))
    assert all(row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high for row in history)
    frames = frames_of(Simulation(seed=2, duration=10))
    first = next(frame["data"] for frame in frames if frame.get("stream") == "btcusdt@trade")
    assert first["t"] == history[-1].last_id + 1
    assert abs(float(first["p"]) / (history[-1].close / 1e8) - 1) < 0.01


def test_contents_name_everything_and_the_mark() -> None:
    simulation = Simulation(["btcusdt", "BTCUSDT", "XRPUSDT"], start="2024-08-09T12:00:30")
    contents = asyncio.run(simulation.contents())
    assert list(contents.listed) == ["BTCUSDT", "XRPUSDT"]
    assert contents.start == (MIDNIGHT + 12 * 3_600_000) * 1000
    assert "xrpusdt@depth@100ms" in contents.streams
    assert simulation.origin == "simulated"
    assert repr(simulation) == "Simulation(BTCUSDT, XRPUSDT, seed=1)"


def test_the_start_may_be_a_moment_of_any_zone() -> None:
    moment = datetime(2024, 8, 9, 2, tzinfo=timezone(timedelta(hours=2)))
    assert Simulation(start=moment).start == MIDNIGHT * 1000


def test_mistakes() -> None:
    with pytest.raises(UsageError, match="not a date"):
        Simulation(start="yesterday")
    with pytest.raises(UsageError, match="above 0 seconds"):
        Simulation(duration=0)
    with pytest.raises(UsageError, match="at least one symbol"):
        Simulation([])


def test_a_simulated_book_tells_when_its_top_changes() -> None:
    book = SimulatedBook("X", 10)
    assert [book.set(True, price, 5) for price in (100, 99, 101)] == [True, False, True]
    assert [book.set(False, 105, 5), book.set(False, 110, 5), book.set(False, 105, 0)] == [True, False, True]
    assert not book.set(False, 200, 0)
    assert book.update_id == 17
    assert (book.best(True), book.best(False), book.size(True, 99), book.count(True)) == (101, 110, 5, 3)
    assert (book.at(True, 0.0), book.at(True, 0.99), book.at(False, 0.5)) == (99, 101, 110)
    assert book.changes() == ([(101, 5), (100, 5), (99, 5)], [(105, 0), (110, 5), (200, 0)])
    assert book.changes() == ([], [])
    assert book.levels() == ([(101, 5), (100, 5), (99, 5)], [(110, 5)])
