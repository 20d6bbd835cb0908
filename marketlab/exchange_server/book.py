"""The order book that REST answers from: kept as the exchange's own texts, brought up to date only when asked.

Before the first depth frame that follows the source's snapshot has been let go (`release`), it answers with the state
before that frame: the source's snapshot as it is, or, where there is none, an empty book that this frame continues.
"""

import heapq
from collections.abc import Callable, Iterable

import msgspec

from marketlab.exchange_server.source import Listed
from marketlab.exchange_server.trades import MANY

__all__ = ["RunningBook", "Snapshot"]

_Levels = list[tuple[str, str]]


class Snapshot(msgspec.Struct):
    """A depth snapshot in the exchange's own form: bids falling, asks rising."""

    lastUpdateId: int
    bids: _Levels
    asks: _Levels


class _Depth(msgspec.Struct):
    U: int
    u: int
    b: _Levels
    a: _Levels


class _DepthFrame(msgspec.Struct):
    data: _Depth


_DECODER = msgspec.json.Decoder(_DepthFrame)


class RunningBook:
    """One symbol's book, fed with combined depth frames through `keep`."""

    def __init__(self, listed: Listed) -> None:
        self.asked = False
        """Whether a snapshot was ever given out."""
        self.released = False
        """Whether answers now show the running book."""
        self._snapshot = msgspec.json.decode(listed.snapshot, type=Snapshot) if listed.snapshot else None
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._id = 0
        self._first_id = listed.first_id
        self._pending: list[bytes] = []
        self.keep: Callable[[bytes], None] = self._pending.append
        """Take a combined depth frame."""
        if self._snapshot is not None:
            self._load(self._snapshot)

    def continues_snapshot(self, frame: bytes) -> bool:
        """Whether this depth frame is the one to wait at: the first, after the snapshot where there is one."""
        if self._snapshot is None:
            return True
        try:
            return _DECODER.decode(frame).data.u > self._snapshot.lastUpdateId
        except msgspec.DecodeError:
            return False

    def release(self) -> None:
        """From now on answers show the running book."""
        self.released = True

    def load(self, body: bytes) -> None:
        """A snapshot that the source holds at this place; one from before what is known changes nothing."""
        self.settle()
        try:
            snapshot = msgspec.json.decode(body, type=Snapshot)
        except msgspec.DecodeError:
            return
        if snapshot.lastUpdateId > self._id:
            self._load(snapshot)

    def settle_if_long(self) -> None:
        """Keep the heap of undecoded frames small."""
        if len(self._pending) > MANY:
            self.settle()

    def settle(self) -> None:
        """Decode and apply what has come since the last time."""
        for frame in self._pending:
            try:
                depth = _DECODER.decode(frame).data
            except msgspec.DecodeError:
                continue
            if depth.u > self._id:
                _apply(self._bids, depth.b)
                _apply(self._asks, depth.a)
                self._id = depth.u
        self._pending.clear()

    def answer(self, limit: int) -> Snapshot:
        """The best `limit` levels of both sides."""
        self.asked = True
        if not self.released:
            before = self._snapshot or Snapshot((self._first_id or 1) - 1, [], [])
            return Snapshot(before.lastUpdateId, before.bids[:limit], before.asks[:limit])
        return self.top(limit)

    def top(self, limit: int) -> Snapshot:
        """The best `limit` levels of the running book, whether released or not."""
        self.settle()
        bids = heapq.nlargest(limit, self._bids.items(), key=_price)
        return Snapshot(self._id, bids, heapq.nsmallest(limit, self._asks.items(), key=_price))

    def _load(self, snapshot: Snapshot) -> None:
        self._bids = dict(snapshot.bids)
        self._asks = dict(snapshot.asks)
        self._id = snapshot.lastUpdateId


def _price(level: tuple[str, str]) -> float:
    return float(level[0])


def _apply(side: dict[str, str], levels: Iterable[tuple[str, str]]) -> None:
    for price, size in levels:
        if size.strip("0.") == "":
            side.pop(price, None)
        else:
            side[price] = size
