"""What remains where nobody answers: notebooks that were run by a program, and pages without kernel and network."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .cells import simulated
from .laboratory import Laboratory
from .pages import write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_an_exported_notebook_shows_the_last_picture_without_network(
    chromium: "Browser", laboratory: Laboratory, tmp_path: Path
) -> None:
    cells = [
        simulated(),
        "ladder = ml.BookLadder(feed, 'BTCUSDT')\nladder",
        "feed.wait(records=200)\nfeed.stop()\nprint('best bid', feed.book('BTCUSDT').best_bid)",
    ]
    notebook = tmp_path / "exported.ipynb"
    write_notebook(notebook, cells)
    program = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", str(notebook)]
    told = subprocess.run(
        program, env=os.environ | {"IPYTHONDIR": str(tmp_path)}, check=False, capture_output=True, timeout=120
    )
    assert told.returncode == 0, told.stderr.decode()[-2000:]

    context = chromium.new_context(offline=True, viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        page.goto(notebook.with_suffix(".html").as_uri(), wait_until="domcontentloaded")
        best = page.locator(".jp-OutputArea pre", has_text="best bid").inner_text().split()[-1]
        picture = page.locator("svg", has_text="BTCUSDT").first
        box = picture.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 200
        drawn = (picture.text_content() or "").replace("\N{NARROW NO-BREAK SPACE}", "").replace("\N{THIN SPACE}", "")
        assert f"{float(best):.2f}" in drawn
        assert "simulated" in drawn
    finally:
        context.close()
