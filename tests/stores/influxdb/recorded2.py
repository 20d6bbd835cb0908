"""What a real InfluxDB 2.7 was asked and answered, and a server that answers so again: a recorded answer fits only its request."""

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

__all__ = ["FOLDER", "Exchange", "exchange", "names", "serving"]

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "influxdb2"
_OF_THE_CONNECTION = {"transfer-encoding", "connection", "content-length", "date"}


class Exchange(msgspec.Struct, frozen=True):
    """One request and its answer, bodies as they went over the wire."""

    name: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer_headers: dict[str, str]
    answer: bytes

    def fits(self, method: str, target: str, body: bytes) -> bool:
        """Whether this is the request that was recorded."""
        here, there = urlsplit(self.target), urlsplit(target)
        same = (self.method, here.path, sorted(parse_qsl(here.query, keep_blank_values=True))) == (
            method,
            there.path,
            sorted(parse_qsl(there.query, keep_blank_values=True)),
        )
        return same and _meaning(self.body) == _meaning(body)


def names() -> list[str]:
    """All recorded exchanges; none where the recordings are absent."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def exchange(name: str) -> Exchange:
    """One of them."""
    held = json.loads((FOLDER / f"{name}.json").read_text())
    asked, told = held["request"], held["response"]
    return Exchange(
        name,
        asked["method"],
        asked["path_and_query"],
        asked["headers"],
        _bytes(asked),
        told["status"],
        told["headers"],
        _bytes(told),
    )


@contextmanager
def serving(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Answers these exchanges alone; gives host and port. At the end no request may have come that was not recorded."""
    strange: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            found = next((one for one in exchanges if one.fits(self.command, self.path, body)), None)
            if found is None:
                strange.append(f"{self.command} {self.path} {body!r}")
            self.send_response(418 if found is None else found.status)
            for name, value in {} if found is None else found.answer_headers.items():
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            answer = b"" if found is None else found.answer
            if found is None or found.status != 204:
                self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_HEAD = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not strange, f"Never recorded: {strange}"


def _bytes(side: dict[str, Any]) -> bytes:
    return base64.b64decode(side["body_base64"]) if "body_base64" in side else (side.get("body") or "").encode()


def _meaning(body: bytes) -> Any:
    """A body without what does not matter: whether it is packed, and how its JSON is laid out."""
    if body.startswith(b"\x1f\x8b"):
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError):
            return body
    try:
        return json.loads(body)
    except ValueError:
        return body
