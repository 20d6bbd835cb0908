"""A source played several times over as one longer stream, for benchmarks that need more frames than a tape holds.

Ids and times go on from round to round. Between two rounds one depth frame per symbol takes the book back to the state
at the source's start, so that the book still proves itself. From the second round on only trades, book tickers and
depth frames are played.
"""

import re
from collections.abc import Iterator, Sequence

import msgspec

from marketlab import tapes
from marketlab.errors import UsageError
from marketlab.exchange_server.book import RunningBook, Snapshot
from marketlab.exchange_server.frames import PREFIX, event_time, stream_of
from marketlab.exchange_server.klines import Candle
from marketlab.exchange_server.source import Contents, Source
from marketlab.records import Origin

__all__ = ["Looped"]

_NUMBERS = re.compile(rb'"([EtTUu])":(\d+)')
_PAUSE = 100_000  # microseconds of exchange time between two rounds
_EVERYTHING = 1 << 30


class _Ids(msgspec.Struct):
    t: int = 0
    U: int = 0
    u: int = 0


class _IdsFrame(msgspec.Struct):
    data: _Ids


class _Round:
    """What the first round showed of one symbol."""

    def __init__(self) -> None:
        self.first: dict[str, bytes] = {}
        self.last: dict[str, bytes] = {}

    def span(self) -> tuple[int, int, int]:
        """First and last id of book and quotes, and how many trade ids there are."""
        first = {channel: _ids(frame) for channel, frame in self.first.items()}
        last = {channel: _ids(frame) for channel, frame in self.last.items()}
        begin = [ids.U or ids.u for ids in first.values() if ids.u]
        end = [ids.u for ids in last.values() if ids.u]
        trades = last["trade"].t - first["trade"].t + 1 if "trade" in first else 0
        return min(begin, default=0), max(end, default=0), trades


class Looped:
    """`rounds` plays of a source, one after another."""

    def __init__(self, source: Source, rounds: int) -> None:
        if rounds < 1:
            raise UsageError(f"A source is played at least once, not {rounds} times.")
        self.source = source
        self.rounds = rounds
        self._contents = Contents()

    @property
    def origin(self) -> Origin:
        """The source's."""
        return self.source.origin

    def __repr__(self) -> str:
        return f"{self.source!r} x {self.rounds}"

    async def contents(self) -> Contents:
        """What is in the source."""
        self._contents = await self.source.contents()
        return self._contents

    def history(self, symbol: str) -> Sequence[Candle]:
        """What the source has from before its start."""
        return self.source.history(symbol)

    def lines(self) -> Iterator[tapes.Line]:
        """The source's lines, then the same with ids and times that go on."""
        symbols: dict[str, _Round] = {}
        books = {symbol: RunningBook(listed) for symbol, listed in self._contents.listed.items()}
        line = first = None
        timed = b""
        for line in self.source.lines():
            first = first or line
            timed = line.frame if b'"E":' in line.frame[:96] else timed
            self._note(line.frame, symbols, books)
            yield line
        if line is None or first is None:
            return
        pause = (event_time(timed) - self._contents.start) + _PAUSE
        nanoseconds = line.received - first.received + _PAUSE * 1000
        for turn in range(1, self.rounds):
            shift = _Shift(turn, pause, symbols)
            for symbol, book in books.items():
                if symbol in symbols and "depth@100ms" in symbols[symbol].first:
                    at = line.received + (turn - 1) * nanoseconds
                    yield tapes.Line(0, at, shift.reset(symbol, book, self._contents.listed[symbol].snapshot, timed))
            for again in self.source.lines():
                frame = shift.frame(again.frame)
                if frame is not None:
                    yield tapes.Line(again.number, again.received + turn * nanoseconds, frame)

    def _note(self, frame: bytes, symbols: dict[str, _Round], books: dict[str, RunningBook]) -> None:
        if not frame.startswith(PREFIX):
            return
        symbol, _, channel = stream_of(frame).decode().partition("@")
        seen = symbols.setdefault(symbol.upper(), _Round())
        seen.first.setdefault(channel, frame)
        seen.last[channel] = frame
        if channel == "depth@100ms":
            books[symbol.upper()].keep(frame)


class _Shift:
    """Moves frames into a later round."""

    def __init__(self, turn: int, pause: int, symbols: dict[str, _Round]) -> None:
        self._turn = turn
        self._pause = pause
        self._spans = {symbol: seen.span() for symbol, seen in symbols.items()}

    def frame(self, frame: bytes) -> bytes | None:
        if not frame.startswith(PREFIX):
            return None
        symbol, _, channel = stream_of(frame).partition(b"@")
        begin, end, trades = self._spans[symbol.upper().decode()]
        if channel == b"bookTicker":
            return self._move(frame, 1, (end + 2 - begin) * self._turn)
        if channel == b"depth@100ms":
            return self._move(frame, 3, (end + 2 - begin) * self._turn)
        return self._move(frame, 3, trades * self._turn) if channel == b"trade" else None

    def reset(self, symbol: str, book: RunningBook, snapshot: bytes | None, timed: bytes) -> bytes:
        """The depth frame after the round before, which takes the book back to the start."""
        begin, end, _ = self._spans[symbol]
        step = end + 2 - begin
        now = book.top(_EVERYTHING)
        start = msgspec.json.decode(snapshot, type=Snapshot) if snapshot else Snapshot(0, [], [])
        data = {
            "e": "depthUpdate",
            "E": self._time(event_time(timed) + _PAUSE // 2, self._turn - 1, timed),
            "s": symbol,
            "U": now.lastUpdateId + 1 + step * (self._turn - 1),
            "u": begin - 1 + step * self._turn,
            "b": _back(now.bids, start.bids),
            "a": _back(now.asks, start.asks),
        }
        head = f'{{"stream":"{symbol.lower()}@depth@100ms","data":'.encode()
        return head + msgspec.json.encode(data) + b"}"

    def _time(self, micros: int, turn: int, like: bytes) -> int:
        found = _NUMBERS.search(like)
        long = found is not None and len(found[2]) > 13
        moved = micros + self._pause * turn
        return moved if long else moved // 1000

    def _move(self, frame: bytes, count: int, ids: int) -> bytes:
        pause = self._pause * self._turn

        def moved(found: re.Match[bytes]) -> bytes:
            key, text = found[1], found[2]
            by = ids if key in b"tUu" else pause if len(text) > 13 else pause // 1000
            return b'"%b":%d' % (key, int(text) + by)

        return _NUMBERS.sub(moved, frame, count)


def _back(now: list[tuple[str, str]], start: list[tuple[str, str]]) -> list[tuple[str, str]]:
    kept = dict(start)
    return [*((price, "0.00000000") for price, _ in now if price not in kept), *start]


def _ids(frame: bytes) -> _Ids:
    return msgspec.json.decode(frame, type=_IdsFrame).data
