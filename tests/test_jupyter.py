"""The server extension, in a real Jupyter server that tells which of its connections send at once."""

import json
import logging
import sys
import uuid
from collections.abc import Iterator, Mapping
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("jupyter_server")

from jupyter_server.serverapp import ServerApp
from websockets.sync.client import ClientConnection, connect

import marketlab.jupyter

from .servers import Server
from .test_imports import SLOW, loaded_after

# Another extension, in the same process: it knows its sockets by the port of their other end.
WITNESS = """
import json, os, socket
from pathlib import Path
from jupyter_server.base.handlers import JupyterHandler

class Witness(JupyterHandler):
    def get(self):
        told = {}
        for name in os.listdir("/dev/fd"):
            try:
                with socket.socket(fileno=os.dup(int(name))) as found:
                    told[found.getpeername()[1]] = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            except (OSError, IndexError):
                pass
        self.finish(json.dumps(told))

def _jupyter_server_extension_points():
    return [{"module": "witness"}]

def _load_jupyter_server_extension(server):
    server.web_app.add_handlers(".*", [("/witness", Witness)])
"""


class JupyterServer(Server):
    """Jupyter's server, with the extensions that are switched on by what is installed, and the witness."""

    part = "jupyter"
    program = sys.executable

    def _command(self) -> list[str]:
        (self.folder / "witness.py").write_text(WITNESS, encoding="utf-8")
        (self.folder / "root").mkdir()
        switched_on = {"ServerApp": {"jpserver_extensions": {"witness": True}}}
        (self.folder / "jupyter_server_config.json").write_text(json.dumps(switched_on), encoding="utf-8")
        options = ["--ip=127.0.0.1", f"--port={self.port}", "--no-browser", "--IdentityProvider.token="]
        more = ["--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={self.folder / 'root'}", "--allow-root"]
        return [self.program, "-m", "jupyter_server", *options, *more]

    def _environment(self) -> Mapping[str, str]:
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "PYTHONPATH")
        return dict.fromkeys(names, str(self.folder))

    def _answers(self) -> bool:
        try:
            return "version" in self.ask("api")
        except (URLError, OSError):
            return False

    def ask(self, path: str, method: str = "GET") -> dict[str, str]:
        with urlopen(Request(f"http://127.0.0.1:{self.port}/{path}", method=method), timeout=60) as answer:
            told: dict[str, str] = json.loads(answer.read() or b"{}")
            return told

    def connect(self, path: str) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/{path}", proxy=None, open_timeout=60)

    def told(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server() -> Iterator[JupyterServer]:
    with JupyterServer() as running:
        yield running
        running.stop()


@pytest.fixture
def kernel(server: JupyterServer) -> Iterator[str]:
    name = server.ask("api/kernels", "POST")["id"]
    yield name
    server.ask(f"api/kernels/{name}", "DELETE")


def await_kernel(channels: ClientConnection) -> None:
    asked = uuid.uuid4().hex
    header = {"msg_id": asked, "msg_type": "kernel_info_request", "username": "", "session": asked, "version": "5.3"}
    body = {"header": header, "parent_header": {}, "metadata": {}, "content": {}, "channel": "shell"}
    channels.send(json.dumps(body))
    while json.loads(channels.recv(60))["msg_type"] != "kernel_info_reply":
        pass


def test_a_kernel_s_connection_sends_at_once_and_others_do_as_before(server: JupyterServer, kernel: str) -> None:
    with server.connect("api/events/subscribe") as events, server.connect(f"api/kernels/{kernel}/channels") as channels:
        await_kernel(channels)
        sends_at_once = server.ask("witness")
        assert sends_at_once[str(channels.local_address[1])]
        assert not sends_at_once[str(events.local_address[1])]


def test_several_connections_of_one_kernel_all_send_at_once(server: JupyterServer, kernel: str) -> None:
    path = f"api/kernels/{kernel}/channels"
    with server.connect(path) as one, server.connect(path) as other:
        for channels in (one, other):
            await_kernel(channels)
            assert server.ask("witness")[str(channels.local_address[1])]


def test_it_is_switched_on_by_being_installed(server: JupyterServer) -> None:
    assert "marketlab.jupyter | extension was successfully loaded" in server.told()


def test_another_kind_of_server_starts_too_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "jupyter_server.services.kernels.websocket", None)
    server = ServerApp(log=logging.getLogger("another"))
    with caplog.at_level(logging.INFO, "another"):
        marketlab.jupyter._load_jupyter_server_extension(server)
    (line,) = caplog.messages
    assert line.startswith("marketlab: frames of widgets may be held back")


def test_it_costs_the_server_nothing() -> None:
    extra = loaded_after("import marketlab.jupyter") & (SLOW | {"anywidget", "ipywidgets", "jupyter_server", "tornado"})
    assert not extra
