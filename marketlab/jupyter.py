"""An extension of the Jupyter server: a widget's frames leave for the browser at once.

Frames are small, and a connection that also hears from the browser holds a small one back until the browser has
confirmed the frame before it, so that frames arrive in pairs. Jupyter leaves that as it is; widgets work without this
extension too, at about half the frames per second.
"""

from collections.abc import Awaitable
from contextlib import suppress
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__: list[str] = []

_HANDLER = ("jupyter_server.services.kernels.websocket", "KernelWebsocketHandler")


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: "ServerApp") -> None:
    module, name = _HANDLER
    try:
        handler = getattr(import_module(module), name)
        _send_at_once(handler)
    except (ImportError, AttributeError) as error:
        server.log.info("marketlab: frames of widgets may be held back, this Jupyter server is another (%s)", error)


def _send_at_once(handler: Any) -> None:
    """From now on, kernels' WebSockets send what they have without waiting for the browser's confirmation."""
    opened = handler.open
    if getattr(opened, "_sends_at_once", False):
        return

    @wraps(opened)
    def open(self: Any, *args: Any, **kwargs: Any) -> Awaitable[None] | None:
        # Whatever is wrong with the connection, its own handler finds out.
        with suppress(AssertionError, AttributeError, OSError):
            self.set_nodelay(True)
        result: Awaitable[None] | None = opened(self, *args, **kwargs)
        return result

    open.__dict__["_sends_at_once"] = True
    handler.open = open
