"""A local exchange in a process of its own: so many updates a second of one symbol, evenly spaced.

    python -m benchmarks.live_widgets.exchange --rate 1000

Every other frame is a trade at the best prices; the others change four levels near them, and where they change the best
ones a quote comes first, as on the real exchange. Tells its addresses as one line of JSON, then plays until its input
ends.
"""

import argparse
import itertools
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence

import msgspec

from marketlab.exchange_server.frames import number
from marketlab.exchange_server.klines import Candle
from marketlab.exchange_server.local import LocalExchange
from marketlab.exchange_server.simulated_book import SimulatedBook
from marketlab.exchange_server.simulation import Simulation
from marketlab.exchange_server.source import Contents, survey
from marketlab.records import Origin
from marketlab.tapes import Line

SYMBOL = "BTCUSDT"
_TICK = 1_000_000
_LEVELS = 400
_NEAR = 20
_DRIFT = 0.05
_TIME = re.compile(rb'("[ET]":)0')


class Even:
    """A source without an end that makes up `rate` frames a second; a book, and trades that follow it."""

    origin: Origin = "simulated"

    def __init__(self, rate: float) -> None:
        self._simulation = Simulation([SYMBOL], trades_per_second=rate / 2)
        self._start = time.time_ns() // 60_000_000_000 * 60_000_000
        self._step = 1e6 / rate
        close = self.history(SYMBOL)[-1].close
        self._middle = close // _TICK

    async def contents(self) -> Contents:
        found = Contents(start=self._start)
        survey(found, _snapshot(self._book()))
        found.listed[SYMBOL].first_id = self._book().update_id + 1
        found.streams |= {f"{SYMBOL.lower()}@{channel}" for channel in ("trade", "bookTicker", "depth@100ms")}
        return found

    def history(self, symbol: str) -> Sequence[Candle]:
        """What the simulation has, moved to now."""
        candles = self._simulation.history(symbol)
        later = self._start - candles[-1].end
        for candle in candles:
            candle.open_time += later
            candle.end += later
        return candles

    def lines(self) -> Iterator[Line]:
        chance, book = random.Random(1), self._book()
        yield Line(1, self._start * 1000, _snapshot(book))
        others = _changes(chance, book)
        for place in itertools.count():
            at = int(self._start + place * self._step)
            frame = _trade(chance, book, place // 2) if place % 2 else next(others)
            yield Line(place + 2, at * 1000, _TIME.sub(rb"\g<1>%d" % (at // 1000), frame))

    def _book(self) -> SimulatedBook:
        chance, book = random.Random(2), SimulatedBook(SYMBOL, 50_000_000_000)
        for away in range(1, _LEVELS):
            for buy in (True, False):
                book.set(buy, self._middle + (-away if buy else away), _size(chance))
        book.changes()
        return book


def _size(chance: random.Random) -> int:
    return int(chance.expovariate(1) * 50_000_000) // 1000 * 1000 + 1000


def _changes(chance: random.Random, book: SimulatedBook) -> Iterator[bytes]:
    while True:
        first = book.update_id + 1
        changed = _move(chance, book) if chance.random() < _DRIFT else False
        for _ in range(4):
            buy = chance.random() < 0.5
            away = int(chance.random() * _NEAR)
            changed |= book.set(buy, book.best(buy) + (-away if buy else away), _size(chance))
        bids, asks = book.changes()
        levels = {"b": _texts(bids), "a": _texts(asks)}
        if changed:
            yield _quote(book)
        ids = {"e": "depthUpdate", "E": 0, "s": SYMBOL, "U": first, "u": book.update_id}
        yield _frame("depth@100ms", ids | levels)


def _move(chance: random.Random, book: SimulatedBook) -> bool:
    # The best price of one side is taken, and the other side follows: the spread stays.
    up = chance.random() < 0.5
    best, other = book.best(not up), book.best(up)
    book.set(not up, best, 0)
    return book.set(up, other + (1 if up else -1), _size(chance))


def _trade(chance: random.Random, book: SimulatedBook, count: int) -> bytes:
    sold = chance.random() < 0.5
    price, size = number(book.best(sold) * _TICK), number(_size(chance))
    trade = {"e": "trade", "E": 0, "s": SYMBOL, "t": 10_000_000 + count, "p": price, "q": size, "T": 0, "m": sold}
    return _frame("trade", trade | {"M": True})


def _quote(book: SimulatedBook) -> bytes:
    best: dict[str, object] = {}
    for buy, price, size in ((True, "b", "B"), (False, "a", "A")):
        best |= {price: number(book.best(buy) * _TICK), size: number(book.size(buy, book.best(buy)))}
    return _frame("bookTicker", {"u": book.update_id, "s": SYMBOL} | best)


def _snapshot(book: SimulatedBook) -> bytes:
    bids, asks = book.levels()
    answer = {"lastUpdateId": book.update_id, "bids": _texts(bids), "asks": _texts(asks)}
    return msgspec.json.encode({"request": f"/api/v3/depth?symbol={SYMBOL}&limit=5000", "answer": answer})


def _texts(levels: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
    return [(number(price * _TICK), number(size)) for price, size in levels]


def _frame(channel: str, data: dict[str, object]) -> bytes:
    return f'{{"stream":"{SYMBOL.lower()}@{channel}","data":'.encode() + msgspec.json.encode(data) + b"}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000.0, help="frames a second")
    options = parser.parse_args()
    with LocalExchange(Even(options.rate)) as exchange:
        print(json.dumps({"ws_url": exchange.ws_url, "rest_url": exchange.rest_url}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
