"""Takes a picture of what a notebook shows: `python -m tests.browser.screenshot --code FILE --out picture.png`.

The file is a notebook, or Python whose cells are divided by lines that begin with `# %%`. A widget is waited for until
it has painted; `--js` waits for more, in words of the page, and `--wait` for so many seconds.
"""

import argparse
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .chromium import running_chromium
from .laboratory import KERNELS, NEWEST, Laboratory
from .pages import NotebookPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PARTS = {
    "widget": ".ml-widget",
    "output": ".jp-OutputArea-output >> nth=-1",
    "notebook": ".jp-NotebookPanel-notebook",
    "page": "#main",
}
_PAINTED = "() => [...document.querySelectorAll('.ml-widget')].every(el => el.mlView?.painted > 0)"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", type=Path, required=True, help="Python file or notebook")
    parser.add_argument(
        "--out", type=Path, required=True, help="the PNG; with --theme both, -light and -dark are added"
    )
    parser.add_argument("--theme", choices=("light", "dark", "both"), default="light")
    parser.add_argument("--size", default="1280x900", help="of the window (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="pixels of the picture for each of the page")
    parser.add_argument("--part", default="widget", help=f"{', '.join(_PARTS)}, or a CSS selector (default: widget)")
    parser.add_argument("--kernel", choices=list(KERNELS), default=NEWEST)
    parser.add_argument("--js", help="a JavaScript function that gives true when it is time")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for after that")
    parser.add_argument("--no-widget", action="store_true", help="do not wait for a widget to paint")
    return parser.parse_args()


def _cells(path: Path) -> list[str] | Path:
    if path.suffix == ".ipynb":
        return path
    cells = re.split(r"(?m)^# %%.*\n", path.read_text(encoding="utf-8"))
    return [cell.strip("\n") for cell in cells if cell.strip()]


def _taken(browser: "Browser", laboratory: Laboratory, asked: argparse.Namespace) -> None:
    width, height = map(int, asked.size.split("x"))
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=asked.scale)
    page = NotebookPage.opened(context, laboratory, _cells(asked.code), name="picture.ipynb", kernel=asked.kernel)
    page.command("application:toggle-left-area")
    themes = ("light", "dark") if asked.theme == "both" else (asked.theme,)
    page.theme(themes[0])
    page.run()
    for theme in themes:
        page.theme(theme)
        if not asked.no_widget:
            page.widget()
            page.until(_PAINTED)
        if asked.js:
            page.until(asked.js)
        page.page.wait_for_timeout(asked.wait * 1000)
        out = asked.out.with_stem(f"{asked.out.stem}-{theme}") if len(themes) > 1 else asked.out
        page.page.locator(_PARTS.get(asked.part, asked.part)).first.screenshot(path=out)
        print(out)
    for error in page.errors:
        print(f"the page complains: {error}", file=sys.stderr)
    page.check()


def main() -> None:
    """Do what the command line says."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that JupyterLab is stopped then too
    if reason := Laboratory.missing():
        sys.exit(reason)
    with Laboratory() as laboratory, running_chromium() as browser:
        _taken(browser, laboratory, asked)


if __name__ == "__main__":
    main()
