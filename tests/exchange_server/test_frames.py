import json
from typing import Any

import pytest

from marketlab.exchange_server import frames

TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161601438,"s":"BTCUSDT","t":1,"p":"1","q":"2","T":1723161601437,"m":true,"M":true}}'
DEPTH = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161601273,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}}'
QUOTE = b'{"stream":"btcusdt@bookTicker","data":{"u":50093421613,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}}'
KLINE = b'{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1723161601273,"s":"BTCUSDT","k":{"t":1723161600000,"T":1723161659999,"s":"BTCUSDT","i":"1m"}}}'
TICKER = b'{"stream":"btcusdt@ticker","data":{"e":"24hrTicker","E":1723161601273,"s":"BTCUSDT","O":1723075201273,"C":1723161601273}}'


def test_the_parts_of_a_frame() -> None:
    assert frames.stream_of(DEPTH) == b"btcusdt@depth@100ms"
    assert json.loads(frames.data_of(TRADE)) == json.loads(TRADE)["data"]
    assert frames.event_time(TRADE) == 1_723_161_601_438_000
    assert frames.event_time(frames.in_unit(TRADE, micros=True)) == 1_723_161_601_438_000
    assert frames.event_time(QUOTE) == 0
    assert frames.event_time(b'{"E":"x"}') == 0


@pytest.mark.parametrize("frame", [TRADE, DEPTH, QUOTE, KLINE, TICKER])
def test_times_change_their_unit_and_back(frame: bytes) -> None:
    micros = frames.in_unit(frame, micros=True)
    assert frames.in_unit(micros, micros=True) == micros
    assert frames.in_unit(micros, micros=False) == frame
    assert frames.in_unit(frame, micros=False) == frame


def test_a_klines_close_time_is_its_last_moment_in_both_units() -> None:
    kline = json.loads(frames.in_unit(KLINE, micros=True))["data"]
    assert kline["E"] == 1_723_161_601_273_000
    assert kline["k"]["t"] == 1_723_161_600_000_000
    assert kline["k"]["T"] == 1_723_161_659_999_999


def test_times_of_trades_and_tickers_in_microseconds() -> None:
    trade = json.loads(frames.in_unit(TRADE, micros=True))["data"]
    assert (trade["E"], trade["T"], trade["t"]) == (1_723_161_601_438_000, 1_723_161_601_437_000, 1)
    ticker = json.loads(frames.in_unit(TICKER, micros=True))["data"]
    assert (ticker["O"], ticker["C"]) == (1_723_075_201_273_000, 1_723_161_601_273_000)


@pytest.mark.parametrize("frame", [TRADE, DEPTH, QUOTE, KLINE, TICKER])
def test_a_raw_frame_is_given_back_its_stream(frame: bytes) -> None:
    assert frames.combined(frames.data_of(frame)) == frame


@pytest.mark.parametrize("data", [b"{", b"{}", b'{"e":"unheard","s":"BTCUSDT"}', b'{"result":null,"id":1}'])
def test_a_frame_of_no_stream(data: bytes) -> None:
    assert frames.combined(data) is None


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_message_is_packed_with_the_shortest_head(size: int, head: int) -> None:
    packed = frames.pack(b"x" * size)
    assert len(packed) == head + size
    assert packed[0] == 0x81
    length: Any = packed[1] if head == 2 else int.from_bytes(packed[2:head])
    assert length == size


@pytest.mark.parametrize("text", ["61685.99000000", "0.00000001", "-3.50000000", "1234567890.12345678"])
def test_numbers_keep_every_digit(text: str) -> None:
    assert frames.number(-frames.units(text[1:]) if text[0] == "-" else frames.units(text)) == text


def test_short_numbers_are_units_too() -> None:
    assert frames.units("2") == 200_000_000
    assert frames.units("0.5") == 50_000_000
