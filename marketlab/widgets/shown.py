"""What of a widget stands in a cell's output: the view while somebody looks, and the last picture, which stays."""

import atexit
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Picture", "Shown", "request", "sending"]

_numbers = itertools.count(1)


class _Sending:
    """Holds everything that is sent to pages until the program ends: the kernel closes its sockets under its threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._over = False
        atexit.register(self._end)

    def __enter__(self) -> bool:
        """Whether there is a kernel to send with."""
        self._lock.acquire()
        return not self._over

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _end(self) -> None:
        with self:
            self._over = True


sending = _Sending()
"""`with sending as possible:` around whatever goes to a page."""


class Picture(msgspec.Struct, frozen=True):
    """What a widget showed at one moment; a notebook draws it."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Picture, {len(self.svg):,} characters of SVG>"

    def save(self, path: Path | str) -> None:
        """Write the SVG into a file."""
        Path(path).write_text(self.svg, encoding="utf-8")


class Shown:
    """A part of an ipywidgets widget: it shows itself with a picture beside the view, and knows where it was shown."""

    model_id: Any

    _closed = True  # what could not be made has nothing to close
    _alive = False
    _outputs: tuple[str, ...] = ()

    def picture(self) -> Picture:
        """What it shows now, as a picture that stays."""
        raise NotImplementedError

    def shown(self) -> None:
        """It was put into a cell's output, perhaps inside of another widget."""

    def _ipython_display_(self, **_: Any) -> None:
        if self._closed:
            self._publish(None)
            return
        name = f"marketlab-{next(_numbers)}-{self.model_id}"
        self._alive = self._alive or _is_watched()
        self._outputs = (*self._outputs, name)
        self.shown()
        self._publish(name)

    def _refresh(self) -> None:
        """What is stored with the notebook becomes the picture as it is now."""
        if not self._closed:
            for name in self._outputs:
                self._publish(name, update=True)

    def _publish(self, name: str | None, *, update: bool = False) -> None:
        shell = _shell()
        if shell is None:
            return
        bundle = self._bundle()
        with sending as possible:
            if possible:
                shell.display_pub.publish(bundle, transient={"display_id": name} if name else {}, update=update)

    def _bundle(self) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        # A stored notebook whose kernel is gone has to show something; while somebody looks, the view does.
        svg = self.picture().svg
        bundle["text/html"] = bundle["image/svg+xml"] = svg
        if self._alive and not self._closed:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            bundle["application/vnd.jupyter.widget-view+json"] = view
        return bundle


def request() -> dict[str, Any]:
    """The message by which what runs now was asked for; empty outside of a kernel."""
    parent: Callable[[], dict[str, Any]] | None = getattr(_shell(), "get_parent", None)
    return parent() if parent is not None else {}


def _is_watched() -> bool:
    """Whether anybody is there to see a view: whoever only runs a notebook, such as nbconvert, answers no questions."""
    return bool(request().get("content", {}).get("allow_stdin", True))


def _shell() -> Any:
    from IPython.core.getipython import get_ipython

    return get_ipython()
