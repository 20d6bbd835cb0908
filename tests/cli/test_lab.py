import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def test_jupyterlab_is_started_in_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "marketlab", "lab", "--folder", str(tmp_path), "--no-browser", "--", "--version"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()[0].isdigit()


def test_without_jupyterlab_the_line_that_installs_it_is_printed(tmp_path: Path) -> None:
    script = "import sys; sys.modules['jupyterlab'] = None; from marketlab.cli import main; main(['lab'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "marketlab lab needs the package jupyterlab: run pip install 'marketlab[notebook]'.\n"
    assert not list(tmp_path.iterdir())
