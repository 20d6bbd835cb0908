"""`marketlab lab`: the shipped notebooks, in a folder of one's own, in JupyterLab."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from importlib import import_module
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

__all__ = ["EXAMPLES", "lab"]

EXAMPLES = """
marketlab lab                              # copies into ./marketlab-notebooks, opens the browser
marketlab lab --folder research            # your own folder; files that are there already stay as they are
marketlab lab --no-browser -- --port 9999  # what follows -- goes to JupyterLab; it prints its address
marketlab lab --copy-only                  # for the editor or JupyterLab that you use already
"""

# JupyterLab would ask Jupyter's and PyPI's servers for news and newer versions, and people whether it may.
_QUIET = {"@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"}}


def lab(
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- JUPYTER OPTIONS]", show_default=False)] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where your copies of the notebooks are.")] = Path(
        "marketlab-notebooks"
    ),
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
    copy_only: Annotated[bool, typer.Option("--copy-only", help="Copy the notebooks and end.")] = False,
) -> None:
    """Copy the shipped notebooks into a folder, unless they are there, and open them in JupyterLab.

    The first of those that are new to the folder is opened. JupyterLab asks nobody for news or newer versions, unless
    its settings say so. Ctrl-C ends it and its kernels; your copies stay.
    """
    from marketlab.cli.terminal import note
    from marketlab.errors import MissingDependency

    if not copy_only and find_spec("jupyterlab") is None:
        raise MissingDependency("jupyterlab", "notebook", "marketlab lab")
    copied = list(_copy(folder))
    note(f"{', '.join(copied)} copied into {folder}." if copied else f"The notebooks are in {folder}.")
    if copy_only:
        return
    note("JupyterLab starts; Ctrl-C ends it.")
    with TemporaryDirectory(prefix="marketlab-lab-") as place:
        _configure(Path(place), folder, copied)
        paths = [*filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")]), place]
        os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
        _run([*([] if browser else ["--no-browser"]), *(arguments or [])])


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


def _configure(place: Path, folder: Path, copied: list[str]) -> None:
    """What JupyterLab finds as its configuration, so that options on its command line say otherwise."""
    options: dict[str, dict[str, Any]] = {"ServerApp": {"root_dir": str(folder.resolve()), "answer_yes": True}}
    if copied:
        options["LabApp"] = {"default_url": f"/lab/tree/{copied[0]}"}
    for name in ("jupyter_server_config.json", "jupyter_lab_config.json"):
        (place / name).write_text(json.dumps(options), encoding="utf-8")
    (place / "labconfig").mkdir()
    (place / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(_QUIET), encoding="utf-8")


def _run(options: list[str]) -> None:
    """In this process, so that whatever ends it ends JupyterLab."""
    # Until Jupyter's server has its own way to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Outside a terminal it has none for this one, and would leave its kernels behind.
    signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    import_module("jupyterlab.labapp").main(options)
