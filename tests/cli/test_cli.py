import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from marketlab import __version__
from marketlab.cli import COMMANDS, EXAMPLES, command, exit_code
from marketlab.errors import ConnectionLost, StoreUnavailable, TapeError, UnknownSymbol, UsageError

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]


def expect_understood(line: str) -> None:
    words = shlex.split(line.partition("#")[0].partition("|")[0].partition(" > ")[0].partition(" &")[0])
    assert words[0] == "marketlab", line
    parsed = typer.main.get_command(command(words[1]))
    parsed.make_context(words[1], words[2:]).close()


def test_help_lists_every_command_with_its_purpose(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    for name, purpose in COMMANDS.items():
        assert f"  {name} " in ended.out
        assert purpose in " ".join(ended.out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_by_examples(run: Run, name: str) -> None:
    ended = run(name, "--help")
    assert ended.code == 0
    assert f"Usage: marketlab {name} " in ended.out
    assert f"    marketlab {name}" in ended.out.partition("Examples:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_a_command_line_that_is_understood(name: str) -> None:
    lines = importlib.import_module(f"marketlab.cli.{name}").EXAMPLES.strip().splitlines()
    assert lines[0].startswith(f"marketlab {name}")
    for line in lines:
        expect_understood(line)


def test_the_first_examples_are_understood() -> None:
    for line in EXAMPLES.replace("marketlab COMMAND --help", "marketlab query trades").strip().splitlines():
        expect_understood(line)


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name
)
def test_every_command_line_in_the_documentation_is_understood(page: Path) -> None:
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("marketlab "):
                expect_understood(line)


def test_no_command_prints_the_help_and_is_a_mistake(run: Run) -> None:
    ended = run()
    assert ended.code == 2
    assert "Commands:" in ended.out + ended.err


def test_a_mistyped_command_names_the_nearest(run: Run) -> None:
    ended = run("qury")
    assert ended.code == 2
    assert "Did you mean 'query'?" in ended.err


@pytest.mark.parametrize(
    "arguments", [("query",), ("query", "trades", "--limt", "3"), ("query", "trades", "--limit", "x")]
)
def test_a_wrong_command_line_is_a_mistake(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert "Error: " in ended.err


def test_the_version_is_the_package_s(run: Run) -> None:
    assert run("--version") == (0, f"marketlab {__version__}\n", "")


def test_as_a_module_it_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "marketlab", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"marketlab {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (UnknownSymbol("X", "binance", []), 2),
        (ConnectionLost("x"), 3),
        (StoreUnavailable("x"), 3),
        (TapeError("x", 1, "y"), 3),
    ],
)
def test_exit_codes_say_whose_fault_it_is(error: Any, code: int) -> None:
    assert exit_code(error) == code


def test_a_bad_setting_is_one_sentence_and_a_mistake(run: Run, tmp_path: Any) -> None:
    environ = {"MARKETLAB_API_PORT": "many", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "marketlab", "status"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("The setting api_port from the environment is 'many': ")
    assert done.stderr.count("\n") == 1


def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path: Any) -> None:
    # An environment without extras, as far as this process can have one.
    script = "import sys; sys.modules['polars'] = None; from marketlab.cli import main; main(['query', 'trades'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "marketlab query needs the package polars: run pip install 'marketlab[history]'.\n"
