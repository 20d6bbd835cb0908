"""What notebooks need around them: a server and the settings that name it, so that running one is the same everywhere.

`python -m tests.notebooks FILE...` runs notebooks and stores what they show. `missing()` says why one cannot be run here.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .servers import InfluxServer

__all__ = ["missing", "served"]

_INFLUX = "02_influxdb_history.ipynb"
_ELSEWHERE = "02b_flux_and_sql.ipynb"
_URLS = {"flux": "MARKETLAB_TEST_INFLUXDB2_URL", "sql": "MARKETLAB_TEST_INFLUXDB3_URL"}
"""By a cell's tag, which server it speaks to."""


def missing(notebook: str, tags: tuple[str, ...] = ()) -> tuple[str, str] | None:
    """The part that is absent and why a cell with these tags cannot be run; None: it can."""
    if notebook == _INFLUX and (reason := InfluxServer.missing()):
        return InfluxServer.part, reason
    if notebook == _ELSEWHERE:
        wanted = [url for tag, url in _URLS.items() if tag in tags] or list(_URLS.values())
        if not any(map(os.environ.get, wanted)):
            return "", " and ".join(f"{url} is not set" for url in wanted)
    return None


@contextmanager
def served(notebook: str) -> Iterator[dict[str, str]]:
    """The environment for a notebook's kernel, while what it needs is running."""
    own = {name: "" for name in os.environ if name.startswith("INFLUXDB_")}
    with tempfile.TemporaryDirectory(prefix="marketlab-notebook-") as spool:
        settings = own | {"MARKETLAB_SPOOL": spool}
        if notebook != _INFLUX:
            yield settings
            return
        with InfluxServer() as server:
            yield settings | {"INFLUXDB_HOST": server.host, "INFLUXDB_DATABASE": "notebook"}


def _store_outputs(path: Path) -> None:
    absent = next(filter(None, (missing(path.name, tags) for tags in ((), *((tag,) for tag in _URLS)))), None)
    if absent is not None:
        print(f"{path} keeps its outputs: {absent[1]}", file=sys.stderr)
        return
    program = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"]
    # A widget's state is its whole program; its last picture is in the output.
    program.append("--ExecutePreprocessor.store_widget_state=False")
    with served(path.name) as settings:
        subprocess.run(
            [*program, "--ExecutePreprocessor.record_timing=False", str(path)],
            env=os.environ | settings,
            check=True,
        )


if __name__ == "__main__":
    for name in sys.argv[1:]:
        _store_outputs(Path(name))
