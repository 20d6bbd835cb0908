"""The protocol of one Binance connection.

Frames come as `{"stream":"btcusdt@trade","data":{...}}` from a combined connection and as the bare payload from a
raw one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, count
from typing import Any

import msgspec

from marketlab.errors import Rejected, UnreadableFrame
from marketlab.exchanges.binance import payloads
from marketlab.exchanges.contract import Connection, Fetch, Output, Reconnect, Send, Subscription
from marketlab.records import Origin, Record

__all__ = ["STREAMS", "BinanceSession", "in_path"]

_STREAMS_PER_MESSAGE = 200
_LONGEST_PATH = 4_000
_COMBINED = b'{"stream":"'
_NAME = len(_COMBINED)

STREAMS = {
    "trade": "trade",
    "agg_trade": "aggTrade",
    "quote": "bookTicker",
    "book": "depth@100ms",
    "ticker": "ticker",
    "mini_ticker": "miniTicker",
}


def _stream(subscription: Subscription) -> str:
    # Symbols are lower case, but "1m" is a minute and "1M" a month.
    return f"{subscription.symbol.lower()}@{STREAMS.get(subscription.channel, subscription.channel)}"


def in_path(subscriptions: Sequence[Subscription]) -> list[str]:
    """The stream names, of the first subscriptions, that a connection's path has room for; percent-encoded."""
    streams = [_percent_encoded(_stream(subscription)) for subscription in subscriptions]
    lengths = accumulate(len(stream) + 1 for stream in streams)
    return streams[: sum(length <= _LONGEST_PATH for length in lengths)]


def _percent_encoded(name: str) -> str:
    # Only letters beyond ASCII need it; symbols may hold them since December 2025.
    return "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in name.encode())


class BinanceSession:
    """One connection's protocol. A raw and a combined connection are read alike."""

    def __init__(self, connection: Connection, origin: Origin = "stream") -> None:
        self.origin = origin
        self._connection = connection
        self._ids = count(1)
        # By stream name, so that a frame costs one look-up and its symbol is one string for all records.
        self._streams: dict[bytes, tuple[Callable[[bytes], payloads.Wrapped[Any]], payloads.Build, str]] = {}

    def opened(self) -> Iterator[Output]:
        """Asks for the streams that the connection's path has no room for."""
        wanted = self._connection.subscriptions
        return self.subscribe(wanted[len(in_path(wanted)) :])

    def received(self, frame: bytes, at: int) -> Sequence[Output]:
        """A frame's record or command; an answer to a control message is neither.

        Raises:
            UnreadableFrame: the frame is not what the documentation says, or of a channel that was never asked for.
            Rejected: the exchange refused a control message.
        """
        try:
            found = self._streams.get(frame[_NAME : frame.find(b'"', _NAME)])
            if found is None:
                return self._any(frame, at)
            decode, build, symbol = found
            return (build(symbol, decode(frame).data, at, self.origin),)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableFrame(str(error), frame) from error

    def answered(self, fetch: Fetch, body: bytes, at: int) -> list[Record]:
        """The records in an answer; Binance's own sessions ask for nothing over REST."""
        return payloads.answer(fetch.request, body, at, "rest" if self.origin == "stream" else self.origin)

    def subscribe(self, subscriptions: Iterable[Subscription]) -> Iterator[Output]:
        """One control message for each 200 streams, since only five messages a second are taken."""
        return self._control("SUBSCRIBE", subscriptions)

    def unsubscribe(self, subscriptions: Iterable[Subscription]) -> Iterator[Output]:
        """Like `subscribe`."""
        return self._control("UNSUBSCRIBE", subscriptions)

    def _control(self, method: str, subscriptions: Iterable[Subscription]) -> Iterator[Output]:
        streams = [_stream(subscription) for subscription in subscriptions]
        for start in range(0, len(streams), _STREAMS_PER_MESSAGE):
            message = {"method": method, "params": streams[start : start + _STREAMS_PER_MESSAGE], "id": next(self._ids)}
            yield Send(msgspec.json.encode(message).decode())

    def _any(self, frame: bytes, at: int) -> Sequence[Output]:
        head = payloads.head(frame)
        if head.stream is None or not head.data:
            return self._payload(head, frame, at, None)
        data = bytes(head.data)
        return self._payload(payloads.head(data), data, at, head.stream)

    def _payload(self, head: payloads.Head, payload: bytes, at: int, stream: str | None) -> Sequence[Output]:
        event = head.event or (None if head.update_id is None else "bookTicker")  # which names no event on spot
        reader = payloads.READERS.get(event or "")
        if reader is not None and head.symbol is not None:
            if stream is not None:
                self._streams[stream.encode()] = reader.wrapped, reader.build, head.symbol
            return (reader.build(head.symbol, reader.bare(payload), at, self.origin),)
        if event == "serverShutdown":
            return (Reconnect("the exchange is about to shut this server down"),)
        if head.error is not None:
            raise Rejected(head.error.code, head.error.msg)
        if head.code is not None:
            raise Rejected(head.code, head.msg)
        if not head.result:
            raise UnreadableFrame("neither an answer nor of a channel that was asked for", payload)
        return ()
