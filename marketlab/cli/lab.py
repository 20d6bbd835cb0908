"""`marketlab lab`: the shipped notebooks, in a folder of one's own, in JupyterLab."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["EXAMPLES", "lab"]

EXAMPLES = """
marketlab lab                              # copies into ./marketlab-notebooks, opens the browser
marketlab lab --folder research            # your own folder; files that are there already stay as they are
marketlab lab --no-browser -- --port 9999  # the rest goes to JupyterLab
"""


def lab(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- JUPYTER OPTIONS]", show_default=False)] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where your copies of the notebooks are.")] = Path(
        "marketlab-notebooks"
    ),
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
    copy_only: Annotated[bool, typer.Option("--copy-only", help="Copy the notebooks and end.")] = False,
) -> None:
    """Copy the shipped notebooks into a folder, unless they are there, and open them in JupyterLab.

    Ctrl-C ends JupyterLab; your copies stay.
    """
    from marketlab.cli.terminal import note
    from marketlab.errors import MissingDependency

    if not copy_only and find_spec("jupyterlab") is None:
        raise MissingDependency("jupyterlab", "notebook", "marketlab lab")
    copied = list(_copy(folder))
    note(f"{', '.join(copied)} copied into {folder}." if copied else f"The notebooks are in {folder}.")
    if copy_only:
        return
    command = [sys.executable, "-m", "jupyterlab", *([] if browser else ["--no-browser"]), *(arguments or [])]
    try:
        ended = subprocess.run(command, cwd=folder, check=False).returncode
    except KeyboardInterrupt:
        ended = 0
    raise typer.Exit(ended)


def _copy(folder: Path) -> Iterator[str]:
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("marketlab")) as package:
        shipped = package / "notebooks"
        # A wheel has them inside the package; beside it they are in the repository.
        source = shipped if shipped.is_dir() else package.parent / "notebooks"
        for notebook in sorted(source.glob("*.ipynb")):
            if not (folder / notebook.name).exists():
                shutil.copyfile(notebook, folder / notebook.name)
                yield notebook.name
