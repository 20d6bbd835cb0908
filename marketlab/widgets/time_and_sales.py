"""Comes next."""

from marketlab.widgets.live import LiveWidget

__all__ = ["TimeAndSales"]


class TimeAndSales(LiveWidget):
    """Comes next."""

    module = "time_and_sales"
