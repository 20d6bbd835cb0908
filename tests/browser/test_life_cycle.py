"""What becomes of a widget when pages, kernels, cells and feeds come and go."""

import json

import pytest

from .cells import PUMP, WIDGETS, simulated
from .conftest import Opener
from .pages import NotebookPage, Widget

pytestmark = pytest.mark.browser

SHOWN = "time_and_sales"
MADE = f"shown = {WIDGETS[SHOWN].format('')}\nshown"


def is_alive(widget: Widget) -> None:
    widget.wait_state("simulated")
    widget.wait_painted(3)
    assert widget.colours() > 4


def only_one_is_left(page: NotebookPage) -> None:
    page.wait(lambda: page.ask(f"{PUMP}.running_pumps()") == 1, "one pump")
    page.wait(lambda: page.ask(f"len({PUMP}.pump_of(feed).seats)") == 1, "one widget")


def test_it_lives_on_after_a_reload_and_after_a_restart(notebook: Opener, each_kernel: str) -> None:
    page = notebook(simulated(), MADE, kernel=each_kernel)
    page.run()
    is_alive(page.widget(SHOWN))

    page.reload()
    is_alive(page.widget(SHOWN))
    only_one_is_left(page)

    before = page.widget(SHOWN)
    page.restart_kernel()
    before.wait_state("stale")
    assert before.colours() > 4, "the last picture stays"

    page.run()
    is_alive(page.widget(SHOWN))
    assert page.page.locator(".ml-widget").count() == 1
    only_one_is_left(page)


def test_two_views_show_the_newest_until_close_ends_them(notebook: Opener) -> None:
    page = notebook(simulated(), MADE, "shown")
    page.run()
    for nth in range(2):
        is_alive(page.widget(SHOWN, nth))
    only_one_is_left(page)
    sequences = "() => [...document.querySelectorAll('.ml-widget')].map(el => el.mlView.last.sequence)"
    first, second = page.evaluate(sequences)
    assert first == second

    page.execute("shown.close()")
    page.wait(lambda: page.page.locator(".ml-widget").count() == 0, "the end of both views")
    assert page.ask(f"{PUMP}.running_pumps()") == 0
    sent = page.ask("shown.frames_sent")
    page.execute("feed.wait(idle=0.0001, records=1); import time; time.sleep(0.2)")
    assert page.ask("shown.frames_sent") == sent


def test_a_cell_that_runs_a_hundred_times_leaves_one(notebook: Opener) -> None:
    page = notebook(simulated(), MADE)
    # What ipywidgets says, of its own sliders too, where a widget is closed while its view is still being made.
    page.tolerate("reading 'processLuminoMessage'")
    page.run()

    def run_again(times: int) -> dict[str, float]:
        for _ in range(times // 10):
            page.run_cell_again(1, 10)
        is_alive(page.widget(SHOWN))
        only_one_is_left(page)
        return page.counts()

    warm = run_again(40)
    after = run_again(60)
    assert after["Nodes"] < warm["Nodes"] * 1.1 + 300
    assert after["JSEventListeners"] < warm["JSEventListeners"] * 1.1 + 30


def test_nobody_looks(notebook: Opener) -> None:
    page = notebook(simulated(), MADE, "\n" * 120)
    page.run()
    shown = page.widget(SHOWN)

    def is_resting() -> None:
        watched = f"{PUMP}.pump_of(feed).seats[0].flow.watched"
        page.wait(lambda: not page.ask(watched), "the kernel knows that nobody looks")
        asked = "(__import__('time').monotonic(), shown.frames_sent)"
        begun, sent = page.ask(asked)
        page.wait(lambda: page.ask("shown.frames_sent") > sent + 1, "heartbeats")
        end, sent_then = page.ask(asked)
        assert sent_then - sent <= (end - begun) + 1

    is_alive(shown)
    page.hide()
    is_resting()
    page.hide(False)
    is_alive(shown)

    page.evaluate("() => [...document.querySelectorAll('.jp-Cell')].at(-1).scrollIntoView({block: 'end'})")
    is_resting()
    page.page.locator(".ml-widget").scroll_into_view_if_needed()
    is_alive(shown)


def test_a_feed_that_reconnects_and_stops(notebook: Opener) -> None:
    page = notebook(simulated(), MADE)
    page.run()
    shown = page.widget(SHOWN)
    is_alive(shown)
    page.execute("port = int(exchange.ws_url.rpartition(':')[2]); exchange.stop()")
    shown.wait_state("stale")
    page.execute("exchange = ml.local_exchange(simulate=True, speed=4.0, port=port)")
    is_alive(shown)

    page.execute("feed.stop()")
    shown.wait_state("stopped")
    assert shown.colours() > 4
    page.save()
    stored = json.loads((page.laboratory.notebooks / page.name).read_text())
    (output,) = stored["cells"][1]["outputs"]
    assert "".join(output["data"]["image/svg+xml"]).startswith("<svg")


def test_a_cell_that_is_busy_does_not_stop_the_pictures(notebook: Opener, each_kernel: str) -> None:
    busy = "from pathlib import Path\nwhile not Path('{0}').exists():\n    {1}"
    work = {"slept": "__import__('time').sleep(0.3)", "counted": "sum(range(100_000))"}
    page = notebook(simulated(), MADE, *(busy.format(*each) for each in work.items()), kernel=each_kernel)
    page.run_cell(0)
    page.run_cell(1)
    shown = page.widget(SHOWN)
    is_alive(shown)
    for index, enough in enumerate(work, 2):
        page.run_cell(index, wait=False)
        page.until("() => jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.status === 'busy'")
        shown.wait_painted(10)
        (page.laboratory.notebooks / enough).touch()
        page.wait_idle()
        (page.laboratory.notebooks / enough).unlink()


def test_ten_widgets_of_all_kinds_paint(notebook: Opener) -> None:
    kinds = [kind for kind in WIDGETS for _ in range(3)][:10]
    made = ", ".join(WIDGETS[kind].format(", height=150") for kind in kinds)
    page = notebook(
        simulated(),
        "import ipywidgets\n"
        f"ipywidgets.GridBox([{made}], layout=ipywidgets.Layout(grid_template_columns='repeat(2, 50%)'))",
    )
    page.run()
    page.widget(nth=9)
    for nth in range(10):
        is_alive(page.widget(nth=nth))
    assert page.ask(f"{PUMP}.running_pumps()") == 1
