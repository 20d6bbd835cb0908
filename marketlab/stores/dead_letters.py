"""Records that a store refuses, kept with its words: never silently away.

One JSON object a line: `at` (microseconds since 1970 UTC), `table`, `reason`, and `record` as `marketlab.records`
packs it (or `packed`, in hex, where it could not be read). A record may be there twice when the process died between
writing it here and clearing its segment.

Whoever hands them to the store again (`taken_out`) renames the file first, so that what is refused anew goes to a new one;
a file that was renamed and not finished with is found by the next who does.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from marketlab.clock import Clock
from marketlab.records import Record
from marketlab.stores.spool import unavailable, write_all

__all__ = ["DeadLetters", "Letter", "content_of", "letters", "taken_out"]

_NAME = "dead_letters.jsonl"
_TAKEN = ".taken.jsonl"


class Letter(msgspec.Struct, frozen=True):
    """A line of the file without the record."""

    at: int
    table: str | None
    reason: str


class _Content(msgspec.Struct, frozen=True):
    record: Record


_LETTER = msgspec.json.Decoder(Letter)
_CONTENT = msgspec.json.Decoder(_Content)


def content_of(line: bytes) -> Record | None:
    """The record that a line of the file holds; None where it never was one, or cannot be read back (NaN)."""
    try:
        return _CONTENT.decode(line).record
    except msgspec.MsgspecError:
        return None


def letters(root: Path) -> Iterator[Letter]:
    """All dead letters of a spool, oldest first as far as their files tell."""
    for path in [*sorted(root.glob(f"*{_TAKEN}")), root / _NAME]:
        for line in _lines(path):
            try:
                yield _LETTER.decode(line)
            except msgspec.MsgspecError:
                yield Letter(0, None, "This line is damaged.")


@contextmanager
def taken_out(root: Path) -> Iterator[list[Path]]:
    """Files of dead letters that are nobody else's until this ends; whoever is done with one removes it."""
    path = root / _NAME
    if path.is_file():
        with path.open("rb") as file:
            # Whoever is writing to it just now finishes first.
            fcntl.flock(file, fcntl.LOCK_EX)
            path.rename(root / f"dead_letters-{uuid4().hex}{_TAKEN}")
    held: list[tuple[int, Path]] = []
    try:
        for taken in sorted(root.glob(f"*{_TAKEN}")):
            file_number = os.open(taken, os.O_RDONLY)
            try:
                fcntl.flock(file_number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file_number)
                continue
            held.append((file_number, taken))
        yield [taken for _, taken in held]
    finally:
        for file_number, _ in held:
            os.close(file_number)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return


class DeadLetters:
    """The file `dead_letters.jsonl` of a spool. `count` is how many this object has written."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.path = root / _NAME
        self.count = 0
        self._clock = clock

    def keep(self, table: str | None, reason: str, refused: Iterable[Any]) -> None:
        """Write them down, safe on the disk when this returns.

        Raises:
            StoreUnavailable: the disk does not let us.
        """
        lines = [self._line(table, reason, record) for record in refused]
        self.put_back(lines)
        self.count += len(lines)

    def put_back(self, lines: Iterable[bytes]) -> None:
        """Lines of such a file, as they are.

        Raises:
            StoreUnavailable: the disk does not let us.
        """
        text = b"".join(lines)
        if text:
            try:
                self._append(text)
            except OSError as error:
                raise unavailable(self.path, error) from error

    def _append(self, text: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self._locked()
        try:
            before = os.fstat(file).st_size
            try:
                write_all(file, memoryview(text))
                os.fsync(file)
            except OSError:
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)

    def _locked(self) -> int:
        while True:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            # Writers of other processes share the file: the lock keeps a half-written line from being theirs too.
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                if os.fstat(file).st_ino == self.path.stat().st_ino:
                    return file
            except FileNotFoundError:
                # It was taken out between opening and locking.
                pass
            os.close(file)

    def _line(self, table: str | None, reason: str, record: Any) -> bytes:
        content = {"packed": record.hex()} if isinstance(record, bytes) else {"record": record}
        line = {"at": self._clock.now(), "table": table, "reason": reason, **content}
        return msgspec.json.encode(line, enc_hook=repr) + b"\n"
