import msgspec

from marketlab.streams.status import BookStatus, FeedStatus, StreamStatus

STATUS = FeedStatus(
    exchange="binance",
    url="wss://host/stream",
    running=True,
    origins=("stream",),
    connections=1,
    connections_wanted=1,
    down_since=None,
    reconnects=0,
    frames=1234,
    records=1200,
    unreadable=1,
    gaps=2,
    healed=2,
    errors=1,
    last_error="something",
    requests=3,
    used_weight=290,
    waiting=0,
    dropped=0,
    last_received=5,
    streams=(StreamStatus("BTCUSDT", "trade", 1200, 1, 5, 0.1), StreamStatus("BTCUSDT", "book", 0, None, None, None)),
    books=(
        BookStatus("BTCUSDT", 7, True, 61602.01, 61602.02, 0.0016, 3043, 3041),
        BookStatus("ETHUSDT", 0, False, None, None, None, 0, 0),
    ),
)


def test_a_status_prints_as_a_table() -> None:
    assert repr(STATUS).splitlines() == [
        "binance: running (stream)",
        "  1,234 frames, 1,200 records, 1 unreadable, 2 gaps (2 healed)",
        "  1 connections, 0 reconnects, 1 errors; last: something",
        "  symbol   channel  records",
        "  BTCUSDT  trade    1,200",
        "  BTCUSDT  book     0",
        "  book     best bid  best ask  spread bps  verified  equal",
        "  BTCUSDT  61602.01  61602.02  0.002       yes       3,041 of 3,043",
        "  ETHUSDT  -         -         -           no        0 of 0",
    ]


def test_a_connection_that_is_down_is_told() -> None:
    down = msgspec.structs.replace(STATUS, connections=1, connections_wanted=2, down_since=3_661_000_000)
    assert repr(down).splitlines()[0] == "binance: reconnecting since 01:01:01 UTC (stream)"
    assert repr(down).splitlines()[2] == "  1 of 2 connections, 0 reconnects, 1 errors; last: something"


def test_before_anything_came_and_without_books() -> None:
    early = msgspec.structs.replace(STATUS, running=False, origins=(), books=(), streams=(), last_error=None)
    assert repr(early).splitlines()[0] == "binance: stopped (no data yet)"
    assert repr(early).splitlines()[-1] == "  symbol  channel  records"


def test_a_status_is_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(STATUS), type=FeedStatus) == STATUS
