"""Time and sales, and the watchlist, in a real JupyterLab: what they draw is what came, and people can use them."""

from datetime import datetime
from typing import Any

import pytest

from .conftest import Opener
from .pages import NotebookPage, Widget

pytestmark = pytest.mark.browser

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"]
SALES = "sales = ml.TimeAndSales(feed, 'BTCUSDT', height=300)\nsales"
WATCH = "watch = ml.Watchlist(feed)\nheard = []\nwatch.observe(lambda change: heard.append(change['new']), 'selected')\nwatch"


def playing(**options: Any) -> str:
    words = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"""
import marketlab as ml
exchange = ml.local_exchange(simulate=True, symbols={SYMBOLS}{words})
feed = ml.live({SYMBOLS}, ["trade", "quote"], ws_url=exchange.ws_url, rest_url=exchange.rest_url)
feed.wait(trades=100)

def newest(id, limit):
    table = feed.trades("BTCUSDT")
    chosen = table.filter(table["trade_id"].cast(int) <= id).tail(limit).reverse()
    return [(str(row["time"]), row["price"], row["size"], row["side"]) for row in chosen.iter_rows(named=True)]
"""


def number(text: str) -> float:
    return float(text.replace("\u2009", "").replace("\u2212", "-").rstrip("%"))


def trades(page: NotebookPage, id: int, limit: int) -> list[tuple[str, float, float, str]]:
    """The feed's newest trades up to an id, the newest first, as a row shows them."""
    rows = page.ask(f"newest({id}, {limit})")
    return [(datetime.fromisoformat(time).strftime("%H:%M:%S.%f")[:-3], *others) for time, *others in rows]


def drawn(sales: Widget) -> tuple[int, list[tuple[str, float, float, str]]]:
    told = sales.drawn
    rows = [(time, number(price), number(size), side) for time, price, size, side, _ in told["rows"]]
    return int(told["id"]), rows


def texts(watch: Widget, column: str) -> dict[str, str]:
    """The cells of a column as they stand on the page, by symbol, from the top."""
    script = "(el, name) => [...el.querySelectorAll('tbody tr')].map(tr => [tr.dataset.symbol, tr.querySelector(name).textContent])"
    return dict(watch.element.evaluate(script, f".ml-{column}"))


def test_rows_are_the_newest_trades_and_keys_go_back_through_those_that_are_kept(notebook: Opener) -> None:
    page = notebook(playing(speed=5.0), SALES)
    page.run()
    sales = page.widget("time_and_sales")
    sales.wait_state("simulated")
    sales.wait_painted(5)
    assert sales.colours() > 20
    for _ in range(5):
        sales.wait_painted(2)
        id, rows = drawn(sales)
        assert len(rows) > 8
        assert rows == trades(page, id, len(rows))
    large = [row[4] for row in sales.drawn["rows"]]
    assert set(large) <= {True, False}

    canvas = sales.element.locator("canvas")
    canvas.focus()
    page.page.keyboard.press("PageDown")
    sales.until("el => el.mlView.drawn.at > 5")
    sales.wait_painted(5)
    first, back = drawn(sales)
    at = sales.drawn["at"]
    assert back == trades(page, first, at + len(back))[at:]
    page.page.keyboard.press("End")
    sales.until("(el, at) => el.mlView.drawn.at > at", at)
    id, oldest = drawn(sales)
    assert id == first  # it holds still while somebody reads
    at = sales.drawn["at"]
    assert oldest == trades(page, id, at + len(oldest))[at:]
    page.page.keyboard.press("Home")
    sales.until("(el, id) => el.mlView.drawn.at === 0 && el.mlView.drawn.id > id", id)
    assert page.ask("get_ipython().execution_count") > 1  # the keys went to no cell
    label = canvas.get_attribute("aria-label") or ""
    assert "BTCUSDT" in label
    assert "trades a second" in label


def test_only_large_enough_trades_of_the_symbol_that_is_asked_for(notebook: Opener) -> None:
    page = notebook(playing(speed=5.0), SALES)
    page.run()
    sales = page.widget("time_and_sales")
    sales.wait_painted(3)
    page.execute("sales.least = 0.5")
    sales.until("el => el.mlView.drawn.rows.length && el.mlView.drawn.rows.every(row => Number(row[2]) >= 0.5)")
    page.execute("sales.least = 1e9")
    sales.until("el => el.mlView.drawn.rows.length === 0")
    page.execute("sales.least = 0.0; sales.symbol = 'DOGEUSDT'")
    sales.until("el => el.dataset.symbol === 'DOGEUSDT' && el.mlView.drawn.rows.length > 3")
    assert all(number(price) < 1 for _, price, *_ in sales.drawn["rows"])
    page.execute("sales.close()")
    page.until("() => !document.querySelector('.ml-widget')")


def test_cells_say_what_tickers_quotes_and_history_say(notebook: Opener) -> None:
    page = notebook(playing(speed=20.0, duration=100.0), WATCH)
    page.run()
    watch = page.widget("watchlist")
    watch.wait_state("simulated")
    page.execute("assert exchange.wait_done(60); feed.wait(idle=1.0)")
    truth = {
        symbol: page.ask(
            f"[*feed.tickers('{symbol}').select('last', 'open', 'quote_volume').tail(1).rows()[0],"
            f" feed.quote('{symbol}').bid_price, feed.quote('{symbol}').ask_price]"
        )
        for symbol in SYMBOLS
    }
    watch.until("(el, last) => el.mlView.drawn.rows.BTCUSDT.last === last", truth["BTCUSDT"][0])
    watch.wait_painted(2)
    last, change, spread = (texts(watch, column) for column in ("last", "change", "spread"))
    for symbol, (price, opened, volume, bid, ask) in truth.items():
        assert number(last[symbol]) == price
        assert number(change[symbol][2:]) == pytest.approx((price / opened - 1) * 100, abs=0.0051)
        assert change[symbol][0] == ("▲" if price > opened else "▼" if price < opened else "■")
        assert number(spread[symbol]) == pytest.approx((ask - bid) / (ask + bid) * 20_000, abs=0.0051)
        assert watch.drawn["rows"][symbol]["volume"] == volume
        closes = watch.drawn["closes"][symbol]
        assert closes == page.ask(f"feed.history('{symbol}', '1m', 60)['close'].to_list()")
    assert watch.colours() > 20
    assert "24 h" in watch.element.locator("th.ml-change").inner_text()


def test_click_and_keys_select_and_titles_sort(notebook: Opener) -> None:
    page = notebook(playing(), WATCH)
    page.run()
    watch = page.widget("watchlist")
    watch.until("el => Object.values(el.mlView.drawn.rows ?? {}).filter(row => row.change).length === 4")
    watch.element.locator("tr[data-symbol='SOLUSDT'] td.ml-last").click()
    page.wait(lambda: page.ask("heard") == ["SOLUSDT"], "the selection")
    assert watch.element.locator("tr[aria-selected='true']").get_attribute("data-symbol") == "SOLUSDT"

    watch.element.get_by_role("button", name="last").click()
    page.wait(lambda: page.ask("watch.sort") == "-last", "the order")
    watch.until("el => el.mlView.drawn.order[0] === 'BTCUSDT'")
    assert list(texts(watch, "symbol")) == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"]
    assert watch.element.locator("th.ml-last").get_attribute("aria-sort") == "descending"

    watch.element.locator(".ml-watch").focus()
    for key in ("ArrowDown", "ArrowUp", "ArrowUp", "Enter"):
        page.page.keyboard.press(key)
    page.wait(lambda: page.ask("heard") == ["SOLUSDT", "ETHUSDT"], "the selection by keys")
    page.execute("watch.selected = 'DOGEUSDT'")
    watch.until("el => el.querySelector('tr[aria-selected=true]').dataset.symbol === 'DOGEUSDT'")
    page.execute("watch.symbols = ['DOGEUSDT', 'BTCUSDT']")
    watch.until("el => el.mlView.drawn.rows?.DOGEUSDT?.last < 1 && el.querySelectorAll('tbody tr').length === 2")
    page.reload()
    again = page.widget("watchlist")
    again.until("el => el.mlView?.drawn.rows?.BTCUSDT?.last > 1000")
    assert again.drawn["selected"] == "DOGEUSDT"


def test_side_by_side_each_has_its_part_and_in_a_narrow_place_its_name(notebook: Opener) -> None:
    trades = "ml.TimeAndSales(feed, 'BTCUSDT', paused=True)"
    chart = "ml.KlineChart(feed, 'BTCUSDT', layout={'width': '330px'})"
    page = notebook(playing(), f"import ipywidgets\nipywidgets.HBox([{trades}, {trades}])", chart)
    page.run()
    page.widget("kline_chart").wait_painted(1)
    whole = "() => document.querySelector('.widget-hbox').getBoundingClientRect().width"
    assert page.evaluate(
        """() => [...document.querySelectorAll('.widget-hbox .ml-widget')].map(one => one.getBoundingClientRect().width)"""
    ) == pytest.approx([page.evaluate(whole) / 2] * 2, abs=8)
    name = page.widget("kline_chart").element.locator(".ml-words")
    assert name.evaluate("el => [el.innerText, el.scrollWidth <= el.clientWidth]") == ["BTCUSDT · 1m", True]


def test_light_and_dark_are_the_pages(notebook: Opener) -> None:
    page = notebook(
        playing(),
        f"{SALES}.close()\nimport ipywidgets\nipywidgets.VBox([ml.TimeAndSales(feed, 'BTCUSDT', height=200), ml.Watchlist(feed)])",
    )
    page.run()
    parts = [page.widget("time_and_sales"), page.widget("watchlist")]
    for theme, dark in (("light", False), ("dark", True)):
        page.theme(theme)
        for part in parts:
            part.until(
                "(el, dark) => (parseInt(getComputedStyle(el).backgroundColor.match(/\\d+/)[0]) < 100) === dark", dark
            )
            part.wait_painted(3)
        corner = "el => el.querySelector('canvas').getContext('2d').getImageData(2, 60, 1, 1).data[0]"
        assert (parts[0].element.evaluate(corner) < 100) is dark
