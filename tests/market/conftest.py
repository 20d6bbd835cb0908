"""Real frames as records."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marketlab import tapes as tape_files
from marketlab.exchanges import find
from marketlab.exchanges.contract import Connection
from marketlab.records import BookUpdate, Quote, Record, Trade


@pytest.fixture(scope="session")
def records_of(tapes: Path) -> Callable[[str], Iterator[Record]]:
    """The records of a tape by its name, in order, the tape's own snapshot included."""

    def read(name: str) -> Iterator[Record]:
        exchange = find("binance")
        session = exchange.session(Connection("/stream", ()), "replay")
        request = exchange.snapshot_request(name.partition("_")[0].upper(), 1000)
        for line in tape_files.read(tapes / f"{name}.gz"):
            at = line.received // 1000
            answer = tape_files.answer(line.frame)
            if answer is not None:
                yield from exchange.answer(request, answer.body, at, "replay")
                continue
            for record in session.received(line.frame, at):
                assert isinstance(record, Trade | Quote | BookUpdate)
                yield record

    return read
