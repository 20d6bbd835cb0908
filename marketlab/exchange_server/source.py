"""Where the exchange's data comes from: tapes, or anything else that gives lines in order.

The server asks a source twice: once what is in it, before it opens its door, and then for its lines, one at a time.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from marketlab import tapes
from marketlab.errors import TapeError, UsageError
from marketlab.exchange_server.frames import PREFIX, combined, event_time, stream_of
from marketlab.exchange_server.klines import Candle
from marketlab.records import Origin

__all__ = ["Contents", "Listed", "Source", "TapeSource", "survey", "symbol_asked"]

_SET_BACK_NS = 5_000_000_000  # a clock may be set back a little while a tape is recorded


class Listed(msgspec.Struct):
    """What is known of a symbol before the first line is played.

    `snapshot` is the source's own depth snapshot (its JSON), `first_id` the first update id of its first depth frame,
    `decimals` how many decimals its prices show.
    """

    symbol: str
    snapshot: bytes | None = None
    first_id: int | None = None
    decimals: int = 2


class Contents(msgspec.Struct):
    """What is in a source: its symbols, its stream names, and the exchange time of its first event (microseconds)."""

    listed: dict[str, Listed] = {}
    streams: set[str] = set()
    start: int = 0


class Source(Protocol):
    """Frames of many streams in one order."""

    @property
    def origin(self) -> Origin:
        """`replay` or `simulated`; known for sure once `contents` has returned."""
        ...

    async def contents(self) -> Contents:
        """Look at what is there, before the first line is asked for.

        Raises:
            TapeError: it cannot be read to its end.
        """
        ...

    def lines(self) -> Iterator[tapes.Line]:
        """Combined frames and REST answers, in order, from the start."""
        ...

    def history(self, symbol: str) -> Sequence[Candle]:
        """One-minute candles of the time just before the first line, oldest first; may be empty."""
        ...


class TapeSource:
    """One or more tapes, played one after another as one stream, in the order of time, however they are named.

    Raises:
        TapeError: a tape is missing or has no readable line.
    """

    def __init__(self, *paths: Path | str) -> None:
        if not paths:
            raise UsageError("Name at least one tape to play.")
        self.paths = sorted(map(Path, paths), key=_begins)
        self.origin: Origin = "replay"

    def __repr__(self) -> str:
        return f"TapeSource({', '.join(repr(path.name) for path in self.paths)})"

    async def contents(self) -> Contents:
        """Read all tapes once, so that a broken one is known at once. Raises TapeError."""
        return await asyncio.to_thread(self._contents)

    def lines(self) -> Iterator[tapes.Line]:
        """Frames in combined form, and REST answers with their request; lines that are neither are left out.

        Raises:
            TapeError: a tape is broken, or its lines are not in the order in which they were received.
        """
        for path in self.paths:
            owner, latest = "", 0
            for line in tapes.read(path):
                latest = _onwards(path, line, latest)
                frame = line.frame
                if frame.startswith(PREFIX):
                    yield line
                    continue
                if frame.startswith(b'{"lastUpdateId"') and not owner:
                    owner = _depth_symbol(path)
                whole = _normal(frame, owner)
                if whole is not None:
                    yield tapes.Line(line.number, line.received, whole)

    def history(self, symbol: str) -> Sequence[Candle]:
        """A tape holds nothing from before its start."""
        return ()

    def _contents(self) -> Contents:
        if any(tapes.origin(path) == "simulated" for path in self.paths):
            self.origin = "simulated"
        found = Contents()
        for line in self.lines():
            survey(found, line.frame)
        if not found.streams:
            raise UsageError(f"There is no frame of Binance's streams on {', '.join(map(str, self.paths))}.")
        return found


def _begins(path: Path) -> int:
    for line in tapes.read(path):
        return line.received
    return 0


def _onwards(path: Path, line: tapes.Line, latest: int) -> int:
    if line.received >= latest:
        return line.received
    if line.received < latest - _SET_BACK_NS:
        raise TapeError(path, line.number, "its time runs backwards; lines are in the order of their receipt")
    return latest


class _Depth(msgspec.Struct):
    s: str
    U: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _DepthFrame(msgspec.Struct):
    data: _Depth


def survey(contents: Contents, frame: bytes) -> None:
    """Note in `contents` what a line's frame tells of its source."""
    answered = tapes.answer(frame)
    if answered is not None:
        symbol = symbol_asked(answered.request)
        if symbol and answered.request.startswith("/api/v3/depth"):
            listed = contents.listed.setdefault(symbol, Listed(symbol))
            listed.snapshot = listed.snapshot or answered.body
        return
    if not contents.start:
        contents.start = event_time(frame)
    stream = stream_of(frame).decode()
    symbol = stream.partition("@")[0].upper()
    if "@" not in stream or symbol.startswith("!"):
        contents.streams.add(stream)
        return
    depth = "@depth" in stream
    if stream in contents.streams and not (depth and contents.listed[symbol].first_id is None):
        return
    contents.streams.add(stream)
    listed = contents.listed.setdefault(symbol, Listed(symbol))
    if depth:
        _survey_depth(listed, frame)


def _survey_depth(listed: Listed, frame: bytes) -> None:
    try:
        depth = msgspec.json.decode(frame, type=_DepthFrame).data
    except msgspec.DecodeError:
        return  # partial books have no first id; damaged frames are played as they are
    if listed.first_id is None:
        listed.first_id = depth.U
    prices = [price for price, _ in (*depth.b, *depth.a)]
    if prices:
        listed.decimals = max(len(price.partition(".")[2].rstrip("0")) for price in prices)


def symbol_asked(request: str) -> str:
    """The symbol in a request's query; empty where it names none."""
    for pair in request.partition("?")[2].split("&"):
        if pair.startswith("symbol="):
            return pair.removeprefix("symbol=")
    return ""


def _depth_symbol(path: Path) -> str:
    # A bare snapshot belongs to the only symbol of its tape that has depth frames.
    found: set[str] = set()
    for line in tapes.read(path):
        if b"@depth" in line.frame[:64]:
            found.add(stream_of(line.frame).partition(b"@")[0].decode().upper())
    return found.pop() if len(found) == 1 else "?"


def _normal(frame: bytes, owner: str) -> bytes | None:
    if frame.startswith(b'{"request"'):
        return frame
    if frame.startswith(b'{"lastUpdateId"'):
        return b'{"request":"/api/v3/depth?symbol=%b","answer":%b}' % (owner.encode(), frame)
    return combined(frame)
