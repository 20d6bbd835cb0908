"""A control that shows a trait whose possible values change."""

from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets
import traitlets as t

__all__ = ["follow", "offer"]


def follow(owner: t.HasTraits, name: str, control: ipywidgets.Widget, fit: Callable[[], None]) -> Callable[..., None]:
    """Have a control show a trait, and set it where somebody chooses.

    Args:
        owner: Whose trait it is.
        name: The trait's.
        control: Has a `value`.
        fit: Makes room in the control for what the trait is now, such as by other options.

    Returns:
        What shows the trait anew; to be called where `fit` would do something else although the trait is the same.
    """
    showing = False

    def show(_: Any = None) -> None:
        nonlocal showing
        showing = True
        try:
            with control.hold_sync():
                fit()
                control.value = getattr(owner, name)
        finally:
            showing = False

    def choose(change: Any) -> None:
        if showing:  # other options select the first one for a moment
            return
        try:
            setattr(owner, name, change["new"])
        finally:
            show()

    show()
    owner.observe(show, name)
    control.observe(choose, "value")
    return show


def offer(control: ipywidgets.Widget, options: Iterable[Any]) -> None:
    """Give a control other options, where they are others."""
    wanted = tuple(options)
    if tuple(control.options) != wanted:
        control.options = wanted
