import msgspec

from marketlab.market.market import Counts
from marketlab.market.orderbook import OrderBook
from marketlab.records import BookSnapshot
from marketlab.streams.book import Book, copy_of


def book(bids: list[tuple[float, float]], asks: list[tuple[float, float]], verified: bool = True) -> Book:
    return Book("binance", "BTCUSDT", 7, 1, verified, (1.0, 2.0), bids, asks, 3, 3)


def test_what_people_ask_of_a_book() -> None:
    full = book([(99.5, 2.0), (99.0, 1.0)], [(100.5, 3.0)])
    assert (full.best_bid, full.best_ask, full.middle, full.spread, full.spread_bps) == (99.5, 100.5, 100.0, 1.0, 100.0)
    assert repr(full) == "<Book BTCUSDT on binance: bid 2 @ 99.5, ask 3 @ 100.5, id 7, verified>"


def test_a_book_that_nobody_hears_of_any_more_says_so() -> None:
    lost = msgspec.structs.replace(book([(99.5, 2.0)], [(100.5, 3.0)], verified=False), current=False)
    assert repr(lost).endswith("id 7, not verified, no news since the connection was lost>")


def test_a_book_with_an_empty_side() -> None:
    half = book([(99.5, 2.0)], [], verified=False)
    assert (half.best_bid, half.best_ask, half.middle, half.spread, half.spread_bps) == (99.5, None, None, None, None)
    assert repr(half) == "<Book BTCUSDT on binance: bid 2 @ 99.5, ask -, id 7, not verified>"


def test_all_levels_near_the_middle() -> None:
    running = OrderBook("binance", "BTCUSDT")
    bids, asks = [(99.5, 1.0), (98.5, 2.0), (90.0, 9.0)], [(100.5, 1.0), (101.5, 2.0), (110.0, 9.0)]
    running.load(BookSnapshot("binance", "BTCUSDT", 7, 1, bids, asks, 3, True, 1, "rest"))
    near = copy_of(running, Counts(), 1, current=True, within=0.02)
    assert (near.bids, near.asks) == (bids[:2], asks[:2])
    assert near.known == (90.0, 110.0)


def test_a_book_that_began_empty_says_that_it_has_not_seen_all() -> None:
    running = OrderBook("binance", "BTCUSDT")
    running.load(BookSnapshot("binance", "BTCUSDT", 7, 1, [], [], 0, True, 1, "rest"))
    began = copy_of(running, Counts(), 5, current=True)
    assert began.known is None
    assert repr(began).endswith("verified, but for levels from before it began>")
