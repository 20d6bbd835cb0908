import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from ..servers import Server

Run = Callable[..., Any]

SHIPPED = sorted(path.name for path in (Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def test_notebooks_are_copied_unless_they_are_there(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    assert run("lab", "--copy-only", "--folder", str(folder)).code == 0
    assert sorted(path.name for path in folder.iterdir()) == SHIPPED
    for name in SHIPPED:
        (folder / name).write_text("mine")
    ended = run("lab", "--copy-only", "--folder", str(folder))
    assert ended.err == f"The notebooks are in {folder}.\n"
    assert {(folder / name).read_text() for name in SHIPPED} <= {"mine"}


LAB = (sys.executable, "-m", "marketlab", "lab", "--no-browser", "--folder")
OWN = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "TMPDIR")


def settings(user: Path) -> dict[str, str]:
    """An environment whose Jupyter has no settings but those of a folder."""
    return dict.fromkeys(OWN, str(user)) | {"JUPYTER_CONFIG_PATH": ""}


class Lab(Server):
    """`marketlab lab`, with copies in a folder of its own."""

    part = "notebook"
    program = "marketlab lab"

    @property
    def user(self) -> Path:
        return self.folder / "user"

    @property
    def options(self) -> list[str]:
        return ["--allow-root", f"--port={self.port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="]

    def ask(self, path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=60) as answer:
            return json.load(answer)

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """Its exit code, and what it has said."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(60), (self.folder / "log").read_text()

    def _command(self) -> list[str]:
        self.user.mkdir()
        return [*LAB, str(self.folder / "own"), "--", *self.options]

    def _environment(self) -> Mapping[str, str]:
        return settings(self.user)


@pytest.fixture(scope="module")
def running() -> Iterator[Lab]:
    pytest.importorskip("jupyterlab")
    with Lab() as lab:
        yield lab


def configuration(folder: Path, user: Path, *options: str) -> Any:
    """What JupyterLab takes from its configuration and these options, by section."""
    command = [*LAB, str(folder), "--", "--show-config-json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | settings(user))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_jupyterlab_serves_the_folder_and_opens_the_first_notebook_that_is_new_to_it(tmp_path: Path) -> None:
    usual = {"ServerApp": {"root_dir": str(tmp_path), "port": 9999}}
    (tmp_path / "jupyter_server_config.json").write_text(json.dumps(usual))
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / SHIPPED[0]).write_text("mine")
    options = configuration(folder, tmp_path)
    assert options["LabApp"]["default_url"] == f"/lab/tree/{SHIPPED[1]}"
    assert (options["ServerApp"]["root_dir"], options["ServerApp"]["port"]) == (str(folder), 9999)
    (folder / SHIPPED[1]).unlink()
    options = configuration(folder, tmp_path, f"--ServerApp.root_dir={tmp_path}", "--LabApp.default_url=/lab")
    assert options["LabApp"]["default_url"] == "/lab"
    assert options["ServerApp"]["root_dir"] == str(tmp_path)


def test_nobody_is_asked_for_news_and_nobody_is_asked_whether_to(running: Lab) -> None:
    asked = running.ask("lab/api/settings/@jupyterlab/apputils-extension:notification")
    options = asked["schema"]["properties"]
    assert options["fetchNews"]["default"] == "false"
    assert options["checkForUpdates"]["default"] is False


def test_a_port_that_is_taken_is_told_in_one_sentence(running: Lab, tmp_path: Path) -> None:
    command = [*LAB, str(tmp_path / "own"), "--", *running.options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | settings(tmp_path))
    assert done.returncode == 1
    assert done.stderr.endswith(f"port {running.port} is not available.\n")
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_it_and_leaves_nothing() -> None:
    pytest.importorskip("jupyterlab")
    with Lab() as lab:
        code, told = lab.end(signal.SIGINT)
        assert code == 0
        assert "Traceback" not in told
        with pytest.raises(OSError, match="refused"):
            lab.ask("api")
        assert not list(lab.user.glob("marketlab-lab-*"))
        assert not list(lab.user.glob("jpserver-*"))


def test_without_jupyterlab_the_line_that_installs_it_is_printed(tmp_path: Path) -> None:
    script = "import sys; sys.modules['jupyterlab'] = None; from marketlab.cli import main; main(['lab'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "marketlab lab needs the package jupyterlab: run pip install 'marketlab[notebook]'.\n"
    assert not list(tmp_path.iterdir())
