"""Open the notebooks of an installed wheel as its users do: `marketlab lab`, and a browser that knows only this machine.

Every notebook that shows a widget is run, cell by cell.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.browser.chromium import running_chromium
from tests.browser.laboratory import Laboratory
from tests.browser.pages import NotebookPage, Widget

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["check_lab"]

ROOT = Path(__file__).resolve().parents[1]
LOADED = "marketlab.jupyter | extension was successfully loaded"
# What shows which widgets.
SHOWS = {
    "ml.BookLadder(": ["book_ladder"],
    "ml.KlineChart(": ["kline_chart"],
    "ml.TimeAndSales(": ["time_and_sales"],
    "ml.Watchlist(": ["watchlist"],
    "ml.dashboard(": ["watchlist", "kline_chart", "book_ladder", "time_and_sales"],
}
NOTICES = ".Toastify__toast"
# What asks for the network gets an error at once.
NOBODY = dict.fromkeys(("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


class InstalledLab(Laboratory):
    """`marketlab lab` of another environment, for someone who has never used Jupyter; no other program is found."""

    program = "marketlab lab"

    def __init__(self, programs: Path) -> None:
        super().__init__()
        self.programs = programs

    @property
    def notebooks(self) -> Path:
        return self.folder / "marketlab-notebooks"

    def _command(self) -> list[str]:
        return [
            *(str(self.programs / "marketlab"), "lab", "--no-browser", "--", "--allow-root", "--expose-app-in-browser"),
            *("--ip=127.0.0.1", f"--port={self.port}", "--ServerApp.port_retries=0"),
            *("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"),
        ]

    def _environment(self) -> Mapping[str, str]:
        inherited = (name for name in os.environ if name.startswith(("JUPYTER", "MARKETLAB", "PYTHON")))
        places = {"HOME": str(self.folder), "TMPDIR": str(self.folder), "PATH": str(self.programs)}
        return dict.fromkeys(inherited, "") | places | NOBODY | {"NO_PROXY": "127.0.0.1,localhost"}


def check_lab(programs: Path) -> None:
    """Run the notebooks of the environment with these programs.

    Raises:
        AssertionError: a cell failed, a widget did not paint, the page complained or asked another machine.
    """
    reason = InstalledLab.missing()
    if reason is not None:
        if {"browser", "everything"} & set(os.environ.get("MARKETLAB_REQUIRE", "").split(",")):
            sys.exit(f"MARKETLAB_REQUIRE names a browser, but {reason}")
        print(f"The wheel's notebooks were not opened: {reason}.")
        return
    seen: Counter[str] = Counter()
    with InstalledLab(programs) as lab, running_chromium() as browser:
        for path in sorted(lab.notebooks.glob("*.ipynb")):
            cells = json.loads(path.read_bytes())["cells"]
            sources = ["".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in cells]
            if any(map(widgets, sources)):
                seen += run_notebook(browser, lab, path.name, sources)
        said = (lab.folder / "log").read_text(errors="replace")
    assert LOADED in said, f"Jupyter's server did not load its extension:\n{said}"
    built = json.loads((ROOT / "js" / "package.json").read_text(encoding="utf-8"))["widgets"]
    assert set(seen) == set(built), f"the notebooks have shown {', '.join(seen)} only"
    print(f"marketlab lab shows {', '.join(f'{kind} {count} times' for kind, count in seen.items())}")


def widgets(source: str) -> list[str]:
    """The kinds of widgets that a cell shows."""
    return [kind for call, kinds in SHOWS.items() if call in source for kind in kinds]


def run_notebook(browser: "Browser", lab: InstalledLab, name: str, sources: list[str]) -> Counter[str]:
    """How many widgets of each kind have painted in it."""
    seen: Counter[str] = Counter()
    with opened(browser, lab, name) as page:
        for index, source in enumerate(sources):
            page.run_cell(index)
            for kind in widgets(source):
                await_painted(page.widget(kind, seen[kind]))
                seen[kind] += 1
        place = page.ask("__import__('marketlab').__file__")
        assert Path(place).is_relative_to(lab.programs.parent), f"the kernel has marketlab from {place}"
        assert not page.page.locator(NOTICES).count(), page.page.locator(NOTICES).all_inner_texts()
        page.check()
    return seen


@contextmanager
def opened(browser: "Browser", lab: InstalledLab, name: str) -> Iterator[NotebookPage]:
    """One of the copied notebooks, with the kernel that it asks for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = NotebookPage(context.new_page(), lab, name)
    try:
        page.page.goto(f"{lab.url}/lab/tree/{name}?reset")
        page.wait_idle()
        yield page
    finally:
        context.close()
        lab.end_kernels()


def await_painted(widget: Widget) -> None:
    """Wait until a widget has painted something."""
    widget.element.scroll_into_view_if_needed()
    widget.until("el => el.mlView?.painted > 0")
    if widget.element.locator("canvas").count():
        assert widget.colours() > 4, f"{widget.element.get_attribute('data-widget')} is empty"
