"""A simulated exchange: prices that wander, books that move with them, trades that hit the books.

Everything follows from the seed and the symbol's name alone: the same seed gives the same frames, whichever other
symbols are simulated beside it. The book proves itself as the real one does: after each depth frame with last id `u`
its best prices and sizes are those of the newest bookTicker whose id is at most `u`. Every answer and handshake of a
server that plays it is marked `simulated`.
"""

import heapq
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from marketlab.errors import UsageError
from marketlab.exchange_server.frames import number
from marketlab.exchange_server.klines import Candle
from marketlab.exchange_server.simulated_book import SimulatedBook
from marketlab.exchange_server.source import Contents, survey
from marketlab.instruments import canonical
from marketlab.records import Origin
from marketlab.tapes import Line

__all__ = ["Simulation"]

_STEP = 100_000  # microseconds between two depth frames
_MINUTE = 60_000_000
_HISTORY = 1000  # minutes of candles before the start
_LEVELS = 150  # that a side of a book has at least, at the end of a step, where its prices leave room for them
_FEW = 10  # levels; a side is never taken empty
_FIRST_TRADE = 10_000_000
_LAG_NS = 20_000_000  # from exchange time to receipt
_PRICES = {"BTC": 61700.0, "ETH": 2690.0, "BNB": 512.0, "SOL": 154.0, "XRP": 0.6, "ADA": 0.35, "DOGE": 0.104}
_UNIT = 100_000_000


class Simulation:
    """A source that makes its data up.

    Args:
        symbols: what is traded; any names, in any spelling.
        seed: another seed, other data.
        start: exchange time of the beginning, as a date in UTC (`2024-08-09`, `2024-08-09T12:00`) or a datetime; cut to
            the minute, so that the first minute is a full one.
        duration: seconds of exchange time until it ends; None: never.
        trades_per_second: roughly, for each symbol.
    """

    def __init__(
        self,
        symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT"),
        *,
        seed: int = 1,
        start: str | datetime = "2024-08-09",
        duration: float | None = None,
        trades_per_second: float = 4.0,
    ) -> None:
        if not symbols:
            raise UsageError("Name at least one symbol to simulate.")
        if duration is not None and not duration > 0:
            raise UsageError(f"The duration must be above 0 seconds, not {duration}.")
        self.symbols = tuple(dict.fromkeys(map(canonical, symbols)))
        self.seed = seed
        self.start = _moment(start)
        self.duration = duration
        self._rate = trades_per_second

    @property
    def origin(self) -> Origin:
        """Always `simulated`."""
        return "simulated"

    def __repr__(self) -> str:
        return f"Simulation({', '.join(self.symbols)}, seed={self.seed})"

    async def contents(self) -> Contents:
        """The symbols with the books that they begin with."""
        found = Contents(start=self.start)
        for symbol in self.symbols:
            market = self._market(symbol)
            survey(found, market.snapshot())
            listed = found.listed[symbol]
            listed.first_id = market.book.update_id + 1
            listed.decimals = market.decimals
            found.streams |= {f"{symbol.lower()}@{channel}" for channel in ("trade", "bookTicker", "depth@100ms")}
        return found

    def lines(self) -> Iterator[Line]:
        """A snapshot for each symbol, then what happens, in the order of exchange time."""
        markets = [self._market(symbol) for symbol in self.symbols]
        counter = 0
        for market in markets:
            counter += 1
            yield Line(counter, self.start * 1000, market.snapshot())
        steps = None if self.duration is None else math.ceil(self.duration * 1_000_000 / _STEP)
        step = 0
        while steps is None or step < steps:
            begin = self.start + step * _STEP
            happened = [market.step(begin) for market in markets]
            for time, frame in heapq.merge(*happened, key=_time):
                counter += 1
                yield Line(counter, time * 1000 + _LAG_NS, frame)
            step += 1

    def history(self, symbol: str) -> Sequence[Candle]:
        """A thousand minutes that lead up to the start."""
        return _history(random.Random(f"{self.seed}/{symbol}/history"), self._market(symbol), self.start)

    def _market(self, symbol: str) -> "_Market":
        return _Market(symbol, random.Random(f"{self.seed}/{symbol}"), self._rate)


class _Market:
    """One symbol: a fair price that wanders, and a book and trades that follow it."""

    def __init__(self, symbol: str, chance: random.Random, rate: float) -> None:
        self.symbol = symbol
        self._chance = chance
        self.rate = rate
        self._activity = 1.0
        price = next((price for base, price in _PRICES.items() if symbol.startswith(base)), 0.0)
        price = price or math.exp(chance.random() * 9 - 2)
        self.decimals = max(2, 6 - math.ceil(math.log10(price) + 1)) if price < 1000 else 2
        self.tick: int = _UNIT // 10**self.decimals
        self._fair: float = price * _UNIT / self.tick * (1 + 0.01 * (chance.random() - 0.5))
        self.volatility = 6e-5 * self._fair  # ticks in the square root of a second
        self.usual_size = 4_000 / price * _UNIT
        self._trade_id = _FIRST_TRADE
        self._happened: list[tuple[int, bytes]] = []
        self._time = 0
        self.book = SimulatedBook(symbol, 50_000_000_000 + int(chance.random() * 1e9))
        self._fill()

    @property
    def price(self) -> int:
        """The price at this moment, in units of 1e-8."""
        return round(self._fair) * self.tick

    def snapshot(self) -> bytes:
        bids, asks = self.book.levels()
        answer = {"lastUpdateId": self.book.update_id, "bids": self._texts(bids), "asks": self._texts(asks)}
        request = f"/api/v3/depth?symbol={self.symbol}&limit=5000"
        return msgspec.json.encode({"request": request, "answer": answer})

    def step(self, begin: int) -> list[tuple[int, bytes]]:
        """What happens in a tenth of a second, as (exchange time, frame)."""
        self._happened = []
        self._time = begin
        end = begin + _STEP
        self._activity = min(max(0.2, 1 + 0.98 * (self._activity - 1) + 0.15 * self._normal()), 3.0)
        self._fair += self._normal() * self.volatility * self._activity * math.sqrt(_STEP / 1e6)
        self._fair = max(self._fair, 50.0)
        first_id = self.book.update_id + 1
        self._follow(end)
        self._replenish(end)
        takers = self.rate * self._activity * 0.06 * -math.log(1 - self._chance.random())
        for _ in range(int(takers + self._chance.random())):
            self._take(self._chance.random() < 0.5, end, whole=False)
        for _ in range(1 + int(4 * self._activity * self._chance.random())):
            self._stir(end)
        bids, asks = self.book.changes()
        depth = {"e": "depthUpdate", "E": end // 1000, "s": self.symbol, "U": first_id, "u": self.book.update_id}
        levels = {"b": self._texts(bids), "a": self._texts(asks)}
        self._happened.append((end, self._frame("depth@100ms", depth | levels)))
        return self._happened

    def _fill(self) -> None:
        for distance in range(1, 400):
            for buy in (True, False):
                away = distance**1.5 * self.volatility / 60
                self._place(buy, away + self._chance.random() * (1 + away / 10))
        self.book.changes()

    def _follow(self, end: int) -> None:
        # Where the fair price has moved through the book, what is left there is taken or withdrawn, on both sides
        # before anybody places an order nearer to it: no bid ever reaches an ask.
        for buy in (True, False):
            if self.book.count(buy) < _FEW:
                for away in range(2, 2 + _FEW):
                    self._place(buy, away, end)
            while self._behind(buy) < 1:
                if self._chance.random() < 0.4:
                    self._take(not buy, end, whole=True)
                else:
                    self._set(buy, self.book.best(buy), 0, end)
        for buy in (True, False):
            if self._behind(buy) > 1 + self.volatility * 0.02:
                self._place(buy, 1 + self._chance.random() * self.volatility * 0.02, end)

    def _behind(self, buy: bool) -> float:
        # By how many ticks the best price of a side is worse than the fair one.
        distance = self._fair - self.book.best(buy)
        return distance if buy else -distance

    def _replenish(self, end: int) -> None:
        for buy in (True, False):
            for _ in range(_LEVELS - self.book.count(buy)):
                away = -math.log(1 - self._chance.random()) * max(self.volatility * 5, 100)
                self._place(buy, 1 + away, end)

    def _take(self, buying: bool, end: int, *, whole: bool) -> None:
        # A taker hits the best level of the other side, as long as there are others behind it.
        if self.book.count(not buying) < _FEW:
            return
        price = self.book.best(not buying)
        there = self.book.size(not buying, price)
        wanted = there if whole else min(there, self._some_size() // 4000 * 1000 + 1000)
        self._pass_time(end)
        millisecond = self._time // 1000
        trade = {
            "e": "trade",
            "E": millisecond,
            "s": self.symbol,
            "t": self._trade_id,
            "p": number(price * self.tick),
            "q": number(wanted),
            "T": millisecond,
            "m": not buying,
            "M": True,
        }
        self._trade_id += 1
        self._happened.append((self._time, self._frame("trade", trade)))
        self._set(not buying, price, there - wanted, end)

    def _stir(self, end: int) -> None:
        # Somebody places, changes or withdraws an order somewhere in the book.
        buy = self._chance.random() < 0.5
        if self.book.count(buy) > 380 and self._chance.random() < 0.6:
            price = self.book.at(buy, self._chance.random() ** 2)
            if price != self.book.best(buy):
                self._set(buy, price, 0, end)
                return
        self._place(buy, 1 - math.log(1 - self._chance.random()) * self.volatility, end)

    def _place(self, buy: bool, distance: float, end: int = 0) -> None:
        price = math.floor(self._fair - distance) if buy else math.ceil(self._fair + distance)
        crosses = self.book.count(not buy) and (
            price >= self.book.best(False) if buy else price <= self.book.best(True)
        )
        if price > 0 and not crosses:
            self._set(buy, price, self._some_size(), end)

    def _set(self, buy: bool, price: int, size: int, end: int) -> None:
        if self.book.set(buy, price, size) and end:
            self._pass_time(end)
            bid, ask = self.book.best(True), self.book.best(False)
            quote = {
                "u": self.book.update_id,
                "s": self.symbol,
                "b": number(bid * self.tick),
                "B": number(self.book.size(True, bid)),
                "a": number(ask * self.tick),
                "A": number(self.book.size(False, ask)),
            }
            self._happened.append((self._time, self._frame("bookTicker", quote)))

    def _pass_time(self, end: int) -> None:
        self._time += int((end - 1 - self._time) * self._chance.random() * 0.2)

    def _some_size(self) -> int:
        size = int(self.usual_size * 1.5 * math.exp(1.2 * self._normal()))
        return max(size - size % 1000, 1000)

    def _normal(self) -> float:
        return math.sqrt(-2 * math.log(1 - self._chance.random())) * math.cos(math.tau * self._chance.random())

    def _texts(self, levels: Sequence[tuple[int, int]]) -> list[tuple[str, str]]:
        return [(number(price * self.tick), number(size)) for price, size in levels]

    def _frame(self, channel: str, data: dict[str, object]) -> bytes:
        head = f'{{"stream":"{self.symbol.lower()}@{channel}","data":'
        return head.encode() + msgspec.json.encode(data) + b"}"


def _history(chance: random.Random, market: _Market, start: int) -> list[Candle]:
    # Made backwards from the first price, so that the stream goes on where it ends.
    candles: list[Candle] = []
    close, next_id = market.price, _FIRST_TRADE
    spread = market.volatility * market.tick * math.sqrt(60)
    for minute in range(1, _HISTORY + 1):
        opens = start - minute * _MINUTE
        candle = Candle(opens, opens + _MINUTE, close, full=True)
        steps = [spread * (chance.random() + chance.random() + chance.random() - 1.5) for _ in range(3)]
        candle.open = max(_whole(close + steps[0] * 1.6, market.tick), market.tick)
        candle.close = close
        candle.high = max(candle.open, close) + abs(_whole(steps[1] / 2, market.tick))
        candle.low = max(min(candle.open, close) - abs(_whole(steps[2] / 2, market.tick)), market.tick)
        candle.count = int(market.rate * 60 * (2 + 3 * chance.random()))
        candle.size = int(candle.count * market.usual_size * (1.5 + 2 * chance.random())) // 1000 * 1000
        candle.quote = candle.size * ((candle.open + candle.high + candle.low + close) // 4)
        candle.buy_size = int(candle.size * (0.3 + 0.4 * chance.random()))
        candle.buy_quote = candle.quote * candle.buy_size // candle.size
        candle.last_id = next_id - 1
        candle.first_id = next_id = next_id - candle.count
        close = candle.open
        candles.append(candle)
    candles.reverse()
    return candles


def _whole(price: float, tick: int) -> int:
    return round(price / tick) * tick


def _time(event: tuple[int, bytes]) -> int:
    return event[0]


def _moment(start: str | datetime) -> int:
    if not isinstance(start, str | datetime):
        raise UsageError(f"start is {start!r}; write a date like 2024-08-09 or 2024-08-09T12:00.")
    if isinstance(start, str):
        try:
            start = datetime.fromisoformat(start)
        except ValueError:
            raise UsageError(f"{start!r} is not a date; write it like 2024-08-09 or 2024-08-09T12:00.") from None
    moment = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
    return int(moment.timestamp()) // 60 * _MINUTE
