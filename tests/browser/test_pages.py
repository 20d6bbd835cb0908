"""That the pages which other tests trust notice what must not be."""

import pytest

from .conftest import Opener
from .laboratory import KERNELS, Laboratory

pytestmark = pytest.mark.browser


def test_a_page_knows_its_kernel_and_its_failures(notebook: Opener, each_kernel: str) -> None:
    page = notebook("import ipykernel\n1 / 0", kernel=each_kernel)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        page.run()
    wanted = KERNELS[each_kernel][0].partition("==")[2] if KERNELS[each_kernel] else page.ask("ipykernel.__version__")
    assert page.ask("ipykernel.__version__") == wanted
    with pytest.raises(AssertionError, match="NameError"):
        page.execute("unknown")
    with pytest.raises(AssertionError, match="NameError"):
        page.ask("unknown")


def test_a_page_that_complains_or_asks_strangers_is_noticed(laboratory: Laboratory, notebook: Opener) -> None:
    page = notebook("1")
    page.check()
    page.evaluate("() => fetch('http://stranger.example/').catch(() => null)")
    with pytest.raises(AssertionError, match="stranger"):
        page.check()
    page.tolerate("ERR_NAME_NOT_RESOLVED")
    with pytest.raises(AssertionError, match="the page asked stranger"):
        page.check()
    page.hosts.discard("stranger.example")
    page.evaluate("() => console.error('broken')")
    with pytest.raises(AssertionError, match="broken"):
        page.check()
    page.tolerate("broken")
