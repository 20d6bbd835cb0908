from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console

from marketlab.cli.progress import feed_table, show_summary
from marketlab.lab.summary import Summary
from marketlab.streams.status import BookStatus, FeedStatus, StreamStatus

SUMMARY = Summary("binance", "stream", "duration", 1.0, 10, 0, 0, 0, 0, {}, [])


def test_reconnects_are_told_where_there_were_any(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(SUMMARY, json=False)
    assert "again" not in capsys.readouterr().err
    show_summary(msgspec.structs.replace(SUMMARY, reconnects=2), json=False)
    assert "connections were opened again 2 times" in capsys.readouterr().err


def rendered(**changed: Any) -> list[str]:
    streams = (
        StreamStatus("BTCUSDT", "book", 12_345, 1, 2, 0.25),
        StreamStatus("BTCUSDT", "mini_ticker", 7, 1, 2, None),
    )
    book = BookStatus("BTCUSDT", 9, True, 61_457.15, 61_457.25, 0.01627, 1_408, 1_407)
    facts: dict[str, Any] = dict.fromkeys(FeedStatus.__struct_fields__, 0) | {
        "origins": ("stream",), "connections": 1, "connections_wanted": 1, "frames": 22_713, "records": 22_719,
        "gaps": 3, "healed": 2, "streams": streams, "books": (book,),
    }  # fmt: skip
    out = StringIO()
    Console(file=out, width=80).print(feed_table("collecting", FeedStatus(**facts | changed), 7.0))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_live_table_fits_80_columns_and_tells_rates_counts_lag_and_gaps() -> None:
    title, head, book, mini, frames, gaps = rendered()
    assert title == "collecting"
    assert head.split() == ["symbol", "channel", "records", "lag", "s", "bid", "ask", "bps", "book", "equal"]
    assert book.split() == ["BTCUSDT", "book", "12,345", "0.250", "61,457.15", "61,457.25", "0.01627", "1,407/1,408"]
    assert mini.split() == ["BTCUSDT", "mini_ticker", "7"]
    assert frames == "7 s   22,713 frames (3,245/s)   22,719 records"
    assert gaps == "gaps 3 (healed 2)   reconnects 0   Ctrl-C stops"


def test_what_is_simulated_or_lost_stands_in_the_title() -> None:
    assert rendered(origins=("simulated",), connections=0)[0] == "collecting  SIMULATED  RECONNECTING"
