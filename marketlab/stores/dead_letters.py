"""Records that a store refuses, kept with its words: never silently away.

One JSON object a line: `at` (microseconds since 1970 UTC), `table`, `reason`, and `record` as `marketlab.records`
packs it (or `packed`, in hex, where it could not be read). A record may be there twice when the process died between
writing it here and clearing its segment.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from marketlab.clock import Clock
from marketlab.stores.spool import unavailable, write_all

__all__ = ["DeadLetters"]


class DeadLetters:
    """The file `dead_letters.jsonl` of a spool. `count` is how many this object has written."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.path = root / "dead_letters.jsonl"
        self.count = 0
        self._clock = clock

    def keep(self, table: str | None, reason: str, refused: Iterable[Any]) -> None:
        """Write them down, safe on the disk when this returns.

        Raises:
            StoreUnavailable: the disk does not let us.
        """
        lines = [self._line(table, reason, record) for record in refused]
        if not lines:
            return
        try:
            self._append(b"".join(lines))
        except OSError as error:
            raise unavailable(self.path, error) from error
        self.count += len(lines)

    def _append(self, text: bytes) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # Writers of other processes share the file: the lock keeps a half-written line from being theirs too.
            fcntl.flock(file, fcntl.LOCK_EX)
            before = os.fstat(file).st_size
            try:
                write_all(file, memoryview(text))
                os.fsync(file)
            except OSError:
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)

    def _line(self, table: str | None, reason: str, record: Any) -> bytes:
        content = {"packed": record.hex()} if isinstance(record, bytes) else {"record": record}
        line = {"at": self._clock.now(), "table": table, "reason": reason, **content}
        return msgspec.json.encode(line, enc_hook=repr) + b"\n"
