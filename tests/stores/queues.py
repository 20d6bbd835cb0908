"""Where the suite of queues finds each kind of queue: an empty place of its own for every test, with room for 1,000 rows."""

import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

import pytest

from marketlab.stores.contract import Queue
from marketlab.stores.open import open_queue

from ..servers import RedisServer

__all__ = ["LIMIT", "QUEUES", "Place", "TlsServer"]

LIMIT = 1_000

Place: TypeAlias = Callable[[pytest.FixtureRequest], AbstractContextManager[Callable[[], Queue]]]


class TlsServer(RedisServer):
    """Redis that speaks TLS only, with a certificate that it has signed itself."""

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        if not key.exists():
            asked = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
            asked += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
            subprocess.run(asked, check=True, capture_output=True)
        command = super()._command()
        command[command.index("--port")] = "--tls-port"
        files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
        return [*command, "--port", "0", *files, "--tls-auth-clients", "no"]


@contextmanager
def plain(request: pytest.FixtureRequest) -> Iterator[Callable[[], Queue]]:
    server: RedisServer = request.getfixturevalue("redis")
    name = secrets.token_hex(6)
    yield lambda: open_queue(f"{server.url}?name={name}&limit={LIMIT}")


@contextmanager
def encrypted(request: pytest.FixtureRequest) -> Iterator[Callable[[], Queue]]:
    server: TlsServer = request.getfixturevalue("redis_tls")
    name, certificate = secrets.token_hex(6), server.folder / "certificate.pem"
    yield lambda: open_queue(f"{server.url}?name={name}&limit={LIMIT}&ca={certificate}")


QUEUES: dict[str, Place] = {"redis": plain, "rediss": encrypted}
