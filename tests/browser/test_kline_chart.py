"""Klines in a real JupyterLab: what is drawn is true, and people can use it."""

from pathlib import Path
from typing import Any

import pytest

from .conftest import Opener
from .pages import NotebookPage, Widget

pytestmark = pytest.mark.browser

MINUTE = 60_000_000
# What each candle was after each trade is kept by the trade's id, in the feed's own thread.
SETUP = """
import marketlab as ml
exchange = ml.local_exchange(simulate=True, seed=3, speed=4, start="2024-08-09T14:00")
feed = ml.live("BTCUSDT", ["trade", "kline_1m"], exchange)
candles, parts = {}, {}
def keep(batch):
    for record in batch:
        if type(record).__name__ == "Trade":
            opened = record.time // 60_000_000 * 60_000_000
            prices, sizes = parts.setdefault(opened, ([], []))
            prices.append(record.price)
            sizes.append(record.size)
            told = [prices[0], max(prices), min(prices), prices[-1], sum(sizes), len(prices)]
            candles[int(record.trade_id)] = [opened, *told]
keeper = feed.lossless(keep)
"""
SHOW = "chart = ml.KlineChart(feed, 'BTCUSDT', bars=120, overlays=['sma 20', 'ema 50', 'vwap'])\nchart"
# What history is asked for waits until somebody opens the gate.
HELD_BACK = """
import asyncio
gate, rest = asyncio.Event(), feed.inner.rest
fetch = rest.fetch
async def held_back(request, *more, **options):
    await gate.wait()
    return await fetch(request, *more, **options)
rest.fetch = held_back
"""
TAPE = """
import marketlab as ml
exchange = ml.local_exchange({tape!r}, speed=60)
feed = ml.live("BTCUSDT", ["trade"], exchange)
feed.wait(trades=2_000)
chart = ml.KlineChart(feed, "BTCUSDT", interval="1s", bars=60)
chart
"""


def shown(notebook: Opener, *, theme: str = "light", show: str = SHOW) -> tuple[NotebookPage, Widget]:
    page = notebook(SETUP, show, theme=theme)
    page.run()
    chart = page.widget("kline_chart")
    chart.until("el => el.mlView.drawn.bars >= 120 && el.mlView.drawn.id > 0")
    return page, chart


def settled(page: NotebookPage, chart: Widget) -> tuple[dict[str, Any], list[float]]:
    """What it has drawn of a moment that the kernel remembers, and what that was."""
    drawn: dict[str, Any] = {}
    truth: list[float] = []

    def remembered() -> bool:
        drawn.update(chart.drawn)
        truth[:] = page.ask(f"candles.get({drawn['id']:.0f}, [])")
        return bool(truth) and drawn["time"] == truth[0]

    page.wait(remembered, "a candle that was kept")
    return drawn, truth


def text(chart: Widget, selector: str) -> str:
    return chart.element.locator(selector).inner_text().replace("\u2009", "")


def test_what_it_draws_is_the_candle_of_the_trades_so_far(notebook: Opener) -> None:
    page, chart = shown(notebook)
    assert chart.state == "simulated"
    assert chart.colours() > 20
    # The first minute that was seen from its beginning.
    first = page.ask("min(parts)")
    chart.until("(el, first) => el.mlView.drawn.time > first", first)
    for _ in range(5):
        chart.wait_painted(5)
        drawn, truth = settled(page, chart)
        assert [drawn[name] for name in ("time", "open", "high", "low", "close")] == truth[:5]
        assert drawn["volume"] == pytest.approx(truth[5], rel=1e-12)
        assert drawn["trades"] == truth[6]
    page.execute("chart.paused = True")
    chart.wait_state("paused")
    drawn = chart.drawn
    assert text(chart, ".ml-last") == f"{drawn['close']:.2f}"
    assert text(chart, ".ml-legend-prices").split()[1::2] == [
        f"{drawn[n]:.2f}" for n in ("open", "high", "low", "close")
    ]
    assert text(chart, ".ml-words") == "binance · BTCUSDT · 1m"


def test_as_many_bars_as_the_kernel_has_and_the_same_averages(notebook: Opener) -> None:
    page, chart = shown(notebook)
    page.execute("chart.paused = True")
    chart.wait_state("paused")
    page.execute("scene = chart._seat.scene; rows = feed.ask(lambda: scene.bars.rows()); closes = [r[4] for r in rows]")
    drawn = chart.drawn
    count, first, last = page.ask("[len(rows), rows[0][0], rows[-2][0]]")
    assert drawn["bars"] - count in range(-1, 3)  # it moved on while it was asked
    assert drawn["first"] <= first
    at = round((drawn["time"] - first) / MINUTE)
    before = page.ask(f"closes[{at - 19}:{at}]")
    assert drawn["overlays"]["SMA 20"] == pytest.approx((sum(before) + drawn["close"]) / 20, rel=1e-12)
    assert set(drawn["overlays"]) == {"SMA 20", "EMA 50", "VWAP"}
    assert last <= drawn["time"]
    page.execute("chart.overlays = ['sma 5']")
    chart.until("el => Object.keys(el.mlView.drawn.overlays).join() === 'SMA 5'")
    assert "SMA 5" in text(chart, ".ml-legend")


def test_buttons_keys_and_the_kernel_switch_the_interval(notebook: Opener) -> None:
    page, chart = shown(notebook)
    buttons = chart.element.locator(".ml-switch button")
    assert buttons.all_inner_texts() == ["1s", "1m", "5m", "15m", "1h", "4h", "1d"]
    buttons.filter(has_text="15m").click()
    chart.until("el => el.mlView.drawn.interval === '15m'")
    assert page.ask("chart.interval") == "15m"
    assert buttons.filter(has_text="15m").get_attribute("aria-pressed") == "true"
    told = page.ask("feed.history('BTCUSDT', '15m', 100)['close'].to_list()")
    chart.until("(el, count) => el.mlView.drawn.bars >= count", min(len(told), 60))

    chart.element.locator("[role=application]").focus()
    page.page.keyboard.press("3")
    chart.until("el => el.mlView.drawn.interval === '5m'")
    assert not page.failures()
    page.execute("chart.interval = '1m'")
    chart.until("el => el.mlView.drawn.interval === '1m' && el.mlView.drawn.bars >= 120")
    assert text(chart, ".ml-words").endswith("1m")
    page.execute("chart.symbol = 'eth-usdt'")
    chart.until("el => el.mlView.drawn.close < 10_000 && el.mlView.drawn.bars >= 120")
    assert text(chart, ".ml-words") == "binance · ETHUSDT · 1m"
    # The notebook's own keys were not touched: the cell is still one of code.
    kinds = page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets.map(cell => cell.model.type)")
    assert set(kinds) == {"code"}


def test_keys_move_and_zoom_and_the_left_end_brings_older_bars(notebook: Opener) -> None:
    # So many that the left end is far away: places of bars are counted from there.
    page, chart = shown(notebook, show=SHOW.replace("bars=120", "bars=300"))
    before = chart.drawn
    width = before["to"] - before["from"]
    chart.element.locator("[role=application]").focus()
    page.page.keyboard.press("ArrowLeft")
    chart.until("(el, to) => el.mlView.drawn.to < to - 3", before["to"])
    page.page.keyboard.press("End")
    chart.until("(el, to) => el.mlView.drawn.to > to - 1", before["to"])
    page.page.keyboard.press("+")
    chart.until("(el, width) => el.mlView.drawn.to - el.mlView.drawn.from < width * 0.9", width)
    page.page.keyboard.press("Home")
    chart.until("el => el.mlView.drawn.bars > 400")
    assert page.ask("chart._seat.scene.bars.size") > 400


def test_the_crosshair_tells_of_the_bar_under_it(notebook: Opener) -> None:
    page, chart = shown(notebook)
    newest = text(chart, ".ml-legend-time")
    box = chart.element.locator("[role=application]").bounding_box()
    assert box is not None
    page.page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    chart.until("(el, newest) => el.querySelector('.ml-legend-time').textContent !== newest", newest)
    page.page.mouse.move(box["x"] + box["width"] / 3, box["y"] - 60)
    chart.until("(el, newest) => el.querySelector('.ml-legend-time').textContent >= newest", newest)


def test_both_themes_and_both_palettes_have_their_colours_at_once(notebook: Opener) -> None:
    page, chart = shown(notebook)
    has = """(el, wanted) => [...el.querySelectorAll('canvas')].some(canvas => {
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      for (let at = 0; at < data.length; at += 4)
        if (wanted.every((part, place) => data[at + place] === part)) return true;
      return false;
    })"""
    red, vermillion, white, black = [239, 83, 80], [213, 94, 0], [255, 255, 255], [17, 17, 17]
    chart.until(has, red)
    chart.until(has, white)
    page.theme("dark")
    chart.until(has, black)
    chart.until(has, red)
    page.execute("chart.palette = 'cvd'")
    chart.until(has, vermillion)


def test_a_tape_begins_in_the_middle_and_ends_with_what_is_true(notebook: Opener, tapes: Path) -> None:
    page = notebook(TAPE.format(tape=str(tapes / "btcusdt_20240809.gz")))
    page.run()
    chart = page.widget("kline_chart")
    chart.until("el => el.mlView.drawn.bars > 30")
    assert chart.state == "replay"
    page.execute("chart.interval = '1m'")
    page.execute("feed.wait(trades=10_147); feed.wait(idle=1)")
    last = "[round(feed.trades('BTCUSDT')['price'][-1], 2), feed.trades('BTCUSDT')['time'].to_physical()[-1]]"
    price, time = page.ask(last)
    chart.until("(el, close) => el.mlView.drawn.interval === '1m' && el.mlView.drawn.close === close", price)
    assert chart.drawn["time"] == time // MINUTE * MINUTE


def test_while_history_loads_it_says_so_and_gives_bars_of_another_interval_up(notebook: Opener) -> None:
    page, chart = shown(notebook)
    page.execute(HELD_BACK)
    page.execute("chart.interval = '5m'")
    chart.until("el => el.querySelector('.ml-words').textContent.endsWith('5m, loading')")
    line = "el => el.querySelector('.ml-chart-loading').textContent"
    chart.until(f"{line} === 'Loading 5m klines of BTCUSDT'")
    assert chart.element.locator(".ml-chart-loading").is_visible()
    page.execute("feed.ask(gate.set)")
    chart.until("el => el.mlView.drawn.interval === '5m' && el.mlView.drawn.bars > 20")
    chart.until(f"{line} === ''")
    chart.until("el => el.querySelector('.ml-words').textContent.endsWith('5m')")


def test_since_when_the_days_average_is_known_is_told_to_whoever_cannot_see(notebook: Opener) -> None:
    _, chart = shown(notebook)
    chart.until(
        """el => {
          const chart = el.querySelector("[role=application]");
          const hints = document.getElementById(chart.getAttribute("aria-describedby"));
          const shown = el.querySelector(".ml-legend-lines .ml-pair:last-child").title;
          return !hints.closest("[aria-hidden]") && hints.textContent === (shown && `VWAP ${shown}.`);
        }"""
    )


def test_what_is_wrong_is_told_before_the_picture_not_behind_it(notebook: Opener) -> None:
    page, chart = shown(notebook)
    page.execute("feed.unsubscribe('BTCUSDT', 'trade')")
    chart.until("el => el.querySelector('.ml-message').textContent.includes('trade of BTCUSDT is not streamed')")
    in_front = """el => {
      const words = el.querySelector(".ml-message > span");
      words.style.pointerEvents = "auto";
      const {x, y, width, height} = words.getBoundingClientRect();
      return document.elementFromPoint(x + width / 2, y + height / 2) === words;
    }"""
    assert chart.element.evaluate(in_front)
    page.execute("feed.subscribe('BTCUSDT', 'trade')")
    chart.until("el => !el.querySelector('.ml-message').textContent")
