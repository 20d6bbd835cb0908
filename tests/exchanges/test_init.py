"""Exchanges are found, never registered."""

from pathlib import Path

import pytest

from marketlab import exchanges
from marketlab.errors import UnknownExchange
from marketlab.exchanges.binance import Binance


def test_binance_is_found_by_its_module() -> None:
    assert isinstance(exchanges.find(" Binance "), Binance)
    assert "binance" in exchanges.names()
    assert "contract" not in exchanges.names()


def test_options_are_for_the_exchange_itself() -> None:
    assert exchanges.find("binance", microseconds=False).headers() == {}


def test_an_unknown_exchange_names_the_known_ones() -> None:
    with pytest.raises(UnknownExchange, match=r"'nowhere'\. Known: .*binance"):
        exchanges.find("nowhere")


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "elsewhere-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[marketlab.exchanges]\nelsewhere = elsewhere_exchange:Elsewhere\n")
    (tmp_path / "elsewhere_exchange.py").write_text("class Elsewhere:\n    name = 'elsewhere'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "elsewhere"


def test_another_package_brings_an_exchange_by_an_entry_point(plug_in: str) -> None:
    assert plug_in in exchanges.names()
    assert exchanges.find(plug_in).name == "elsewhere"
