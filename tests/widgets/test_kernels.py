"""Widgets in real IPython kernels: frames come from the feed's thread, cells are run again, feeds and kernels end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("anywidget")
pytest.importorskip("ipykernel")

from marketlab.widgets.contract import Kind, State, unpack

from ..browser.laboratory import FULL, KERNELS, NEWEST, installed
from .kernels import Kernel, Message, running_kernel

START = """
import gc, json, threading, time
import marketlab as ml
from ipywidgets.widgets.widget import _instances
from marketlab.widgets import BookLadder
from marketlab.widgets.pump import running_pumps
exchange = ml.local_exchange(simulate=True, speed=20.0)
feed = ml.live("BTCUSDT", ["trade", "quote", "book"], exchange)
feed.wait(trades=2, update_id=1)
"""
LOOK = """
from marketlab.widgets import cells
before = cells._runs.idle_s
def look():
    while not cells._runs.idle_s:
        time.sleep(0.01)
    print(f"idle for {cells._runs.idle_s}", flush=True)
threading.Thread(target=look, daemon=True).start()
time.sleep(0.1)
"""
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module", params=list(KERNELS) if FULL else [NEWEST])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    name = str(request.param)
    folder = tmp_path_factory.mktemp("kernel")
    with running_kernel(folder, installed(name) if KERNELS[name] else None) as kernel:
        kernel.run(START, cell="start")
        yield kernel
    log = (folder / "log").read_text()
    assert "Traceback" not in log
    assert "Error" not in log


@pytest.fixture
def kernel(shared: Kernel) -> Iterator[Kernel]:
    """The kernel with a feed that runs; afterwards no widget is left."""
    yield shared
    shared.run("if not feed.running:\n    feed = ml.live('BTCUSDT', ['trade', 'quote', 'book'], exchange)")
    shared.run("for one in [one for one in _instances.values() if isinstance(one, BookLadder)]:\n    one.close()")
    shared.run("feed.ask(lambda: None)")
    assert shared.value("running_pumps()") == 0


def shown(kernel: Kernel, code: str = "ladder = BookLadder(feed, 'BTCUSDT')\nladder", cell: str = "ladder") -> Message:
    """What a cell shows."""
    (message,) = [one for one in kernel.run(code, cell=cell) if one["msg_type"] == "display_data"]
    return message


def model_of(message: Message) -> str:
    return str(message["content"]["data"][WIDGET_VIEW]["model_id"])


def words(frame: Message) -> dict[str, float]:
    return unpack(bytes(frame["buffers"][0]))[1]


def test_it_shows_itself_with_a_picture_beside_the_view(kernel: Kernel) -> None:
    message = shown(kernel)
    data = message["content"]["data"]
    assert data["text/plain"] == "<BookLadder BTCUSDT on binance>"
    assert data["image/svg+xml"] == data["text/html"]
    assert data["text/html"].startswith("<svg ")
    assert message["content"]["transient"]["display_id"]
    assert kernel.wait_frames(model_of(message), 3)


def test_what_was_closed_shows_its_picture_and_no_view(kernel: Kernel) -> None:
    message = shown(kernel, "ladder = BookLadder(feed, 'BTCUSDT')\nladder.close()\nladder", cell="closed")
    data = message["content"]["data"]
    assert WIDGET_VIEW not in data
    assert data["image/svg+xml"].startswith("<svg ")


def test_frames_come_while_a_cell_computes_and_none_is_lost(kernel: Kernel) -> None:
    model = model_of(shown(kernel))
    kernel.say(model, type="open", page="p")
    kernel.wait_frames(model, 3)
    start = len(kernel.messages)
    kernel.run(
        "for number in range(2000):\n    print(number, flush=not number % 50)\n    time.sleep(0.002 * (not number % 10))"
        "\nwhile ladder.frames_sent < 60:\n    sum(range(1000))"
    )
    frames = kernel.frames(model, start)
    assert len(frames) > 10
    numbers = [int(words(frame)["sequence"]) for frame in kernel.frames(model)]
    assert numbers == list(range(1, len(numbers) + 1))
    text = [one["content"]["text"] for one in kernel.messages[start:] if one["msg_type"] == "stream"]
    assert "".join(text).split() == [str(number) for number in range(2000)]
    # Each belongs to what the kernel was asked last, not to the cell in which the feed was made.
    assert frames[-1]["parent_header"]["msg_id"] == kernel.messages[-1]["parent_header"]["msg_id"]


def test_reports_are_heard_and_a_broken_one_breaks_nothing(kernel: Kernel) -> None:
    model = model_of(shown(kernel))
    kernel.say(model, type="open", page="p")
    first = kernel.wait_frames(model, 3)[-1]
    start = len(kernel.messages)
    for _ in range(8):
        kernel.say(model, type="report", page="p", ack=int(words(first)["sequence"]), painted=3, visible=True)
        kernel.say(model, type="report", page="p", ack="none")
        first = kernel.wait_frames(model, 5)[-1]
    assert kernel.value("ladder._seat.flow.painted") == 24
    assert [one for one in kernel.messages[start:] if one["msg_type"] == "error"] == []


def test_a_cell_that_is_run_again_replaces_what_it_has_made(kernel: Kernel) -> None:
    # Shown by `display`, since IPython keeps what a cell's last line gives.
    two = "one = BookLadder(feed, 'BTCUSDT')\nother = BookLadder(feed, 'BTCUSDT', depth=5)\ndisplay(one)"
    there = "(gc.collect(), sum(isinstance(one, BookLadder) for one in gc.get_objects()))[1]"
    shown(kernel, "kept = BookLadder(feed, 'BTCUSDT')\ndisplay(kept)", cell="another")
    shown(kernel, two, cell="two")
    models, ladders = kernel.value("len(_instances)"), kernel.value(there)
    for _ in range(10):
        last = shown(kernel, two, cell="two")
    assert kernel.value("len(_instances)") == models
    assert kernel.value("[one.comm is not None for one in (one, other, kept)]") == [True] * 3
    assert kernel.value("len(one._pump.seats)") == 3
    assert kernel.value("running_pumps()") == 1
    assert kernel.wait_frames(model_of(last), 3)
    assert kernel.value(there) == ladders


def test_where_cells_have_no_names_their_text_tells_them_apart(kernel: Kernel) -> None:
    for _ in range(3):
        for code in ("one = BookLadder(feed, 'BTCUSDT')\none", "other = BookLadder(feed, 'BTCUSDT')\nother"):
            kernel.run(code)
    assert kernel.value("[one.comm is not None for one in (one, other)]") == [True, True]
    assert kernel.value("len(one._pump.seats)") == 2


@pytest.mark.parametrize(
    "stop",
    [
        "feed.stop()",
        "stopping = threading.Thread(target=feed.stop)\nstopping.start()\nstopping.join()",
        "feed.loop.call_soon_threadsafe(feed.stop)\nwhile feed.running:\n    time.sleep(0.01)\ntime.sleep(0.5)",
    ],
    ids=["here", "in a thread", "in its own thread"],
)
def test_after_the_end_of_a_feed_its_last_picture_stays(kernel: Kernel, stop: str) -> None:
    message = shown(kernel)
    kernel.say(model_of(message), type="open", page="p")
    kernel.wait_frames(model_of(message), 3)
    out = kernel.run(stop)
    (update,) = [one for one in out if one["msg_type"] == "update_display_data"]
    assert update["content"]["transient"] == message["content"]["transient"]
    assert update["content"]["data"]["text/html"] == kernel.value("ladder.picture().svg")
    assert "stopped" in update["content"]["data"]["text/html"]
    last = kernel.frames(model_of(message))[-1]
    assert words(last)["state"] == State.STOPPED
    assert unpack(bytes(last["buffers"][0]))[0].kind is Kind.BOOK
    # A page that is loaded anew gets it again.
    kernel.say(model_of(message), type="open", page="reloaded")
    (again,) = kernel.wait_frames(model_of(message), 1)
    assert words(again)["state"] == State.STOPPED


def test_a_closed_widget_sends_nothing_more(kernel: Kernel) -> None:
    model = model_of(shown(kernel))
    kernel.say(model, type="open", page="p")
    kernel.wait_frames(model, 5)
    kernel.run("ladder.close()\nladder.close()\nfeed.wait(trades=feed.status().records // 2)\ntime.sleep(0.3)")
    about = [one["msg_type"] for one in kernel.messages if one["content"].get("comm_id") == model]
    assert about.count("comm_close") == 1
    assert about[-1] == "comm_close"


def test_it_is_known_whether_a_cell_runs(kernel: Kernel) -> None:
    shown(kernel)
    start = len(kernel.messages)
    kernel.run(LOOK)

    def told(message: Message) -> bool:
        return message["msg_type"] == "stream" and "idle for" in message["content"]["text"]

    # No other cell is run meanwhile: that would be seen.
    message = next(filter(told, kernel.messages[start:]), None) or kernel.wait(told)
    assert float(message["content"]["text"].split("idle for")[1]) > 0
    assert kernel.value("before") == 0


def test_a_kernel_that_ends_with_live_widgets_says_nothing(tmp_path: Path) -> None:
    with running_kernel(tmp_path) as kernel:
        kernel.run(START)
        message = shown(kernel)
        kernel.say(model_of(message), type="open", page="p")
        kernel.wait_frames(model_of(message), 3)
        start = len(kernel.messages)
    heard = kernel.messages[start:]
    assert "shutdown_reply" in [one["msg_type"] for one in heard], "it was heard to the end"
    assert [one for one in heard if one["msg_type"] == "error"] == []
    # ipykernel warns of itself.
    said = [one["content"]["text"] for one in heard if one["msg_type"] == "stream"]
    assert [text for text in said if "do_shutdown" not in text] == []
    told: list[Any] = [line for line in (tmp_path / "log").read_text().splitlines() if "encryption" not in line]
    assert [line for line in told if line] == []


def test_a_notebook_that_was_run_by_a_program_holds_the_last_picture() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cells = [START, "ladder = BookLadder(feed, 'BTCUSDT')\nladder", "feed.wait(trades=50)\nfeed.stop()", "'end'"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[1].outputs
    assert "stopped" in output.data["text/html"]
    assert WIDGET_VIEW not in output.data
    assert [output.output_type for output in notebook.cells[2].outputs] == []
