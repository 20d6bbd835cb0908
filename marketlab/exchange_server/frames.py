"""Frames as the exchange writes them, handled as bytes: no more of a frame is decoded than is needed.

Inside the server a frame is always in combined form, `{"stream":"btcusdt@trade","data":{...}}`, with times in the unit
in which the source has them. What a client asked for is made from that: raw or combined, milli- or microseconds.
"""

import msgspec

__all__ = [
    "COMBINED",
    "MICROSECONDS",
    "PREFIX",
    "combined",
    "data_of",
    "event_time",
    "in_unit",
    "number",
    "pack",
    "stream_of",
    "to_micros",
    "units",
]

PREFIX = b'{"stream":"'
COMBINED = 1
"""Bit of a variant: the client wants frames that name their stream."""
MICROSECONDS = 2
"""Bit of a variant: the client asked for timeUnit=MICROSECOND."""

_MICROS_FROM = 100_000_000_000_000
_TEXT = 0x81
_EVENT_STREAMS = {
    "aggTrade": "aggTrade",
    "depthUpdate": "depth@100ms",
    "trade": "trade",
    "24hrTicker": "ticker",
    "24hrMiniTicker": "miniTicker",
}


class _Head(msgspec.Struct):
    s: str = ""
    e: str = ""
    k: dict[str, object] = {}


def stream_of(frame: bytes) -> bytes:
    """The stream that a combined frame names."""
    return frame[len(PREFIX) : frame.find(b'"', len(PREFIX))]


def data_of(frame: bytes) -> bytes:
    """What a raw stream sends of a combined frame."""
    return frame[frame.find(b'"data":', len(PREFIX)) + 7 : -1]


def combined(data: bytes) -> bytes | None:
    """A raw stream's frame in combined form, or None where it does not say of which stream it is."""
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.DecodeError:
        return None
    kind = (
        f"kline_{head.k.get('i')}" if head.e == "kline" else _EVENT_STREAMS.get(head.e, "" if head.e else "bookTicker")
    )
    if not head.s or not kind:
        return None
    return b'{"stream":"%b@%b","data":%b}' % (head.s.lower().encode(), kind.encode(), data)


def to_micros(time: int) -> int:
    """An exchange time in microseconds, whichever of the two units it was in."""
    return time if time >= _MICROS_FROM else time * 1000


def event_time(frame: bytes) -> int:
    """The event time `E` of a frame in microseconds; 0 where it has none."""
    start = frame.find(b'"E":') + 4
    if start < 4:
        return 0
    end = start
    while frame[end : end + 1].isdigit():
        end += 1
    return to_micros(int(frame[start:end] or b"0"))


def in_unit(frame: bytes, *, micros: bool) -> bytes:
    """The frame with its times in the wanted unit. A kline's close time is its last moment in either unit."""
    frame = _time_in_unit(frame, b'"E":', micros=micros, last=False)
    at = frame.find(b'"e":"')
    if at < 0 or frame.startswith(b'depthUpdate"', at + 5):
        return frame
    if frame.startswith(b'kline"', at + 5):
        frame = _time_in_unit(frame, b'"t":', micros=micros, last=False)
        return _time_in_unit(frame, b'"T":', micros=micros, last=True)
    if frame.startswith(b'24hrTicker"', at + 5):
        frame = _time_in_unit(frame, b'"O":', micros=micros, last=False)
        return _time_in_unit(frame, b'"C":', micros=micros, last=False)
    return _time_in_unit(frame, b'"T":', micros=micros, last=False)


def _time_in_unit(frame: bytes, key: bytes, *, micros: bool, last: bool) -> bytes:
    start = frame.find(key) + len(key)
    if start < len(key):
        return frame
    end = start + 13
    long = frame[end : end + 1].isdigit()
    if micros and not long:
        return frame[:end] + (b"999" if last else b"000") + frame[end:]
    if long and not micros:
        return frame[:end] + frame[end + 3 :]
    return frame


def pack(payload: bytes) -> bytes:
    """A whole WebSocket text message from the server's side (RFC 6455, 5.2), ready for the socket."""
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (_TEXT, size, payload)
    if size < 65536:
        return b"%c\x7e%b%b" % (_TEXT, size.to_bytes(2), payload)
    return b"%c\x7f%b%b" % (_TEXT, size.to_bytes(8), payload)


def units(text: str) -> int:
    """A decimal text in whole units of 1e-8; sums of these are exact."""
    whole, _, rest = text.partition(".")
    return int(whole + rest.ljust(8, "0"))


def number(units: int) -> str:
    """Units of 1e-8 as the exchange writes a number: always 8 decimals."""
    sign = "-" if units < 0 else ""
    return f"{sign}{abs(units) // 100_000_000}.{abs(units) % 100_000_000:08d}"
