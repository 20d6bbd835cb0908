"""Records what comes off the wire, as it came, into a tape."""

from pathlib import Path
from urllib.parse import urlencode

from marketlab.records import Origin
from marketlab.streams.rest import Answer
from marketlab.tapes import TapeWriter

__all__ = ["Recorder"]

_LEFT_OUT = frozenset({"instruments"})  # megabytes that no replay needs


class Recorder:
    """Writes frames and REST answers to a new tape in the order they came.

    Raises:
        UsageError: the tape exists already.
        StoreError: the disk refuses, now or at any later call.
    """

    def __init__(self, path: Path | str, origin: Origin) -> None:
        self._tape = TapeWriter(path, origin=origin)

    @property
    def lines(self) -> int:
        """Lines written so far."""
        return self._tape.lines

    def frames(self, frames: list[bytes], at: int) -> None:
        """Add frames that were read off the socket at a microsecond."""
        write, received = self._tape.write, at * 1000
        for frame in frames:
            write(received, frame)

    def answer(self, answer: Answer) -> None:
        """Add a REST answer, unless no replay needs it."""
        request = answer.request
        if request.kind not in _LEFT_OUT:
            query = f"?{urlencode(request.params)}" if request.params else ""
            self._tape.write_answer(answer.at * 1000, request.path + query, answer.body)

    def flush(self) -> None:
        """Make sure that what was written so far survives the end of this process."""
        self._tape.flush()

    def close(self) -> None:
        """Finish the tape; twice is once."""
        self._tape.close()
