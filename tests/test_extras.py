import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from marketlab.extras import EXTRAS, missing

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))


def brought_by(extra: str) -> set[str]:
    wanted = PYPROJECT["project"]["optional-dependencies"][extra]
    return {match[0] for line in wanted if (match := re.match(r"[\w-]+", line)) and match[0] != "marketlab"}


def test_every_optional_package_is_named_with_the_extra_that_brings_it() -> None:
    extras = set(PYPROJECT["project"]["optional-dependencies"]) - {"all"}
    assert {package: extra for extra in extras for package in brought_by(extra)} == EXTRAS


def test_all_is_every_extra() -> None:
    (line,) = PYPROJECT["project"]["optional-dependencies"]["all"]
    assert set(line.removeprefix("marketlab[").removesuffix("]").split(",")) == set(EXTRAS.values())


def test_a_missing_package_is_named_with_its_extra() -> None:
    told = missing(ModuleNotFoundError(name="polars.selectors"), "A table")
    assert str(told) == "A table needs the package polars: run pip install 'marketlab[history]'."


@pytest.mark.parametrize("name", ["marketlab.nothing", "torch", None])
def test_a_package_that_no_extra_brings_is_nobody_s_mistake(name: str | None) -> None:
    assert missing(ModuleNotFoundError(name=name), "x") is None


@pytest.mark.parametrize(("name", "package", "extra"), [("summary", "narwhals", "history")])
def test_a_public_name_says_which_extra_it_needs(name: str, package: str, extra: str) -> None:
    script = f"import sys; sys.modules['{package}'] = None\nimport marketlab\ntry: marketlab.{name}\n"
    script += "except marketlab.MissingDependency as error: print(error)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"marketlab.{name} needs the package {package}: run pip install 'marketlab[{extra}]'.\n"
