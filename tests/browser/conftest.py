"""A real JupyterLab and a real Chromium for tests.

    pytestmark = pytest.mark.browser

    def test_it_paints(notebook: Opener, tapes: Path) -> None:
        page = notebook(SETUP, "ml.BookLadder(feed, 'BTCUSDT')")   # a page for this test alone; nothing was run yet
        page.run()                                                  # all cells; one that raises is a failure
        ladder = page.widget("book_ladder")                         # the first of its kind on the page
        ladder.wait_painted()                                       # waits are for something, and bounded
        assert ladder.colours() > 4                                 # pixels, not just nodes
        assert ladder.last["id"] == page.ask("feed.book('BTCUSDT').update_id")

`notebook` closes the page and ends its kernel after the test, and then fails it where the console held an error or
anything was asked of another machine. `notebook(..., kernel="ipykernel-6", theme="dark", at=link.url)`; a path in the
place of cells opens that notebook; more than one may be open. `each_kernel` runs a test on the newest ipykernel, with
MARKETLAB_FULL=1 on three. `slow_link` is a way to the laboratory that can be made slow once the page is there. What
a page and a widget can do is in pages.py. `python -m tests.browser.screenshot --help` makes pictures.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from .chromium import running_chromium
from .laboratory import FULL, KERNELS, NEWEST, Laboratory
from .pages import NotebookPage
from .slow_link import SlowLink

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_CHROMIUM: pytest.StashKey[Any] = pytest.StashKey()


class Opener(Protocol):
    def __call__(
        self, *cells: str | Path, kernel: str = NEWEST, theme: str = "light", at: str | None = None
    ) -> NotebookPage: ...


@pytest.fixture(scope="session")
def laboratory(absent: Callable[[str, str], NoReturn]) -> Iterator[Laboratory]:
    """One JupyterLab for all tests; its kernels are ended after each."""
    reason = Laboratory.missing()
    if reason is not None:
        absent(Laboratory.part, reason)
    with Laboratory() as running:
        yield running


@pytest.fixture
def chromium(request: pytest.FixtureRequest, laboratory: Laboratory) -> "Browser":
    """One Chromium for the tests of this folder.

    No longer than that: while it is driven, an event loop runs in this thread, and other tests need it free.
    """
    folder = request.node.getparent(pytest.Dir)
    if _CHROMIUM not in folder.stash:
        running = ExitStack()
        folder.addfinalizer(running.close)
        folder.stash[_CHROMIUM] = running.enter_context(running_chromium())
    browser: Browser = folder.stash[_CHROMIUM]
    return browser


_numbers = itertools.count()


@pytest.fixture
def notebook(chromium: "Browser", laboratory: Laboratory) -> Iterator[Opener]:
    """Opens notebooks: see the top of this file."""
    opened: list[NotebookPage] = []
    context = chromium.new_context(viewport={"width": 1280, "height": 900})

    def opener(*cells: str | Path, kernel: str = NEWEST, theme: str = "light", at: str | None = None) -> NotebookPage:
        what = cells[0] if isinstance(cells[0], Path) else [str(cell) for cell in cells]
        name = f"test{next(_numbers)}.ipynb"
        opened.append(NotebookPage.opened(context, laboratory, what, name=name, kernel=kernel, at=at))
        opened[-1].theme(theme)  # JupyterLab remembers the last one
        return opened[-1]

    try:
        yield opener
        print(*(page.story() for page in opened), sep="\n")  # seen only beside a failure
        context.close()
    finally:
        laboratory.end_kernels()
    for page in opened:
        page.check()


@pytest.fixture(params=list(KERNELS) if FULL else [NEWEST])
def each_kernel(request: pytest.FixtureRequest) -> str:
    """The name of a kernel."""
    return str(request.param)


@pytest.fixture(scope="session")
def _link(laboratory: Laboratory) -> Iterator[SlowLink]:
    with SlowLink(laboratory.port) as link:
        yield link


@pytest.fixture
def slow_link(_link: SlowLink) -> Iterator[SlowLink]:
    """A way to the laboratory that is as fast as any until `limit` is called."""
    yield _link
    _link.limit(None)
