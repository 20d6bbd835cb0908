"""A real JupyterLab for tests: on a free port of the loopback, in a temporary folder, with kernels of several ages."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from ..servers import Server

__all__ = ["FULL", "KERNELS", "NEWEST", "Laboratory", "chromium", "installed"]

FULL = os.environ.get("MARKETLAB_FULL") == "1"
NEWEST = "newest"
# What an older kernel needs beside the environment of the tests, which brings everything else.
KERNELS: Mapping[str, tuple[str, ...]] = {
    "ipykernel-6": ("ipykernel==6.31.0", "nest-asyncio==1.6.0"),
    "ipykernel-7.3": ("ipykernel==7.3.0",),
    NEWEST: (),
}

_CACHE = Path(__file__).resolve().parents[2] / "build" / "kernels"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_NEEDED = ("jupyterlab", "ipykernel", "anywidget", "playwright")
_SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": True,
        "fetchNews": "false",
    },
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}


def chromium() -> str | None:
    """The browser, which MARKETLAB_TEST_CHROMIUM may name."""
    named = os.environ.get("MARKETLAB_TEST_CHROMIUM")
    return named or next(filter(None, map(shutil.which, _BROWSERS)), None)


class Laboratory(Server):
    """JupyterLab without news, extension manager or password; `notebooks` is what it serves.

    A notebook's kernel is one of `KERNELS`. The older ones are installed once, below build/.
    """

    part = "browser"
    program = "jupyter lab"

    @classmethod
    def missing(cls) -> str | None:
        absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if absent:
            return f"{' and '.join(absent)} cannot be imported"
        return None if chromium() else "no Chromium was found; MARKETLAB_TEST_CHROMIUM may name one"

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def notebooks(self) -> Path:
        """The folder that it serves."""
        return self.folder / "notebooks"

    def log(self) -> str:
        """The end of what it has said."""
        return (self.folder / "log").read_text(errors="replace")[-4_000:]

    def add_kernel(self, name: str) -> None:
        """Have a kernel of `KERNELS` ready."""
        spec = self.folder / "data" / "kernels" / name / "kernel.json"
        if spec.exists():
            return
        paths = [str(installed(name))] if KERNELS[name] else []
        paths += filter(None, [os.environ.get("PYTHONPATH")])
        spec.parent.mkdir(parents=True)
        spec.write_text(
            json.dumps(
                {
                    "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                    "display_name": f"Python 3 ({name})" if KERNELS[name] else "Python 3",
                    "language": "python",
                    "env": {"PYTHONPATH": os.pathsep.join(paths)},
                }
            )
        )

    def end_kernels(self) -> None:
        """End every kernel, and every program that one has started."""
        for kernel in json.loads(self._asked("/api/kernels")):
            self._asked(f"/api/kernels/{kernel['id']}", "DELETE")
        for session in json.loads(self._asked("/api/sessions")):
            with suppress(URLError):  # it went with its kernel
                self._asked(f"/api/sessions/{session['id']}", "DELETE")

    def kill(self) -> None:
        """End it and its kernels, which are no children of its group."""
        if self._process is None:
            return
        kernels = subprocess.run(["pgrep", "-P", str(self.pid)], check=False, capture_output=True, text=True).stdout
        super().kill()
        for kernel in kernels.split():
            with suppress(ProcessLookupError):
                os.killpg(int(kernel), signal.SIGKILL)

    def _asked(self, path: str, method: str = "GET") -> bytes:
        with urlopen(Request(self.url + path, method=method), timeout=20) as answer:
            return bytes(answer.read())

    def _answers(self) -> bool:
        try:
            return bool(self._asked("/api/status"))
        except (URLError, OSError):
            return False

    def _command(self) -> list[str]:
        self.notebooks.mkdir(exist_ok=True)
        settings = self.folder / "config" / "labconfig" / "default_setting_overrides.json"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps(_SETTINGS))
        return [
            *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--expose-app-in-browser", "--allow-root"),
            *("--ip=127.0.0.1", f"--port={self.port}", "--ServerApp.port_retries=0"),
            *("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"),
            *(f"--ServerApp.root_dir={self.notebooks}", "--ServerApp.terminals_enabled=False"),
            *("--LabApp.news_url=None", "--LabApp.extension_manager=readonly"),
            # Else every page that opens has Node ask whether extensions were built.
            "--ServerApp.tornado_settings={'page_config_data': {'buildAvailable': False, 'buildCheck': False}}",
        ]

    def _environment(self) -> Mapping[str, str]:
        return {
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "JUPYTER_DATA_DIR": str(self.folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(self.folder / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self.folder / "workspaces"),
            "IPYTHONDIR": str(self.folder / "ipython"),
        }


def installed(name: str) -> Path:
    """The folder with an older kernel, filled where it is not there yet."""
    place = _CACHE / "-".join(KERNELS[name]).replace("==", "-")
    if not place.exists():
        partly = place.with_name(f"{place.name}.{os.getpid()}")
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps")
        subprocess.run([*pip, "--target", str(partly), *KERNELS[name]], check=True, timeout=300)
        partly.rename(place)
    return place
