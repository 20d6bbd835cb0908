"""The pictures of the README, out of recorded frames; `make pictures` stores them in docs/pictures."""

import os
from pathlib import Path

import pytest

from .conftest import Opener

pytestmark = pytest.mark.browser

_CONNECT = """
import marketlab as ml

exchange = ml.local_exchange({tapes!r}, speed=60)
feed = ml.live(['ETHUSDT'], ['trade', 'quote', 'book', 'kline_1s', 'kline_1m'], exchange)
"""
_SHOWN = {
    "dashboard": "ml.dashboard(feed, ['ETHUSDT'], interval='1s')",
    "klines": "ml.KlineChart(feed, 'ETHUSDT', interval='1s', overlays=['sma 20', 'ema 50', 'vwap'])",
    "ladder": "ml.BookLadder(feed, 'ETHUSDT', group=0.1)",
}
_WHOLE = "() => [...document.querySelectorAll('.ml-widget')].every(el => el.mlView.painted > 5)"


@pytest.mark.parametrize("name", list(_SHOWN))
def test_what_the_readme_shows(notebook: Opener, tapes: Path, tmp_path: Path, name: str) -> None:
    page = notebook(_CONNECT.format(tapes=str(tapes / "ethusdt_20240808.gz")), _SHOWN[name])
    page.page.set_viewport_size({"width": 1500 if name == "dashboard" else 1000, "height": 1000})
    page.command("application:toggle-left-area")
    page.run()
    page.until(_WHOLE)
    assert page.ask("exchange.wait_done(60)")
    page.ask("feed.wait(idle=0.5)")
    folder = Path(os.environ.get("MARKETLAB_TEST_PICTURES") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        page.theme(theme)
        page.widget().wait_painted()  # in its colours
        picture = folder / f"{name}-{theme}.png"
        page.page.locator(".jp-Cell:nth-child(2) .jp-OutputArea-output").first.screenshot(path=picture)
        assert page.widget().state == "replay"
        assert picture.stat().st_size > 20_000
