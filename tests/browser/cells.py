"""Cells that the notebooks of these tests begin with, and the widgets that they show."""

from collections.abc import Mapping

__all__ = ["PUMP", "WIDGETS", "simulated"]

WIDGETS: Mapping[str, str] = {
    "book_ladder": "ml.BookLadder(feed, 'BTCUSDT'{})",
    "kline_chart": "ml.KlineChart(feed, 'BTCUSDT', interval='1m'{})",
    "time_and_sales": "ml.TimeAndSales(feed, 'BTCUSDT'{})",
    "watchlist": "ml.Watchlist(feed, ['BTCUSDT', 'ETHUSDT']{})",
}
"""What makes each of the widgets, with a place for more options."""

PUMP = "__import__('marketlab.widgets.pump').widgets.pump"
"""The pump's module, for a question to the kernel."""


def simulated(speed: float = 4.0) -> str:
    """A cell with `ml`, `exchange` and `feed`: two symbols, which a simulation moves."""
    return (
        "import marketlab as ml\n"
        f"exchange = ml.local_exchange(simulate=True, speed={speed})\n"
        "feed = ml.live(['BTCUSDT', 'ETHUSDT'], exchange=exchange)"
    )
