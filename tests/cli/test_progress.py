import msgspec
import pytest

from marketlab.cli.progress import show_summary
from marketlab.lab.summary import Summary

SUMMARY = Summary("binance", "stream", "duration", 1.0, 10, 0, 0, 0, 0, {}, [])


def test_reconnects_are_told_where_there_were_any(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(SUMMARY, json=False)
    assert "again" not in capsys.readouterr().err
    show_summary(msgspec.structs.replace(SUMMARY, reconnects=2), json=False)
    assert "connections were opened again 2 times" in capsys.readouterr().err
