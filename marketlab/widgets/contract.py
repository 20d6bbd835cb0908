"""What every widget agrees on: frames, and the scene that makes them.

A *scene* is what a widget draws, without the notebook: it takes records and gives frames. A *frame* is one absolute
picture in numbers: whoever has the newest one needs none of those before. So one that is lost costs nothing.

A packed frame is little-endian: a header of 48 bytes, then columns of float64, one after another.

| bytes | type | what |
|---|---|---|
| 0 | u32 | kind; state in bits 8-15, origin in 16-23, flags in 24-31 |
| 4 | u32 | sequence, rising by one from frame to frame of a widget |
| 8, 12 | u32 | two counts: how long the columns are, by kind |
| 16, 24 | f64 | when the oldest and the newest record that are new in this picture were received; 0: none is |
| 32 | f64 | when it was sent |
| 40 | f64 | update id of what is shown; 0: there is none |

Times are microseconds since 1970 UTC. The columns of each kind (`n`, `m` are the counts):

| kind | columns |
|---|---|
| BOOK | bid prices `n`, bid sizes `n`, ask prices `m`, ask sizes `m`, the best first; then best bid price and size, best ask price and size, how often the book was compared and equal, the price step by which levels are joined (0: they are not), the lowest and highest price between which all levels are known; where levels are joined, the bids' values `n` and the asks' `m` (price times size, summed); then the newest trades, the newest first, each as price, size (negative: the taker sold) and time |
| BARS | `n` bars: open times, opens, highs, lows, closes, volumes, quote volumes, trade counts, marks (1: nobody knows it, and its other numbers are NaN; 2: something in it was fetched back; 4: over, but not seen in full); `m` numbers follow: change of the window as a fraction, microseconds of the interval, revision (another one: a bar before these is different) |
| BARS_SNAPSHOT | as BARS, but every period of the window instead of the last two; three more numbers: where the volume weighted average begins, its quote volume and volume before the window |
| TRADES | `n` newest trades, the newest first: times, prices, sizes (negative: the taker sold); `m` numbers follow: how many came in all, how many a second lately, the size from which on one is large, the largest size |
| TRADES_KEPT | as TRADES, but every trade that is kept |
| WATCH | `n` symbols in the order of the trait `symbols`, whose checksum is the id: last, reference for the change, bid, ask, high, low, quote volume, time of the last price; NaN where there is none yet; `m` numbers follow: what the reference is (0: 24 h ago, 1: the first bar of an hour of history, 2: the first price seen) |
| SPARKS | `n` symbols of `m` prices each, the oldest first; NaN where there is none yet; id as for WATCH |
| BLANK | none: only the header is news |
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from enum import IntEnum, IntFlag
from typing import Protocol, runtime_checkable

import msgspec

from marketlab.records import Record

__all__ = ["HEADER_BYTES", "ORIGIN_CODES", "Flag", "Frame", "Kind", "Need", "Scene", "State", "pack", "unpack"]

HEADER_BYTES = 48
_HEADER = struct.Struct("<4I4d")

ORIGIN_CODES = ("", "stream", "rest", "backfill", "replay", "simulated")
"""By code in the header: where the newest record came from; the first is for none."""


class Kind(IntEnum):
    """What a frame's columns mean."""

    BLANK = 0
    BOOK = 1
    BARS = 2
    BARS_SNAPSHOT = 3
    TRADES = 4
    WATCH = 5
    SPARKS = 6
    TRADES_KEPT = 7


class State(IntEnum):
    """What the data is doing."""

    WAITING = 0
    RUNNING = 1
    RECONNECTING = 2
    STOPPED = 3
    PAUSED = 4


class Flag(IntFlag):
    """More about a frame."""

    VERIFIED = 1
    """The book follows from a snapshot of the exchange without a hole, and is current."""
    LOADING = 2
    """History is being fetched."""
    PARTIAL = 4
    """Levels that have not been seen may be missing."""
    FRESH = 8
    """What was sent before shows something else, such as another symbol."""


class Frame(msgspec.Struct, frozen=True):
    """One absolute picture. `columns` follow one another in the order of the kind; sequence and times come on sending.

    `origin` says where what was fetched came from, for as long as no record has come.
    """

    kind: Kind
    counts: tuple[int, int] = (0, 0)
    columns: Sequence[Iterable[float]] = ()
    id: int = 0
    flags: Flag = Flag(0)
    origin: str = ""


class Need(msgspec.Struct, frozen=True):
    """A stream that a scene draws from."""

    symbol: str
    channel: str


@runtime_checkable
class Scene(Protocol):
    """What a widget draws, without the notebook. Belongs to the thread of its feed."""

    def needs(self) -> Sequence[Need]:
        """The streams that it draws from, with canonical symbols; they are subscribed to where the feed lacks them."""
        ...

    async def prepare(self) -> None:
        """Fetch what lies before the streams, such as history; called when they are there, and again on a change.

        Raises:
            MarketlabError: it cannot be had; what the streams bring is shown nevertheless, and the error told.
        """
        ...

    def take(self, record: Record) -> bool:
        """Take the next record of one of its symbols; returns whether the picture is another one now. Never waits."""
        ...

    def frames(self, *, whole: bool) -> Sequence[Frame]:
        """The picture as it is now: nothing where there is none yet.

        Args:
            whole: A view has opened, or something was missed: also what is otherwise sent once only.
        """
        ...

    def svg(self) -> str:
        """The picture as it is now, as a complete SVG element; the same state gives the same text."""
        ...


def pack(
    frame: Frame,
    *,
    sequence: int,
    state: State,
    origin: str = "",
    oldest: int = 0,
    newest: int = 0,
    sent: int = 0,
) -> bytes:
    """A frame as bytes.

    Args:
        frame: the picture.
        sequence: its number; 32 bits of it are sent.
        state: what the data is doing.
        origin: where the newest record came from.
        oldest: when the oldest record that is new in it was received, in microseconds; 0: none is new.
        newest: when the newest one was.
        sent: when it is sent, in microseconds.
    """
    word = frame.kind | state << 8 | ORIGIN_CODES.index(origin) << 16 | frame.flags << 24
    first, second = frame.counts
    head = _HEADER.pack(word, sequence & 0xFFFFFFFF, first, second, oldest, newest, sent, frame.id)
    numbers = array("d")
    for column in frame.columns:
        numbers.extend(column)
    if sys.byteorder == "big":
        numbers.byteswap()
    return head + numbers.tobytes()


def unpack(packed: bytes) -> tuple[Frame, dict[str, float]]:
    """A frame with all its numbers in one column, and the header's other words, for tests and tools.

    Raises:
        ValueError: these bytes are no frame.
    """
    if len(packed) < HEADER_BYTES or (len(packed) - HEADER_BYTES) % 8:
        raise ValueError(f"{len(packed)} bytes are no frame.")
    word, sequence, first, second, oldest, newest, sent, id = _HEADER.unpack_from(packed)
    numbers = array("d", packed[HEADER_BYTES:])
    if sys.byteorder == "big":
        numbers.byteswap()
    frame = Frame(Kind(word & 0xFF), (first, second), (numbers.tolist(),), int(id), Flag(word >> 24))
    words = {"state": word >> 8 & 0xFF, "origin": word >> 16 & 0xFF, "sequence": sequence}
    return frame, {**words, "oldest": oldest, "newest": newest, "sent": sent}
