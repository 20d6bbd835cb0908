"""Rules of size and names that no linter knows."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "marketlab").rglob("*.py"))
VAGUE = {"base", "common", "helper", "helpers", "misc", "util", "utils"}
PROVEN_BY_THEIR_OWN_TESTS = ("analysis", "exchanges", "market")


def tracked_text() -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]
    return {path: (ROOT / path).read_text(encoding="utf-8", errors="replace") for path in paths}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


def test_modules_are_named_after_what_they_are() -> None:
    assert not {path.stem.lstrip("_") for path in SOURCES} & VAGUE


def decides(path: Path) -> bool:
    """Whether a module holds code that decides anything, more than names, types and promises."""
    functions = [
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    ]
    return any(not isinstance(node.body[-1], ast.Expr) for node in functions)


@pytest.mark.parametrize("part", PROVEN_BY_THEIR_OWN_TESTS)
def test_every_module_of_the_core_has_its_own_tests(part: str) -> None:
    for path in filter(decides, sorted((ROOT / "marketlab" / part).rglob("*.py"))):
        below = path.relative_to(ROOT / "marketlab").parent
        folder = ROOT / "tests" / below
        # A package inside a part is one thing: its modules may be proven together, under its name.
        names = (path.stem.strip("_"), below.name)
        tests = [found for name in names for found in folder.glob(f"test_{name}*.py")]
        assert tests, f"{path.relative_to(ROOT)} has no tests/{below}/test_{names[0]}.py"


def test_no_store_knows_another() -> None:
    # A store is a module, or a package whose modules are all its own.
    folder = ROOT / "marketlab" / "stores"
    texts = {path: path.read_text(encoding="utf-8") for path in folder.rglob("*.py")}
    named = [path for path, text in texts.items() if "SCHEMES = " in text and path.stem != "open"]
    stores = {path.relative_to(folder).with_suffix("").parts[0] for path in named}
    assert len(stores) >= 2
    for path, text in texts.items():
        own = path.relative_to(folder).with_suffix("").parts[0]
        imported = {
            node.module.removeprefix("marketlab.stores.").partition(".")[0]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom) and node.module
        }
        assert not imported & (stores - {own}), path


def test_linters_are_rarely_silenced() -> None:
    silenced = lines = 0
    for path, text in tracked_text().items():
        if path.endswith(".py") and path != "tests/test_layout.py":
            lines += text.count("\n")
            silenced += text.count("# noqa") + text.count("# type: ignore")
    assert silenced <= lines / 1000


def test_nothing_of_one_machine_is_in_the_repository() -> None:
    forbidden = ("/wo" + "rk/", "/ro" + "ot/", "files.pytho" + "nhosted", "registry.npm" + "js", "index-" + "url")
    for path, text in tracked_text().items():
        for words in forbidden:
            assert words not in text, f"{path} holds {words}"
