import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import marketlab

SLOW = {"aiohttp", "deltalake", "httpx", "narwhals", "numpy", "pandas", "plotly", "polars", "pyarrow", "pydantic"}
SLOW |= {"pydantic_settings", "rich", "typer", "websockets"}

PACKAGE = Path(marketlab.__file__).parent


def loaded_after(code: str) -> set[str]:
    script = f"import sys, json\n{code}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_marketlab_loads_nothing_slow() -> None:
    assert not loaded_after("import marketlab") & SLOW


def test_records_and_errors_load_nothing_slow() -> None:
    assert not loaded_after("import marketlab as ml; ml.Trade; ml.UsageError") & SLOW


@pytest.mark.parametrize("words", ["--help", "collect --help", "query --help", "status --help", "--version"])
def test_help_loads_typer_and_nothing_else_that_is_slow(words: str) -> None:
    code = (
        f"from marketlab.cli import main\nsys.argv = 'marketlab {words}'.split()\ntry: main()\nexcept SystemExit: pass"
    )
    assert loaded_after(code) & SLOW == {"typer"}


@pytest.mark.parametrize("name", marketlab.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(marketlab, name) is not None
    assert name in dir(marketlab)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'liev'"):
        getattr(marketlab, "li" + "ev")


def test_what_type_checkers_see_is_what_resolves() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == set(marketlab.__all__)


def test_records_import_msgspec_and_nothing_else() -> None:
    tree = ast.parse((PACKAGE / "records.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"msgspec", "typing"}
