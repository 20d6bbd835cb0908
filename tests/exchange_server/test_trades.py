from typing import Any

from marketlab.exchange_server.trades import Aggregates, Trades


def test_trades_are_decoded_when_asked_for(events: Any) -> None:
    trades = Trades()
    trades.keep(events.frame(events.trade(7, 1, "61685.99000000", "0.00017000", maker=True)))
    trades.keep(events.frame(events.trade(8, 2, "61686.00000000", "2.00000000")))
    trades.keep(b'{"stream":"btcusdt@trade","data":{"e":"trade"')
    trades.keep(events.frame(events.trade(8, 2)))
    assert (len(trades), trades.pending) == (0, 4)
    trades.settle()
    assert (len(trades), trades.pending) == (2, 0)
    assert trades.row(0, micros=False) == {
        "id": 7,
        "price": "61685.99000000",
        "qty": "0.00017000",
        "quoteQty": "10.48661830",
        "time": events.minute + 1,
        "isBuyerMaker": True,
        "isBestMatch": True,
    }
    assert trades.row(1, micros=True)["time"] == (events.minute + 2) * 1000
    assert [trades.from_id(number) for number in (1, 7, 8, 9)] == [0, 0, 1, 2]


def test_aggregates_join_what_one_taker_got_at_one_price(events: Any) -> None:
    trades = Trades()
    aggregates = Aggregates(trades)
    happened = [
        events.trade(1, 10, "100.00000000", "1.00000000"),
        events.trade(2, 10, "100.00000000", "0.50000000"),
        events.trade(3, 10, "101.00000000"),  # another price
        events.trade(4, 11, "101.00000000"),  # another time
        events.trade(5, 11, "101.00000000", maker=True),  # another side
        events.trade(7, 11, "101.00000000", maker=True),  # a trade is missing before it
        events.trade(8, 11, "101.00000000", maker=True),
    ]
    for event in happened:
        trades.keep(events.frame(event))
        trades.settle()
        aggregates.settle()
    rows = [aggregates.row(at, micros=False) for at in range(len(aggregates))]
    assert [(row["a"], row["f"], row["l"], row["q"]) for row in rows] == [
        (1, 1, 2, "1.50000000"),
        (2, 3, 3, "1.00000000"),
        (3, 4, 4, "1.00000000"),
        (4, 5, 5, "1.00000000"),
        (5, 7, 8, "2.00000000"),
    ]
    assert (rows[3]["m"], rows[3]["T"]) == (True, events.minute + 11)
    assert aggregates.time(4) == (events.minute + 11) * 1000
