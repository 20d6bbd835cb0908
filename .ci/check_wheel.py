"""Build the wheel out of the source archive and try it where nothing else is installed.

First without extras, then with all of them: no sources, no repository beside it, no Node.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from check_lab import check_lab

ROOT = Path(__file__).resolve().parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    """What the command says; `path` is the only folder that it finds programs in."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MARKETLAB"))}
    if path is not None:
        environment["PATH"] = str(path)
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> tuple[Path, str]:
    """The wheel, and what was said when it was built."""
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    pins = ("--build-constraint", ROOT / "constraints.txt")
    told = run(sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", *pins, "-w", folder, archive, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel, told


def check_contents(wheel: Path, told: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "marketlab").rglob("*.py")}
    notebooks = {f"marketlab/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    missing = sorted((sources | notebooks | {"marketlab/py.typed"}) - held)
    if missing:
        sys.exit(f"the wheel lacks {', '.join(missing)}")
    widgets = json.loads((ROOT / "js" / "package.json").read_text(encoding="utf-8"))["widgets"]
    built = [*(f"{widget}.js" for widget in widgets), "THIRD_PARTY_NOTICES.txt"]
    missing = [name for name in built if f"marketlab/widgets/static/{name}" not in held]
    if missing:
        sys.exit(f"{told}\nthe wheel lacks the built {', '.join(missing)}")
    if not any(name.endswith("/etc/jupyter/jupyter_server_config.d/marketlab.json") for name in held):
        sys.exit("the wheel does not switch on its extension of Jupyter's server")
    strange = sorted(name for name in held if not name.startswith(("marketlab/", "marketlab-")))
    if strange:
        sys.exit(f"the wheel holds what does not belong there: {', '.join(strange)}")


def check_installed(wheel: Path, folder: Path) -> None:
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    programs = environment / "bin"
    python = programs / "python"
    run(python, *PIP, "install", "--constraint", ROOT / "constraints.txt", wheel, cwd=folder, path=programs)
    run(python, "-c", "import marketlab; assert marketlab.__version__", cwd=folder, path=programs)
    if "collect" not in run(environment / "bin" / "marketlab", "--help", cwd=folder):
        sys.exit("marketlab --help does not name its commands")
    check_recording(environment / "bin" / "marketlab", folder)
    run(python, *PIP, "install", "--constraint", ROOT / "constraints.txt", f"{wheel}[all]", cwd=folder, path=programs)
    check_lab(programs)


def check_recording(program: Path, folder: Path) -> None:
    """Streams, the local exchange and tapes need no extra."""
    simulation = ("exchange", "--simulate", "--duration", "20", "--speed", "20", "--exit-when-done", "--json")
    with subprocess.Popen([program, *simulation], cwd=folder, stdout=subprocess.PIPE, text=True) as exchange:
        try:
            assert exchange.stdout is not None
            at = json.loads(exchange.stdout.readline())
            hosts = ("--ws-url", at["ws_url"], "--rest-url", at["rest_url"])
            told = run(program, "record", "x.gz", "BTCUSDT", *hosts, "--duration", "3", "--json", cwd=folder)
        finally:
            exchange.terminate()
    if not json.loads(told)["frames"]:
        sys.exit("marketlab record has recorded nothing without extras")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel, told = build(folder)
        check_contents(wheel, told)
        check_installed(wheel, folder)
        print(f"{wheel.name} works by itself")


if __name__ == "__main__":
    main()
