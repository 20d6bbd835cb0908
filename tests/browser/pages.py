"""A notebook in a real JupyterLab, and the widgets in it, as tests use them."""

import ast
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page

    from .laboratory import Laboratory

__all__ = ["PATIENCE_S", "NotebookPage", "Widget", "write_notebook"]

PATIENCE_S = 60.0
"""How long anything may take here: much longer than it ever does, so that a slow machine is no failure."""

# Out of the notebook itself: cells out of sight are not on the page.
_ERRORS = """() => [...jupyterapp.shell.currentWidget.content.model.cells].flatMap(cell =>
  (cell.toJSON().outputs ?? []).filter(output => output.output_type === 'error')
    .map(output => [...output.traceback, `${output.ename}: ${output.evalue}`].join('\\n')))"""
_KERNEL = "jupyterapp.shell.currentWidget.context.sessionContext.session.kernel"
_IS_IDLE = """() => {
  const kernel = window.jupyterapp?.shell.currentWidget?.context?.sessionContext?.session?.kernel;
  return kernel?.status === 'idle' && kernel.connectionStatus === 'connected';
}"""
_EXECUTE = f"""async ([code, expressions]) => {{
  const kernel = {_KERNEL};
  const future = kernel.requestExecute({{code, user_expressions: expressions, store_history: false}});
  return (await future.done).content;
}}"""
# A promise that is never kept would be waited for without end.
_BOUNDED = """([argument, patience]) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer')), patience); });
  return Promise.race([(%s)(argument), late]).finally(() => clearTimeout(timer));
}"""
# Whatever a page speaks to is on this machine; `data:` and `blob:` never leave the page.
_AT_HOME = ("127.0.0.1", "")
_TERMINAL = re.compile(r"\x1b\[[0-9;]*m")


class NotebookPage:
    """A notebook that is open in the browser.

    `errors` holds what the page has complained about and `hosts` whom it has spoken to; `check` judges both.
    """

    def __init__(self, page: "Page", laboratory: "Laboratory", name: str) -> None:
        self.page = page
        self.name = name
        self.laboratory = laboratory
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self._tolerated: list[str] = []
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).hostname or ""))

    @classmethod
    def opened(
        cls,
        context: "BrowserContext",
        laboratory: "Laboratory",
        cells: Sequence[str] | Path,
        *,
        name: str,
        kernel: str,
        at: str | None = None,
    ) -> Self:
        """Write a notebook of these cells (or take a file) into the laboratory and open it. Nothing is run yet.

        Args:
            context: the browser's.
            laboratory: what serves it.
            cells: their code, or a notebook's path.
            name: what to call it.
            kernel: one of `laboratory.KERNELS`.
            at: another address of the laboratory, such as that of a slow link to it.
        """
        laboratory.add_kernel(kernel)
        write_notebook(laboratory.notebooks / name, cells, kernel)
        opened = cls(context.new_page(), laboratory, name)
        opened.page.goto(f"{at or laboratory.url}/lab/tree/{name}?reset")
        opened.wait_idle()
        return opened

    # The kernel

    def wait_idle(self) -> None:
        """Wait until the notebook is there and its kernel has nothing to do."""
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", state="attached")
        self.page.wait_for_function(_IS_IDLE)
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def run(self) -> None:
        """Run all cells and wait for their end.

        Raises:
            AssertionError: a cell failed.
        """
        self.command("notebook:run-all-cells")
        self.wait_idle()
        assert not self.failures(), self.failures()

    def run_cell(self, index: int, *, wait: bool = True) -> None:
        """Run one cell, and wait for its end."""
        self.evaluate("index => { jupyterapp.shell.currentWidget.content.activeCellIndex = index; }", index)
        self.command("notebook:run-cell", wait=wait)
        if wait:
            self.wait_idle()
            assert not self.failures(), self.failures()

    def run_cell_again(self, index: int, times: int) -> None:
        """Run one cell many times, each time when the former run has ended, as somebody in a hurry does."""
        script = """async ([index, times]) => {
          jupyterapp.shell.currentWidget.content.activeCellIndex = index;
          for (let time = 0; time < times; time++) await jupyterapp.commands.execute('notebook:run-cell');
        }"""
        self.evaluate(script, [index, times])
        self.wait_idle()
        assert not self.failures(), self.failures()

    def execute(self, code: str) -> None:
        """Have the kernel run code that is in no cell.

        Raises:
            AssertionError: it failed.
        """
        self._executed(code, {})

    def ask(self, expression: str) -> Any:
        """What an expression is in the kernel, as JSON has it."""
        asked = {"answer": f"__import__('json').dumps({expression})"}
        answer = self._executed("", asked)["user_expressions"]["answer"]
        assert answer["status"] == "ok", f"{answer['ename']}: {answer['evalue']}"
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def restart_kernel(self) -> None:
        """Restart the kernel, as the menu does after its question."""
        self.evaluate("() => jupyterapp.shell.currentWidget.context.sessionContext.restartKernel()")
        self.wait_idle()

    def failures(self) -> list[str]:
        """What the cells that failed say."""
        return [_TERMINAL.sub("", text) for text in self.evaluate(_ERRORS)]

    # The page

    def reload(self) -> None:
        """Save and reload the page, as F5 does; the kernel runs on."""
        self.save()
        self.page.reload()
        self.wait_idle()

    def save(self) -> None:
        """Save the notebook with the outputs that it has now."""
        self.command("docmanager:save")

    def theme(self, name: str) -> None:
        """Switch to `light` or `dark`."""
        shown = f"body[data-jp-theme-light='{'true' if name == 'light' else 'false'}']"
        if self.page.locator(shown).count():
            return
        self.command("apputils:change-theme", {"theme": f"JupyterLab {name.title()}"})
        self.page.wait_for_selector(shown, state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def command(self, name: str, arguments: Mapping[str, Any] | None = None, *, wait: bool = True) -> None:
        """Carry out a command of JupyterLab, and wait until it says that it is done."""
        done = "await done;" if wait else ""
        script = f"async ([name, args]) => {{ const done = jupyterapp.commands.execute(name, args); {done} }}"
        self.evaluate(script, [name, dict(arguments or {})])

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """What a JavaScript function gives back, or promises.

        Raises:
            playwright.sync_api.Error: it threw, or what it promised did not come.
        """
        return self.page.evaluate(_BOUNDED % script, [argument, PATIENCE_S * 1000])

    def until(self, script: str, argument: Any = None) -> None:
        """Wait until a JavaScript function gives something true."""
        self.page.wait_for_function(script, arg=argument)

    def wait(self, true: Callable[[], object], what: str) -> None:
        """Wait until something is true that is asked for from here.

        Raises:
            AssertionError: it never was; says `what`.
        """
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end, f"{what} did not happen"
            self.page.wait_for_timeout(50)

    def hide(self, hidden: bool = True) -> None:
        """Have the page believe that its tab is in the background; a headless one never is."""
        script = """hidden => {
          Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
          Object.defineProperty(document, 'visibilityState',
            {configurable: true, get: () => hidden ? 'hidden' : 'visible'});
          document.dispatchEvent(new Event('visibilitychange'));
        }"""
        self.evaluate(script, hidden)

    def counts(self) -> dict[str, float]:
        """After collecting garbage: `Nodes`, `JSEventListeners`, `JSHeapUsedSize` and more, as Chromium counts them."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("HeapProfiler.collectGarbage")
        session.send("Performance.enable")
        counted = session.send("Performance.getMetrics")["metrics"]
        session.detach()
        return {metric["name"]: metric["value"] for metric in counted}

    # The widgets

    def widget(self, kind: str | None = None, nth: int = 0) -> "Widget":
        """The n-th widget on the page, or the n-th of a kind such as `book_ladder`; waits until it is there."""
        chosen = f"[data-widget='{kind}']" if kind else ""
        found = self.page.locator(f".ml-widget{chosen}").nth(nth)
        found.wait_for(state="attached")
        return Widget(self, found)

    # The end

    def tolerate(self, words: str) -> None:
        """Let the page complain in these words, as it must where a test takes its server away."""
        self._tolerated.append(words)

    def story(self) -> str:
        """What page, cells, widgets and laboratory say, for whoever wonders at a failure."""
        shown = "() => [...document.querySelectorAll('.ml-widget')].map(el => [{...el.dataset}, el.mlView?.painted])"
        told = {
            "errors on the page": list(dict.fromkeys(self.errors))[:5],
            "errors in cells": self.failures(),
            "widgets": self.evaluate(shown),
            "kernel": self.evaluate(f"() => {_KERNEL}?.status"),
        }
        return "\n".join([f"{what}: {words}" for what, words in told.items()] + [self.laboratory.log()])

    def check(self) -> None:
        """Judge what page and browser have done.

        Raises:
            AssertionError: the console holds an error, or something was asked of another machine.
        """
        errors = [error for error in self.errors if not any(words in error for words in self._tolerated)]
        assert not errors, "\n".join(list(dict.fromkeys(errors))[:5])
        strangers = self.hosts - set(_AT_HOME)
        assert not strangers, f"the page asked {', '.join(sorted(strangers))}"

    def _executed(self, code: str, expressions: Mapping[str, str]) -> Any:
        reply = self.evaluate(_EXECUTE, [code, dict(expressions)])
        trace = "\n".join(reply.get("traceback", ()))
        assert reply["status"] == "ok", _TERMINAL.sub("", trace)
        return reply

    def _heard(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")


class Widget:
    """One view of a widget on the page."""

    def __init__(self, notebook: NotebookPage, element: "Locator") -> None:
        self.notebook = notebook
        self.element = element

    @property
    def state(self) -> str:
        """The word of its state dot: `live`, `simulated`, `stale` and so on."""
        return self.element.get_attribute("data-state") or ""

    @property
    def view(self) -> dict[str, Any]:
        """What it says of itself: `last` (newest frame painted), `painted` (how many), `ageMs`, `drawn` (by widget).

        Typed arrays come as lists, and what is not a number as None.
        """
        told = self.element.evaluate(
            """el => JSON.stringify(el.mlView ?? {}, (_, value) => ArrayBuffer.isView(value) ? [...value] : value)"""
        )
        return dict(json.loads(told))

    @property
    def last(self) -> dict[str, Any]:
        """The newest frame that was painted, decoded; empty before the first one."""
        return self.view.get("last") or {}

    @property
    def drawn(self) -> dict[str, Any]:
        """What it has drawn, in the words of the widget."""
        return self.view.get("drawn") or {}

    @property
    def painted(self) -> int:
        """How many frames this view has painted."""
        return int(self.view.get("painted") or 0)

    def wait_state(self, *states: str) -> None:
        """Wait until its state is one of these."""
        self.until("(el, states) => states.includes(el.dataset.state)", list(states))

    def wait_painted(self, more: int = 1) -> None:
        """Wait until so many more frames were painted than now."""
        self.until("(el, count) => (el.mlView?.painted ?? 0) >= count", self.painted + more)

    def until(self, script: str, argument: Any = None) -> None:
        """Wait until a JavaScript function of its element, and an argument, gives something true."""
        handle = self.element.element_handle()
        self.notebook.page.wait_for_function(f"([el, argument]) => ({script})(el, argument)", arg=[handle, argument])

    def colours(self) -> int:
        """How many different colours its canvases (else its picture) show: 1 or 0 is an empty one."""
        return int(self.element.evaluate(_COLOURS))

    def picture(self, path: Path) -> None:
        """Save what it looks like as a PNG."""
        self.element.screenshot(path=path)


_COLOURS = """el => {
  const seen = new Set();
  for (const canvas of el.querySelectorAll('canvas')) {
    if (!canvas.width || !canvas.height) continue;
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (const pixel of new Uint32Array(data.buffer)) seen.add(pixel);
  }
  return seen.size;
}"""


def write_notebook(path: Path, cells: Sequence[str] | Path, kernel: str = "python3") -> None:
    """Write a notebook of these cells, or that of another file, for a kernel."""
    if isinstance(cells, Path):
        notebook = json.loads(cells.read_text(encoding="utf-8"))
    else:
        fresh: dict[str, Any] = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": []}
        written = [{**fresh, "id": f"cell-{number}", "source": code} for number, code in enumerate(cells)]
        notebook = {"cells": written, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    notebook["metadata"]["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
    path.write_text(json.dumps(notebook), encoding="utf-8")
