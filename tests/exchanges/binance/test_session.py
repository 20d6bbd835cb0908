"""Frames in, records and commands out: every kind that the documentation names."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketlab import tapes as tape_files
from marketlab.errors import Rejected, UnreadableFrame
from marketlab.exchanges.binance import Binance
from marketlab.exchanges.contract import Connection, Fetch, Output, Reconnect, Send, Subscription
from marketlab.records import AggTrade, BookUpdate, Kline, Origin, Quote, Ticker, Trade

AT = 1_723_161_600_164_378
PAYLOADS = {
    "btcusdt@trade": (
        '{"e":"trade","E":1723161601438,"s":"BTCUSDT","t":3735693016,"p":"61685.99000000","q":"0.00017000",'
        '"T":1723161601437,"m":true,"M":true}',
        Trade("binance", "BTCUSDT", "3735693016", 1723161601437000, 61685.99, 0.00017, "sell", AT, "stream"),
    ),
    "btcusdt@aggTrade": (
        '{"e":"aggTrade","E":1633998523963,"s":"BTCUSDT","a":15683430,"p":"0.35280000","q":"58.00000000",'
        '"f":19862790,"l":19862791,"T":1633998523963,"m":false,"M":true}',
        AggTrade(
            "binance", "BTCUSDT", "15683430", 1633998523963000, 0.3528, 58.0, "buy", "19862790", "19862791", AT,
            "stream",
        ),
    ),
    "btcusdt@kline_1M": (
        '{"e":"kline","E":1633998523963,"s":"BTCUSDT","k":{"t":1633998480000,"T":1633998539999,"s":"BTCUSDT",'
        '"i":"1M","f":19862761,"L":19862790,"o":"0.35270000","c":"0.35280000","h":"0.35290000","l":"0.35220000",'
        '"v":"25877.00000000","n":30,"x":true,"q":"9116.04600000","V":"58.00000000","Q":"20.46240000","B":"0"}}',
        Kline(
            "binance", "BTCUSDT", "1M", 1633998480000000, 1633998539999999, 0.3527, 0.3529, 0.3522, 0.3528, 25877.0,
            9116.046, 30, 58.0, 20.4624, True, AT, "stream",
        ),
    ),
    "btcusdt@bookTicker": (
        '{"u":50093421613,"s":"BTCUSDT","b":"61685.99000000","B":"1.25869000","a":"61686.00000000","A":"2.44816000"}',
        Quote("binance", "BTCUSDT", 50093421613, AT, 61685.99, 1.25869, 61686.0, 2.44816, AT, "stream"),
    ),
    "btcusdt@depth@100ms": (
        '{"e":"depthUpdate","E":1723161601374,"s":"BTCUSDT","U":50093421613,"u":50093421620,'
        '"b":[["61685.29000000","0.00083000"],["61666.97000000","0.00000000"]],"a":[]}',
        BookUpdate(
            "binance", "BTCUSDT", 50093421613, 50093421620, None, 1723161601374000,
            [(61685.29, 0.00083), (61666.97, 0.0)], [], AT, "stream",
        ),
    ),
    "btcusdt@ticker": (
        '{"e":"24hrTicker","E":1545778016376,"s":"BTCUSDT","p":"-0.00041600","P":"-1.197","w":"0.03387209",'
        '"x":"0.03473500","c":"0.03432300","Q":"0.11100000","b":"0.03430000","B":"47.94900000","a":"0.03432200",'
        '"A":"2.67600000","o":"0.03473900","h":"0.03556100","l":"0.03290700","v":"405071.05500000",'
        '"q":"13720.60209976","O":1545691616372,"C":1545778016372,"F":97995997,"L":98251807,"n":255811}',
        Ticker(
            "binance", "BTCUSDT", 1545778016376000, 0.034323, 0.034739, 0.035561, 0.032907, 405071.055,
            13720.60209976, 255811, 0.03387209, -0.000416, -1.197, AT, "stream",
        ),
    ),
    "btcusdt@miniTicker": (
        '{"e":"24hrMiniTicker","E":1545778016376,"s":"BTCUSDT","c":"0.0025","o":"0.0010","h":"0.0026","l":"0.0009",'
        '"v":"10000","q":"18"}',
        Ticker(
            "binance", "BTCUSDT", 1545778016376000, 0.0025, 0.001, 0.0026, 0.0009, 10000.0, 18.0, None, None, None,
            None, AT, "stream",
        ),
    ),
}  # fmt: skip


def received(frame: str, origin: Origin = "stream") -> list[Output]:
    return list(Binance().session(Connection("/stream", ()), origin).received(frame.encode(), AT))


def sent(outputs: Iterable[Output]) -> list[tuple[str, list[str]]]:
    messages = [json.loads(output.text) for output in outputs if isinstance(output, Send)]
    assert [message["id"] for message in messages] == list(range(1, len(messages) + 1))
    return [(message["method"], message["params"]) for message in messages]


@pytest.mark.parametrize("stream", PAYLOADS)
def test_every_channel_combined_and_raw(stream: str) -> None:
    payload, record = PAYLOADS[stream]
    combined = f'{{"stream":"{stream}","data":{payload}}}'
    one = Binance().session(Connection("/stream", ()))
    first, again = one.received(combined.encode(), AT), one.received(combined.encode(), AT)
    assert list(first) == list(again) == [record]
    assert received(payload) == [record]
    assert received(f'{{ "data" : {payload}, "stream" : "{stream}" }}') == [record]
    assert received(payload, "simulated") == [msgspec.structs.replace(record, origin="simulated")]


@pytest.mark.parametrize("stream", [stream for stream in PAYLOADS if "bookTicker" not in stream])
def test_microseconds_are_seen_by_their_size(stream: str) -> None:
    payload, record = PAYLOADS[stream]
    finer = re.sub(r'"([ETt])":(1[567]\d{11})(?=[,}])', r'"\1":\g<2>000', payload).replace("539999000", "539999999")
    assert received(finer) == [record]


def test_symbols_beyond_ascii() -> None:
    payload = PAYLOADS["btcusdt@bookTicker"][0].replace("BTCUSDT", "币安USDT")
    one = Binance().session(Connection("/stream", ()))
    for _ in range(2):
        for stream in ("币安usdt@bookTicker", "\\u5e01\\u5b89usdt@bookTicker"):
            (record,) = one.received(f'{{"stream":"{stream}","data":{payload}}}'.encode(), AT)
            assert isinstance(record, Quote)
            assert record.symbol == "币安USDT"


@pytest.mark.parametrize(
    "frame",
    [
        '{"e":"serverShutdown","E":1770123456789}',
        '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
    ],
)
def test_a_server_that_shuts_down_is_left(frame: str) -> None:
    (command,) = received(frame)
    assert isinstance(command, Reconnect)


@pytest.mark.parametrize("frame", ['{"result":null,"id":1}', '{"result":["btcusdt@trade"],"id":"a"}'])
def test_answers_to_control_messages_are_nothing_new(frame: str) -> None:
    assert received(frame) == []


@pytest.mark.parametrize(
    "frame",
    [
        '{"code":2,"msg":"Invalid request"}',
        '{"code":2,"msg":"Invalid request","id":5}',
        '{"error":{"code":2,"msg":"Invalid request"},"id":1}',
    ],
)
def test_a_refusal_carries_no_stream(frame: str) -> None:
    with pytest.raises(Rejected, match="Invalid request") as caught:
        received(frame)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "frame",
    [
        '{"lastUpdateId":160,"bids":[],"asks":[]}',
        '{"stream":"btcusdt@depth5","data":{"lastUpdateId":160,"bids":[],"asks":[]}}',
        '{"stream":"btcusdt@avgPrice","data":{"e":"avgPrice","E":1,"s":"BTCUSDT","i":"5m","w":"25776.8","T":1}}',
        '{"stream":"btcusdt@trade"}',
        '{"e":"trade","t":1}',
        '{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"nan","q":"1","T":1,"m":true}',
        '{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"inf","T":1,"m":true}',
        '{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"-1","q":"1","T":1,"m":true}',
        '{"e":"trade","E":1,"s":"BTCUSDT","t":1.5,"p":"1","q":"1","T":1,"m":true}',
        '{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":1,"b":[["1"]],"a":[]}',
    ],
)
def test_what_was_never_asked_for_or_is_no_number_is_unreadable(frame: str) -> None:
    with pytest.raises(UnreadableFrame):
        received(frame)


def test_one_bad_frame_leaves_the_others_alone() -> None:
    payload, record = PAYLOADS["btcusdt@trade"]
    one = Binance().session(Connection("/stream", ()))
    good = f'{{"stream":"btcusdt@trade","data":{payload}}}'.encode()
    one.received(good, AT)
    for cut in range(1, len(good)):
        with pytest.raises(UnreadableFrame):
            one.received(good[:cut], AT)
    assert list(one.received(good, AT)) == [record]


@given(st.binary(max_size=200))
def test_random_bytes_never_break_a_session(noise: bytes) -> None:
    one = Binance().session(Connection("/stream", ()))
    for frame in (noise, b'{"stream":"' + noise, b'{"stream":"btcusdt@trade","data":' + noise):
        with suppress(UnreadableFrame, Rejected):
            one.received(frame, AT)


def test_subscribing_in_messages_of_two_hundred_streams() -> None:
    one = Binance().session(Connection("/stream", ()))
    wanted = [Subscription(f"COIN{n}USDT", "kline_1M") for n in range(401)]
    messages = sent([*one.subscribe(wanted), *one.unsubscribe(wanted[:2]), *one.subscribe([])])
    assert [(method, len(params)) for method, params in messages] == [
        ("SUBSCRIBE", 200), ("SUBSCRIBE", 200), ("SUBSCRIBE", 1), ("UNSUBSCRIBE", 2),
    ]  # fmt: skip
    assert messages[3][1] == ["coin0usdt@kline_1M", "coin1usdt@kline_1M"]


def test_what_the_path_has_no_room_for_is_asked_for_after_opening() -> None:
    exchange = Binance()
    wanted = [Subscription(f"COIN{n:04}USDT", channel) for n in range(100) for channel in ("book", "trade", "quote")]
    (connection,) = exchange.connections(wanted)
    path = connection.path.removeprefix("/stream?streams=").removesuffix("&timeUnit=MICROSECOND").split("/")
    asked = [stream for _, params in sent(exchange.session(connection).opened()) for stream in params]
    assert len(connection.path) < 4100
    assert len(path) + len(asked) == len(set(path) | set(asked)) == 300
    (short,) = exchange.connections(wanted[:3])
    assert list(exchange.session(short).opened()) == []


def test_an_answer_keeps_a_marked_origin() -> None:
    exchange = Binance()
    request = exchange.trades_request("BTCUSDT")
    body = b'[{"id":5,"price":"1.5","qty":"2","quoteQty":"3","time":1723161601437,"isBuyerMaker":false}]'
    for origin, expected in (("stream", "rest"), ("simulated", "simulated")):
        one = exchange.session(Connection("/stream", ()), "stream" if origin == "stream" else "simulated")
        (record,) = one.answered(Fetch(request), body, AT)
        assert isinstance(record, Trade)
        assert record.origin == expected


@pytest.mark.parametrize(
    ("name", "trades", "quotes", "updates", "first", "last"),
    [
        ("btcusdt_20240809", 10147, 45134, 3044, 3735693016, 3735703162),
        ("ethusdt_20240809", 8409, 34681, 3036, 1520545031, 1520553439),
        ("ethusdt_20240808", 6106, 24077, 3434, 1520538925, 1520545030),
    ],
)
def test_every_real_frame_becomes_its_record(
    tapes: Path, name: str, trades: int, quotes: int, updates: int, first: int, last: int
) -> None:
    one = Binance().session(Connection("/stream", ()))
    kinds: Counter[str] = Counter()
    ids = []
    for line in tape_files.read(tapes / f"{name}.gz"):
        if tape_files.answer(line.frame) is None:
            (record,) = one.received(line.frame, line.received // 1000)
            kinds[type(record).__name__] += 1
            if isinstance(record, Trade):
                ids.append(int(record.trade_id))
    assert kinds == {"Trade": trades, "Quote": quotes, "BookUpdate": updates}
    assert ids == list(range(first, last + 1))


def test_the_sample_of_2021_has_the_events_that_cryptofeed_expects(sample: Path) -> None:
    one = Binance().session(Connection("/stream", ()))
    kinds: Counter[str] = Counter()
    for line in (sample / "BINANCE.ws.1.0").read_bytes().splitlines():
        stamp, _, frame = line.partition(b": ")
        if frame.startswith(b"{") and stamp[:1].isdigit():
            kinds.update(type(record).__name__ for record in one.received(frame, AT))
    assert kinds == {"BookUpdate": 177, "Quote": 84, "AggTrade": 2, "Kline": 2}
