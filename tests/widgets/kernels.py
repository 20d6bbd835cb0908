"""A real IPython kernel, and a page without a browser: it runs cells, hears widgets and speaks to them."""

import contextlib
import json
import os
import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

__all__ = ["Kernel", "running_kernel"]

LIMIT_S = 60.0
POKE_S = 5.0

Message = dict[str, Any]


class Kernel:
    """What a front end does. Messages come in the order of the kernel; `messages` are all those heard so far."""

    def __init__(self, manager: KernelManager) -> None:
        self._manager = manager
        self._client: Any = manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=LIMIT_S)
        self.messages: list[Message] = []

    def run(self, code: str, *, cell: str = "", allow_stdin: bool = True) -> list[Message]:
        """Run a cell; returns what came of it. A cell that fails is an AssertionError."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "stop_on_error": True}
        metadata = {"cellId": cell} if cell else {}
        asked = self._send("execute_request", {**content, "allow_stdin": allow_stdin}, metadata)
        start = len(self.messages)
        self.wait(lambda message: message["msg_type"] == "status" and idle_of(message, asked))
        while self._client.get_shell_msg(timeout=LIMIT_S)["parent_header"].get("msg_id") != asked:
            pass
        mine = [one for one in self.messages[start:] if one["parent_header"].get("msg_id") == asked]
        errors = [one["content"]["traceback"] for one in mine if one["msg_type"] == "error"]
        assert not errors, "\n".join(errors[0])
        return mine

    def start(self, code: str) -> str:
        """Run a cell without waiting; returns the id of the request."""
        return self._send("execute_request", {"code": code, "silent": False, "store_history": True})

    def value(self, expression: str) -> Any:
        """The value of an expression."""
        out = self.run(f"import json; print(json.dumps({expression}))")
        return json.loads("".join(one["content"]["text"] for one in out if one["msg_type"] == "stream"))

    def say(self, comm: str, **content: Any) -> None:
        """Send a widget what its JavaScript would."""
        self._send("comm_msg", {"comm_id": comm, "data": {"method": "custom", "content": content}})

    def wait(self, wanted: Any) -> Message:
        """Listen until a message comes that is wanted."""
        start = poked = time.monotonic()
        while (now := time.monotonic()) < start + LIMIT_S:
            if now > poked + POKE_S:
                # ipykernel 7 may overlook a request that comes while it answers another, until the next (its issue 1554).
                poked = now
                self._send("kernel_info_request", {})
            with contextlib.suppress(queue.Empty):
                message: Message = self._client.get_iopub_msg(timeout=1)
                self.messages.append(message)
                if wanted(message):
                    return message
        raise AssertionError(f"It did not come; the last were {[one['msg_type'] for one in self.messages[-10:]]}")

    def frames(self, comm: str, after: int = 0) -> list[Message]:
        """The frames of a widget among the messages heard from the one at `after` on."""
        return [one for one in self.messages[after:] if is_frame(one, comm)]

    def wait_frames(self, comm: str, count: int) -> list[Message]:
        """Listen for so many more frames of a widget."""
        after = len(self.messages)
        for _ in range(count):
            self.wait(lambda message: is_frame(message, comm))
        return self.frames(comm, after)

    def _send(self, kind: str, content: Message, metadata: Message | None = None) -> str:
        message = self._client.session.msg(kind, content, metadata=metadata)
        self._client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def stop(self) -> None:
        """End it, and hear what it says till then."""
        self._manager.shutdown_kernel(now=False)
        with contextlib.suppress(queue.Empty):
            while True:
                self.messages.append(self._client.get_iopub_msg(timeout=0.5))
        self._client.stop_channels()


def idle_of(message: Message, asked: str) -> bool:
    return bool(message["content"]["execution_state"] == "idle" and message["parent_header"].get("msg_id") == asked)


def is_frame(message: Message, comm: str) -> bool:
    return bool(
        message["msg_type"] == "comm_msg"
        and message["content"]["comm_id"] == comm
        and message["content"]["data"].get("method") == "custom"
    )


@contextlib.contextmanager
def running_kernel(folder: Path, path: Path | None = None) -> Iterator[Kernel]:
    """A kernel of its own; `path` is the folder of another ipykernel than the one that is installed."""
    paths = [str(path)] if path else []
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    environment = {**os.environ, "IPYTHONDIR": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
    manager = KernelManager()
    assert manager.kernel_spec is not None
    manager.kernel_spec.argv = [sys.executable, "-Wdefault", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    log = (folder / "log").open("wb")
    manager.start_kernel(env=environment, stdout=log, stderr=log)
    kernel = Kernel(manager)
    try:
        yield kernel
    finally:
        kernel.stop()
        log.close()
