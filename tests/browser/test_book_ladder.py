"""The order book ladder in a real JupyterLab: what it draws is the book, and people can use it."""

from typing import Any

import pytest

from .conftest import Opener
from .pages import NotebookPage, Widget

pytestmark = pytest.mark.browser

# Every book that a frame can show is kept by its update id, in the feed's own thread.
SETUP = """
import marketlab as ml
exchange = ml.local_exchange(simulate=True, seed=5, speed=2)
feed = ml.live("BTCUSDT", ["trade", "book", "quote"], ws_url=exchange.ws_url, rest_url=exchange.rest_url)
books = {}
def keep(_):
    book = feed.inner.book("BTCUSDT", 2_000)
    books[book.id] = (book.bids, book.asks)
    if len(books) > 3_000:
        del books[next(iter(books))]
keeper = feed.lossless(keep)
"""
SHOW = "ladder = ml.BookLadder(feed, 'BTCUSDT', depth=12)\nladder"
LEVELS = ".ml-ladder-levels"


def shown(notebook: Opener, show: str = SHOW) -> tuple[NotebookPage, Widget]:
    page = notebook(SETUP, show)
    page.run()
    ladder = page.widget("book_ladder")
    ladder.until("(el, least) => el.mlView.drawn.bids?.length >= least", 5)
    ladder.wait_painted(5)
    return page, ladder


def number(text: str) -> float:
    return float(text.replace("\u2009", "").replace("\u2212", "-").removeprefix("≥"))


def levels(drawn: dict[str, Any], side: str) -> list[tuple[float, float]]:
    return [(number(price), number(size)) for price, size, _ in drawn[side]]


def settled(ladder: Widget) -> dict[str, Any]:
    """What it has drawn of a moment that the kernel remembers."""
    page = ladder.notebook
    drawn: dict[str, Any] = {}

    def remembered() -> bool:
        drawn.update(ladder.drawn)
        return bool(page.ask(f"{drawn['id']:.0f} in books"))

    page.wait(remembered, "a book that was kept")
    return drawn


def test_what_it_draws_is_the_book_at_that_update_to_the_end(notebook: Opener) -> None:
    page, ladder = shown(notebook)
    assert ladder.state == "simulated"
    assert ladder.colours() > 20
    for _ in range(5):
        ladder.wait_painted(3)
        drawn = settled(ladder)
        bids, asks = page.ask(f"books[{drawn['id']:.0f}]")
        assert len(drawn["bids"]) == len(drawn["asks"]) == 12
        for side, truth in (("bids", bids[:12]), ("asks", asks[:12])):
            assert levels(drawn, side) == [tuple(level) for level in truth]
            totals = [number(total) for *_, total in drawn[side]]
            assert totals == pytest.approx([sum(size for _, size in truth[: n + 1]) for n in range(12)], abs=1e-5)
        (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
        assert number(drawn["spread"]) == pytest.approx(ask - bid, abs=0.005)
        micro = (bid * ask_size + ask * bid_size) / (bid_size + ask_size)
        assert number(drawn["microprice"]) == pytest.approx(micro, abs=0.0006)

    badge = ladder.element.locator(".ml-ladder-badge")
    page.wait(lambda: "verified" in badge.inner_text(), "the proof")
    page.execute("feed.stop()")
    ladder.wait_state("stopped")
    page.wait(lambda: "last levels" in badge.inner_text(), "the badge")
    drawn = ladder.drawn
    bids, _ = page.ask(f"books[{drawn['id']:.0f}]")
    assert levels(drawn, "bids") == [tuple(level) for level in bids[:12]]
    assert ladder.colours() > 20


def test_levels_are_joined_by_button_key_and_trait(notebook: Opener) -> None:
    page, ladder = shown(notebook)
    ladder.element.get_by_role("button", name="Coarser").click()
    page.wait(lambda: page.ask("ladder.group") == 0.02, "the button's step")
    ladder.element.locator(LEVELS).focus()
    for _ in range(8):
        page.page.keyboard.press("+")
    page.wait(lambda: page.ask("ladder.group") == 10.0, "the keys' steps")
    ladder.until("(el, group) => el.mlView.drawn.group === group && el.mlView.drawn.bids.length > 2", 10)
    ladder.wait_painted(2)
    drawn = settled(ladder)
    bids, asks = page.ask(f"books[{drawn['id']:.0f}]")
    for side, truth, up in (("bids", bids, False), ("asks", asks, True)):
        joined: dict[float, float] = {}
        for price, size in truth:
            key = -(-price // 10) * 10 if up else price // 10 * 10
            joined[key] = joined.get(key, 0.0) + size
        expected = list(joined.items())[: len(drawn[side])]
        assert [price for price, _ in levels(drawn, side)] == [price for price, _ in expected]
        assert [size for _, size in levels(drawn, side)] == pytest.approx([size for _, size in expected], abs=1e-5)
    page.page.keyboard.press("-")
    page.wait(lambda: page.ask("ladder.group") == 5.0, "a finer step")
    page.execute("ladder.group = 0")
    ladder.until("el => el.mlView.drawn.group === 0")

    # A step for one symbol is none for another, and no number of the one is shown as the other's.
    page.execute("ladder.group = 5; ladder.symbol = 'ETHUSDT'")
    ladder.until("el => el.dataset.symbol === 'ETHUSDT' && el.mlView.drawn.bids?.length === 12")
    assert ladder.drawn["group"] == 0
    highest = levels(ladder.drawn, "asks")[-1][0]
    assert highest < page.ask("feed.book('BTCUSDT', 1).bids[0][0]") / 2


def test_a_row_that_is_looked_at_keeps_its_place_and_tells_its_cost(notebook: Opener) -> None:
    page, ladder = shown(notebook)
    card = ladder.element.locator(".ml-ladder-card")
    canvas = ladder.element.locator(f"{LEVELS} canvas")

    def looked_at() -> bool:
        # A page that is busy may lay itself out below a mouse that stays; people's never does.
        box = canvas.bounding_box()
        assert box is not None
        page.page.mouse.move(box["x"] + 40, box["y"] + box["height"] / 2 + 70)
        page.page.mouse.move(box["x"] + 41, box["y"] + box["height"] / 2 + 71)
        return card.is_visible() and "sell down to" in card.inner_text()

    page.wait(looked_at, "the cost of a bid")
    assert "bps" in card.inner_text()
    ladder.wait_painted(5)
    page.page.mouse.move(2, 2)
    card.wait_for(state="hidden")
    ladder.until("el => el.mlView.drawn.shift === 0")

    # The arrows move along the levels instead of the notebook's cells, and screen readers are told.
    ladder.element.locator(LEVELS).focus()
    page.page.keyboard.press("ArrowUp")
    page.page.keyboard.press("ArrowUp")
    card.wait_for(state="visible")
    assert "buy up to" in card.inner_text()
    ladder.until("el => el.querySelector('.ml-ladder [aria-live]').textContent.startsWith('ask ')")
    table = ladder.element.locator("table tbody tr")
    assert table.count() == 10
    assert table.nth(0).inner_text().startswith("ask")
    page.page.keyboard.press("Escape")
    card.wait_for(state="hidden")

    page.page.keyboard.press("Space")
    ladder.until("el => el.textContent.includes('paused')")
    assert page.ask("ladder.paused") is True
    page.page.keyboard.press("Space")
    ladder.wait_state("simulated")
    ladder.wait_painted(3)


def test_both_themes_and_palettes_are_different_pictures(notebook: Opener) -> None:
    page, ladder = shown(notebook)
    pixel = """el => {
      const canvas = el.querySelector('canvas');
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const count = {};
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] === 255) count[[data[i], data[i + 1], data[i + 2]]] = 1;
      }
      return Object.keys(count);
    }"""

    def opaque() -> set[str]:
        return set(ladder.element.evaluate(pixel))

    page.wait(lambda: {"38,166,154", "239,83,80"} <= opaque(), "teal and red")
    light = ladder.element.evaluate("el => getComputedStyle(el).backgroundColor")
    page.theme("dark")
    ladder.wait_painted(2)
    assert ladder.element.evaluate("el => getComputedStyle(el).backgroundColor") != light
    page.execute("ladder.palette = 'cvd'")
    page.wait(lambda: {"0,114,178", "213,94,0"} <= opaque(), "blue and vermillion")
    assert not {"38,166,154", "239,83,80"} & opaque()


def test_it_fits_into_its_cell(notebook: Opener) -> None:
    widths = (200, 360, 1100)
    made = [f"ml.BookLadder(feed, 'BTCUSDT', depth=12, layout={{'width': '{width}px'}})" for width in widths]
    page = notebook(SETUP, *made)
    page.run()
    for nth, width in enumerate(widths):
        ladder = page.widget("book_ladder", nth)
        ladder.element.scroll_into_view_if_needed()
        ladder.until("el => el.mlView.drawn.bids?.length === 12")
        canvas = ladder.element.locator("canvas").bounding_box()
        assert canvas is not None
        assert width - 10 <= canvas["width"] <= width
        assert ladder.element.evaluate("el => el.scrollWidth <= el.clientWidth")
