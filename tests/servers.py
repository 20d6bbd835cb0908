"""Real servers for tests: each on a free port of the loopback, in a temporary folder, gone when its test is.

Each is a context manager with `start`, `stop`, `kill` (as `kill -9`) and `restart`; a restarted one keeps its port and
its data. `missing()` says why there is none on this machine.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import ClassVar, Self
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["InfluxServer", "PostgresServer", "RedisServer", "Server", "free_port"]

_PATIENCE_S = 60.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """A program that serves on `port` out of `folder`."""

    part: ClassVar[str]
    """What MARKETLAB_REQUIRE calls it."""
    program: ClassVar[str]

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"marketlab-{self.part}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be started here; None: it can."""
        return None if cls.found() else f"{cls.program} is not installed"

    @classmethod
    def found(cls) -> str | None:
        """Where the program is."""
        return shutil.which(cls.program)

    @property
    def pid(self) -> int:
        """The process that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Run until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._user(), *self._command()],
                cwd=self.folder,
                env={**os.environ, **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = monotonic() + _PATIENCE_S
        while not self._answers():
            if self._process.poll() is not None or monotonic() > deadline:
                self.stop()
                told = (self.folder / "log").read_text(errors="replace")[-2_000:]
                raise RuntimeError(f"{self.program} did not start:\n{told}")
            sleep(0.05)
        return self

    def kill(self) -> None:
        """End it as `kill -9` does, with all of its processes."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in its own way."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again at the same place with the same data."""
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It is there and does not answer."""
        group = os.getpgid(self.pid)
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def _user(self) -> list[str]:
        return []

    def _environment(self) -> Mapping[str, str]:
        return {}

    @abstractmethod
    def _command(self) -> list[str]: ...


class InfluxServer(Server):
    """InfluxDB 1.x as Debian has it. With `password` it asks for it, and knows the administrator `admin`."""

    part = "influxdb1"
    program = "influxd"

    def __init__(self, *, password: str | None = None) -> None:
        super().__init__()
        self._password = password

    @property
    def host(self) -> str:
        """As people write it: `127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def url(self, database: str) -> str:
        """The store's URL of a database."""
        return f"influxdb://{self.host}/{database}"

    def start(self) -> Self:
        super().start()
        if self._password and not (self.folder / "known").exists():
            statement = f"CREATE USER admin WITH PASSWORD '{self._password}' WITH ALL PRIVILEGES"
            with urlopen(f"http://{self.host}/query", data=f"q={statement}".encode(), timeout=10) as answer:
                answer.read()  # the status comes before the statement is carried out
                (self.folder / "known").touch()
        return self

    def _command(self) -> list[str]:
        # An empty file, so that nothing of the machine's own configuration counts.
        (self.folder / "influxdb.conf").touch()
        return [self.program, "run", "-config", str(self.folder / "influxdb.conf")]

    def _environment(self) -> Mapping[str, str]:
        return {
            "INFLUXDB_REPORTING_DISABLED": "true",
            "INFLUXDB_BIND_ADDRESS": "127.0.0.1:0",
            "INFLUXDB_META_DIR": str(self.folder / "meta"),
            "INFLUXDB_DATA_DIR": str(self.folder / "data"),
            "INFLUXDB_DATA_WAL_DIR": str(self.folder / "wal"),
            "INFLUXDB_DATA_QUERY_LOG_ENABLED": "false",
            "INFLUXDB_HTTP_BIND_ADDRESS": self.host,
            "INFLUXDB_HTTP_LOG_ENABLED": "false",
            "INFLUXDB_HTTP_AUTH_ENABLED": "true" if self._password else "false",
            "INFLUXDB_MONITOR_STORE_ENABLED": "false",
        }

    def _answers(self) -> bool:
        try:
            with urlopen(f"http://{self.host}/ping", timeout=1.0):
                return True
        except (URLError, OSError):
            return False


class PostgresServer(Server):
    """PostgreSQL with the user and database `postgres`, which needs no password."""

    part = "postgres"
    program = "postgres"

    @classmethod
    def found(cls) -> str | None:
        # Debian keeps them out of the path.
        places = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: path.parts[4])
        return str(places[-1]) if places else shutil.which(cls.program)

    @property
    def url(self) -> str:
        """The store's URL."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> Self:
        if not (self.folder / "data").exists():
            if os.geteuid() == 0:
                shutil.chown(self.folder, "postgres")
            initdb = Path(self.found() or "").with_name("initdb")
            subprocess.run(
                [*self._user(), str(initdb), "-D", str(self.folder / "data"), *_INITDB],
                check=True,
                capture_output=True,
                cwd=self.folder,
            )
        return super().start()

    def kill(self) -> None:
        """End it as `kill -9` does, with all of its processes, which are groups of their own."""
        if self._process is None:
            return
        os.kill(self.pid, signal.SIGSTOP)  # so that it starts no more of them
        children = subprocess.run(["pgrep", "-P", str(self.pid)], check=False, capture_output=True, text=True).stdout
        super().kill()
        for child in children.split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        # The next one does not start while one of these holds their memory.
        deadline = monotonic() + _PATIENCE_S
        while any(map(_is_running, children.split())) and monotonic() < deadline:
            sleep(0.01)

    def stop(self) -> None:
        """End it without waiting for its clients."""
        self._end(signal.SIGINT)

    def _user(self) -> list[str]:
        # It refuses to run as root.
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []

    def _command(self) -> list[str]:
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "fsync=off", "-c", "max_connections=40"]
        return [self.found() or self.program, "-D", str(self.folder / "data"), *options]

    def _answers(self) -> bool:
        ready = Path(self.found() or "").with_name("pg_isready")
        asked = [str(ready), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False, stdout=subprocess.DEVNULL, stderr=sys.stderr).returncode == 0


def _is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


_INITDB = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")


class RedisServer(Server):
    """Redis that keeps what it has acknowledged when it is killed."""

    part = "redis"
    program = "redis-server"

    @property
    def url(self) -> str:
        """The queue's URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        options = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder))
        return [self.program, *options, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
