"""Misbehaviour on demand, so that clients can be shown to survive it.

| kind | what happens |
|---|---|
| malformed-frames | before every `every`-th frame its first half is sent as a message of its own |
| hole | after every `every`-th frame twenty frames are left out; REST still knows what was in them |
| drop-connection | at every `every`-th frame all connections break off without a word |
| stall | once, at frame `every`, all connections of that moment go silent for good; pings go on, new ones work |
"""

from collections.abc import Iterable, Sequence

from marketlab.errors import UsageError
from marketlab.exchange_server.connection import Connection

__all__ = ["FAULTS", "Faults"]

FAULTS = ("malformed-frames", "hole", "drop-connection", "stall")
"""The kinds there are."""

_LEFT_OUT = 20


class Faults:
    """Counts the frames of a play and misbehaves at the same places each time. Raises UsageError for unknown kinds."""

    def __init__(self, kinds: Sequence[str], every: int = 1000) -> None:
        unknown = [kind for kind in kinds if kind not in FAULTS]
        if unknown:
            raise UsageError(f"There is no fault {unknown[0]!r}; choose among {', '.join(FAULTS)}.")
        if every <= _LEFT_OUT:
            raise UsageError(f"Faults may come every {_LEFT_OUT + 1} frames or less often, not every {every}.")
        self.kinds = frozenset(kinds)
        self._every = every
        self._count = 0

    def frames(self, frame: bytes) -> list[bytes]:
        """What is sent in place of the play's next frame."""
        self._count += 1
        place = self._count % self._every
        if "hole" in self.kinds and self._count > self._every and 0 < place <= _LEFT_OUT:
            return []
        if "malformed-frames" in self.kinds and place == 0:
            return [frame[: len(frame) // 2], frame]
        return [frame]

    def strike(self, connections: Iterable[Connection]) -> None:
        """Do to the connections what is due after the newest frame."""
        if self._count % self._every:
            return
        for connection in list(connections):
            if "drop-connection" in self.kinds:
                connection.abort()
            elif "stall" in self.kinds and self._count == self._every:
                connection.muted = True
