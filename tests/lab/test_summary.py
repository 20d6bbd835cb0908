"""What a run says of its stores in the end."""

from typing import Any

from marketlab.lab.keeping import Kept
from marketlab.lab.summary import Summary

FILE = "/spool/dead_letters.jsonl"


def failures(broken: str = "", **kept: Any) -> list[str]:
    account = {"rows": {}, "changed": {}, "flushes": 1, "pending": 0, "unspooled": 0, "dead_letters": 0, "dropped": 0}
    store = Kept(**{"store": "served://one", **account, "failure": "", **kept})
    return Summary("binance", "stream", "idle", 1.0, 0, 0, 0, 0, 0, {}, [store], broken).failures


def test_rows_that_were_refused_are_no_success() -> None:
    told = f"2 rows were refused by served://one and are in {FILE}."
    assert failures() == []
    assert failures(dead_letters=2, dead_letter_file=FILE) == [told]
    assert failures("It broke.", dead_letters=2, dead_letter_file=FILE) == ["It broke.", told]
    waiting = failures(dead_letters=2, dead_letter_file=FILE, pending=3, failure="Away.")
    assert waiting == ["3 records wait in the spool of served://one for the next run: Away.", told]
