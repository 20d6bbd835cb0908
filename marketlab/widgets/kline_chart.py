"""Comes next."""

from marketlab.widgets.live import LiveWidget

__all__ = ["KlineChart"]


class KlineChart(LiveWidget):
    """Comes next."""

    module = "kline_chart"
