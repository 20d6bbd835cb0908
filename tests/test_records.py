import pickle
from typing import Any

import msgspec
import pytest

from marketlab import records
from marketlab.records import ORIGINS, Record

EXAMPLES: tuple[Any, ...] = (
    records.Trade("binance", "BTCUSDT", "7", 1, 2.0, 3.0, "sell", 4, "stream"),
    records.AggTrade("binance", "BTCUSDT", "7", 1, 2.0, 3.0, "buy", "5", "6", 4, "rest"),
    records.Kline(
        "binance", "BTCUSDT", "1m", 0, 59_999_999, 1.0, 2.0, 0.5, 1.5, 9.0, 12.0, 3, 4.0, 5.0, True, 7, "replay"
    ),
    records.Quote("binance", "BTCUSDT", 8, 1, 2.0, 3.0, 4.0, 5.0, 6, "stream"),
    records.Ticker("binance", "BTCUSDT", 1, 2.0, 3.0, 4.0, 1.0, 5.0, 6.0, None, None, None, None, 7, "stream"),
    records.BookSnapshot("binance", "BTCUSDT", 8, 1, [(2.0, 1.0)], [(3.0, 1.0)], 1, True, 6, "simulated"),
    records.BookUpdate("binance", "BTCUSDT", 8, 9, None, 1, [(2.0, 0.0)], [], 6, "stream"),
    records.Gap("binance", "BTCUSDT", "trade", 1, 2, "3", "4", "lost", None, None, 5, "backfill"),
)


def test_every_record_type_has_an_example_here() -> None:
    assert {type(example) for example in EXAMPLES} == set(Record.__args__)


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_records_survive_the_spool_format(record: Any) -> None:
    packed = msgspec.msgpack.encode(record)
    assert msgspec.msgpack.decode(packed, type=Record) == record
    assert msgspec.msgpack.decode(packed)[0] == type(record).__name__


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_records_never_change_and_can_be_pickled(record: Any) -> None:
    with pytest.raises(AttributeError):
        record.exchange = "other"
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_every_record_says_where_when_and_from_what(record: Any) -> None:
    fields = record.__struct_fields__
    assert fields[:2] == ("exchange", "symbol")
    assert fields[-2:] == ("received", "origin")
    assert record.origin in ORIGINS


def test_an_unknown_origin_does_not_get_in() -> None:
    packed = msgspec.msgpack.encode(["Trade", "binance", "BTCUSDT", "7", 1, 2.0, 3.0, "sell", 4, "guessed"])
    with pytest.raises(msgspec.ValidationError, match="guessed"):
        msgspec.msgpack.decode(packed, type=Record)
