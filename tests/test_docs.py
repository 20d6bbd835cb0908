"""What the documentation says is what the program has."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import marketlab
from marketlab import tables
from marketlab.cli import COMMANDS
from marketlab.config import names_in_environment

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_table_and_column_is_described() -> None:
    described = sections(page("tables.md"))
    assert list(described) == list(tables.TABLES)
    for name, table in tables.TABLES.items():
        rows = re.findall(r"^\| (\w+) \| [\w ,]+ \| ([\w ,]*?) ?\|$", described[name], flags=re.MULTILINE)
        assert [row[0] for row in rows if row[0] != "column"] == list(table.schema)
        keys = [column for column, notes in rows if "key" in notes.split(", ")]
        assert sorted(keys) == sorted(table.key)
        assert [column for column, notes in rows if "time column" in notes] == [table.time]
        assert {column for column, notes in rows if "may be null" in notes} == table.nullable


def test_every_command_is_described_in_the_order_of_the_help() -> None:
    assert list(sections(page("command-line.md"))) == list(COMMANDS)


def test_every_setting_is_described_with_its_names() -> None:
    described = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page("settings.md"), flags=re.MULTILINE)
    assert {name: re.findall(r"`(\w+)`", names) for name, names in described} == names_in_environment()


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_every_page_is_in_the_navigation(path: Path) -> None:
    assert f": {path.name}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*sorted(DOCS.glob("*.md")), ROOT / "README.md"], ids=lambda path: path.name)
def test_every_python_block_runs(path: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    if not blocks:
        return
    # What speaks of Binance meets a local exchange, by the settings that everybody has.
    with marketlab.local_exchange(simulate=True, duration=180, speed=60) as exchange:
        environ = os.environ | {"MARKETLAB_WS_URL": exchange.ws_url, "MARKETLAB_REST_URL": exchange.rest_url}
        command = [sys.executable, "-W", "error", "-c", "\n".join(blocks)]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
