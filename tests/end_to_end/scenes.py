"""A collector on its way: a tape is served, a collector stores it, and somebody watches its spool."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .histories import History
from .programs import account_in, at, exchange, started, until
from .spools import Remembered, Watch, remember

__all__ = ["CHANNELS", "Scene", "collecting"]

CHANNELS = ("--channels", "trade,quote,book,kline_1m")
_PATIENCE_S = 240


class Scene(NamedTuple):
    """A collector that runs, and its places."""

    process: subprocess.Popen[bytes]
    log: Path
    spool: Path
    kept: Path
    settings: dict[str, str]

    def until(self, true: Any, seconds: float = 120) -> None:
        """Wait for something that the collector brings about."""
        until(true, self.process, self.log, seconds)

    def end(self, code: int = 0) -> Any:
        """Its own account, when it has ended by itself."""
        assert self.process.wait(_PATIENCE_S) == code, self.log.read_text()[-3000:]
        return account_in(self.log)

    def remembered(self, history: History) -> Remembered:
        """Everything that was in its spool for a store."""
        return remember(self.kept, history.mark)


@contextmanager
def collecting(root: Path, tape: Path, *urls: str, seconds: float = 4) -> Iterator[Scene]:
    """Serve a tape of five minutes in about `seconds`, and store it; the collector ends when the tape is over.

    Its folder is `work` below the root.
    """
    work, log, symbol = root / "work", root / "collect.log", tape.name.partition("_")[0].upper()
    settings = {"MARKETLAB_SPOOL": str(work / "spool"), "MARKETLAB_FLUSH_MS": "300"}
    work.mkdir()
    with (
        exchange("--tape", tape, "--speed", f"{305 / seconds:g}", log=root / "exchange.log") as port,
        Watch(work, root / "kept") as watch,
        started(
            *("collect", symbol, *CHANNELS, *at(port), "--until-idle", "1", "--json"),
            *(part for url in urls for part in ("--store", url)),
            log=log,
            cwd=work,
            settings=settings,
        ) as process,
    ):
        yield Scene(process, log, work / "spool", watch.kept, settings)
