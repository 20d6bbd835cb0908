from marketlab.market.market import Market
from marketlab.records import BookSnapshot, BookUpdate, Kline, Quote, Record, Trade
from marketlab.streams.board import Board
from marketlab.streams.waiting import Wish


def trade(symbol: str) -> Trade:
    return Trade("binance", symbol, "1", 1, 1.0, 1.0, "buy", 1, "stream")


def kline(closed: bool) -> Kline:
    return Kline("binance", "BTCUSDT", "1m", 0, 59, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1, 1.0, 1.0, closed, 1, "stream")


RECORDS: list[Record] = [
    trade("BTCUSDT"),
    trade("ETHUSDT"),
    kline(False),
    kline(True),
    Quote("binance", "BTCUSDT", 1, 5, 1.0, 1.0, 1.0, 1.0, 5, "stream"),
]


def missing(wish: Wish, market: Market | None = None, quiet_s: float = 0.0, records: list[Record] = RECORDS) -> str:
    board = Board()
    board.add(records)
    books = ["BTCUSDT", "ETHUSDT"]
    return "; ".join(wish.missing(board, market or Market("binance"), books, quiet_s))


def test_a_fulfilled_wish_misses_nothing() -> None:
    assert missing(Wish()) == ""
    assert missing(Wish(trades=2, klines=1, quotes=1, records=5)) == ""
    assert missing(Wish(trades=1, klines=1, symbol="BTCUSDT")) == ""


def test_what_is_missing_is_named() -> None:
    wish = Wish(trades=3, klines=2, quotes=1000, records=6)
    assert missing(wish) == "2 of 3 trades; 1 of 2 closed klines; 1 of 1,000 quotes; 5 of 6 records"
    assert missing(Wish(trades=2, klines=1, symbol="ETHUSDT")) == "1 of 2 trades; 0 of 1 closed klines"


def test_books_are_awaited_up_to_an_update() -> None:
    market = Market("binance")
    market.accept(BookUpdate("binance", "BTCUSDT", 1, 5, None, 1, [], [], 1, "stream"))
    wish = Wish(update_id=5, symbol="BTCUSDT")
    assert missing(wish, market) == "update 0 of 5 in an unverified book of BTCUSDT"
    market.accept(BookSnapshot("binance", "BTCUSDT", 3, 1, [], [], 100, True, 1, "rest"))
    assert missing(wish, market) == ""
    assert missing(Wish(update_id=6, symbol="BTCUSDT"), market) == "update 5 of 6 in the book of BTCUSDT"
    assert missing(Wish(update_id=5), market) == "update 0 of 5 in an unverified book of ETHUSDT"


def test_silence_counts_once_something_has_come() -> None:
    assert missing(Wish(idle=2.0), quiet_s=1.0) == "no 2 s of silence"
    assert missing(Wish(idle=2.0), quiet_s=2.0) == ""
    assert missing(Wish(idle=2.0), quiet_s=9.0, records=[]) == "not one record and no 2 s of silence"
