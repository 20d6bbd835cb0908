"""Build the wheel and try it where nothing else is installed: no extras, no sources, no repository beside it."""

import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MARKETLAB"))}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> Path:
    pins = ("--build-constraint", ROOT / "constraints.txt")
    run(sys.executable, *PIP, "wheel", "--no-deps", *pins, "--wheel-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "marketlab").rglob("*.py")}
    notebooks = {f"marketlab/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    missing = sorted((sources | notebooks | {"marketlab/py.typed"}) - held)
    if missing:
        sys.exit(f"the wheel lacks {', '.join(missing)}")
    strange = sorted(name for name in held if not name.startswith(("marketlab/", "marketlab-")))
    if strange:
        sys.exit(f"the wheel holds what does not belong there: {', '.join(strange)}")


def check_installed(wheel: Path, folder: Path) -> None:
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(python, *PIP, "install", "--constraint", ROOT / "constraints.txt", wheel, cwd=folder)
    run(python, "-c", "import marketlab; assert marketlab.__version__", cwd=folder)
    if "collect" not in run(environment / "bin" / "marketlab", "--help", cwd=folder):
        sys.exit("marketlab --help does not name its commands")
    check_recording(environment / "bin" / "marketlab", folder)


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
        wheel = build(folder)
        check_contents(wheel)
        check_installed(wheel, folder)
        print(f"{wheel.name} works by itself")


if __name__ == "__main__":
    main()
