"""The dashboard in a real JupyterLab: one choice moves all parts, at any width, and nothing is left behind."""

from functools import partial

import pytest

from .conftest import Opener
from .pages import NotebookPage, Widget

pytestmark = pytest.mark.browser

SETUP = """
import marketlab as ml
symbols = ["BTCUSDT", "ETHUSDT", "DOGEUSDT"]
exchange = ml.local_exchange(simulate=True, symbols=symbols, speed=4)
feed = ml.live(symbols, ["trade", "quote", "book"], ws_url=exchange.ws_url, rest_url=exchange.rest_url)
feed.wait(trades=50)
"""
SHOW = "board = ml.dashboard(feed)\nboard"
PARTS = ("watchlist", "kline_chart", "book_ladder", "time_and_sales")


def shown(notebook: Opener) -> tuple[NotebookPage, list[Widget]]:
    page = notebook(SETUP, SHOW)
    page.run()
    parts = [page.widget(kind) for kind in PARTS]
    for part in parts:
        part.wait_state("simulated")
        part.wait_painted(3)
    return page, parts


def columns(page: NotebookPage) -> int:
    """How many columns the parts stand in."""
    lefts = "() => new Set([...document.querySelectorAll('.ml-widget')].map(el => Math.round(el.getBoundingClientRect().left))).size"
    return int(page.evaluate(lefts))


def test_a_click_shows_another_symbol_in_every_part(notebook: Opener) -> None:
    page, (watch, chart, ladder, trades) = shown(notebook)
    for part in (watch, chart, ladder, trades):
        assert part.colours() > 10
    watch.element.locator("tr[data-symbol='DOGEUSDT'] td.ml-last").click()
    for part in (chart, ladder, trades):
        part.until("el => el.dataset.symbol === 'DOGEUSDT'")
    assert page.ask("[board.symbol, board.chart.symbol, board.ladder.symbol, board.trades.symbol]") == ["DOGEUSDT"] * 4
    trades.until("el => el.mlView.drawn.rows.length > 3 && el.mlView.drawn.rows.every(row => Number(row[1]) < 1)")
    ladder.until("el => Number(el.mlView.drawn.bids?.[0]?.[0]) < 1")
    dropdown = page.page.locator(".ml-dashboard-controls select").first
    dropdown.select_option("ETHUSDT")
    watch.until("el => el.mlView.drawn.selected === 'ETHUSDT'")
    for part in (chart, ladder, trades):
        part.until("el => el.dataset.symbol === 'ETHUSDT'")


def test_pause_stops_all_pictures_and_goes_on(notebook: Opener) -> None:
    page, parts = shown(notebook)
    page.page.locator(".ml-dashboard-controls").get_by_role("button", name="Pause").click()
    for part in parts:
        part.wait_state("paused")
    still = parts[3].drawn
    page.execute("before = feed.status().records; feed.wait(records=before + 500)")
    assert parts[3].drawn == still
    page.execute("board.paused = False")
    for part in parts:
        part.wait_state("simulated")
    parts[3].until("(el, id) => el.mlView.drawn.id > id", still["id"])


def has_columns(page: NotebookPage, expected: int) -> bool:
    return columns(page) == expected


def test_columns_follow_the_width_and_all_parts_fit(notebook: Opener) -> None:
    page, parts = shown(notebook)
    for width, expected in ((1700, 3), (1100, 2), (700, 1)):
        page.page.set_viewport_size({"width": width, "height": 1000})
        page.wait(partial(has_columns, page, expected), f"{expected} columns")
        board = page.page.locator(".ml-dashboard").bounding_box()
        assert board is not None
        for part in parts:
            box = part.element.bounding_box()
            assert box is not None
            assert box["x"] >= board["x"] - 1
            assert box["x"] + box["width"] <= board["x"] + board["width"] + 1
            assert box["height"] > 120


def test_running_it_again_and_closing_leave_nothing_behind(notebook: Opener) -> None:
    page, _ = shown(notebook)
    page.execute("import ipywidgets; count = len(ipywidgets.widget._instances)")
    for _ in range(3):
        page.run_cell(1)
    page.widget("watchlist").wait_painted(2)
    assert page.evaluate("() => document.querySelectorAll('.ml-widget').length") == 4
    assert page.ask("len(ipywidgets.widget._instances) - count") == 0
    pump = "__import__('marketlab.widgets.pump').widgets.pump"
    assert page.ask(f"[len(pump.seats) for pump in {pump}._pumps.values()]") == [4]
    page.execute("board.close()")
    page.until("() => !document.querySelector('.ml-widget')")
    page.wait(lambda: page.ask(f"{pump}.running_pumps()") == 0, "the end of the pump")
