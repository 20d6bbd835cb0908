"""An InfluxDB 3 Core to test against: HTTP and Flight SQL on one port of the loopback, in this process.

It speaks what the store needs of the real one, and is itself held against recorded answers of it (see test_server3.py).
Its limit of files is adjustable: rows lie in files of `block` seconds, and a question that would open `files` is refused.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from pyarrow import flight

from .catalog import Catalog
from .sql import Answer, Refused, ask
from .web import Reply, Request, Web

__all__ = ["Server3"]


class Server3:
    """Runs while its context does. `recorded` answers questions in InfluxQL, by database and text."""

    def __init__(self, *, token: str | None = None, files: int = 432, block: float = 600.0) -> None:
        self.catalog = Catalog(int(block * 1e9))
        self.web = Web(self.catalog, token, files)
        self.recorded: dict[tuple[str, str], pa.Table] = {}
        self.requests: list[Request] = []
        """What came over HTTP."""
        self.asked: list[str] = []
        """The questions that came over Flight."""
        self.breaks_after: int | None = None
        """How many bytes of a Flight answer go out before the connection breaks; None: all."""
        self._port = 0

    @property
    def host(self) -> str:
        """As people write it: `127.0.0.1:port`."""
        return f"127.0.0.1:{self._port}"

    def url(self, database: str) -> str:
        """The store's URL of a database."""
        return f"influxdb://{self.host}/{database}?version=3"

    def start(self) -> Self:
        """Answer; a started one keeps its port and its data."""
        self._flight = _served_by_flight(self)
        self._front = _Front(self, ("127.0.0.1", self._port), self._flight.port)
        self._port = self._front.server_address[1]
        Thread(target=self._front.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Cut every connection and answer no more."""
        self._front.shutdown()
        self._front.server_close()
        self._front.cut()
        self._flight.shutdown()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Front(ThreadingHTTPServer):
    """The one port: what begins as HTTP/2 goes on to Flight, byte by byte; the rest is HTTP."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, server: Server3, address: tuple[str, int], flight_port: int) -> None:
        self.server = server
        self._flight_port = flight_port
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """One connection."""
        self._keep(request)
        with suppress(OSError):
            if request.recv(3, socket.MSG_PEEK | socket.MSG_WAITALL) != b"PRI":
                super().finish_request(request, client_address)
                return
            with socket.create_connection(("127.0.0.1", self._flight_port)) as behind:
                self._keep(behind)
                Thread(target=_pass_on, args=(request, behind), daemon=True).start()
                _pass_on(behind, request, self.server.breaks_after)

    def cut(self) -> None:
        """End all connections."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hung up need not be told."""

    def _keep(self, connection: socket.socket) -> None:
        with self._lock:
            self._open = {held for held in self._open if held.fileno() != -1} | {connection}


def _pass_on(source: socket.socket, target: socket.socket, most: int | None = None) -> None:
    passed = 0
    with suppress(OSError):
        # Flight's frames are small and wait for one another.
        target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := source.recv(65_536):
            passed += len(data)
            if most is not None and passed > most:
                break
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Front

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        """One request of a connection."""
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        request = Request(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            self._body(),
        )
        self.server.server.requests.append(request)
        self._reply(self.server.server.web.answer(request))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("cluster-uuid", "00000000-0000-0000-0000-000000000000")
        if reply.mime:
            self.send_header("content-type", reply.mime)
        if self.path.startswith("/ping") and reply.status == 200:
            self.send_header("x-influxdb-build", "Core")
            self.send_header("x-influxdb-version", "3.10.1")
        if not isinstance(reply.body, Iterator):
            body = b"".join(reply.body)
            if reply.status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for piece in reply.body:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        except Refused:
            # An error in the middle of an answer: the real server breaks the stream off.
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")


def _served_by_flight(server: Server3) -> Any:
    """A Flight server on a port of its own; pyarrow has no types to derive from."""

    def start_call(self: Any, info: Any, headers: Mapping[str, list[str]]) -> None:
        if not server.web.knows(next(iter(headers.get("authorization", [])), None)):
            raise flight.FlightUnauthenticatedError("Unauthenticated")

    def do_get(self: Any, context: Any, ticket: flight.Ticket) -> flight.FlightDataStream:
        try:
            asked = json.loads(ticket.ticket)
        except ValueError:
            raise pa.ArrowInvalid("Invalid ticket. Error: Invalid ticket") from None
        return _found(server, asked)

    admission = type("Admission", (flight.ServerMiddlewareFactory,), {"start_call": start_call})
    served = type("Served", (flight.FlightServerBase,), {"do_get": do_get})
    return served("grpc://127.0.0.1:0", middleware={"admission": admission()})


def _found(server: Server3, asked: Mapping[str, Any]) -> flight.FlightDataStream:
    name, text = asked.get("database") or asked["namespace_name"], asked["sql_query"]
    server.asked.append(text)
    if asked.get("query_type") == "influxql":
        return flight.RecordBatchStream(server.recorded[name, text])
    with server.catalog.lock:
        database = server.catalog.databases.get(name)
        if database is None:
            raise flight.FlightInternalError(f"Cannot retrieve database: External error: database not found: {name}")
        try:
            found = ask(database, text, asked.get("params", {}), server.web.files)
        except Refused as error:
            if error.planned:
                raise flight.FlightInternalError(f"Error while planning query: {error}") from None
            raise pa.ArrowInvalid(f"Error while logically planning query: {error}") from None
    return flight.GeneratorStream(found.schema, _stream(found))


def _stream(found: Answer) -> Iterator[pa.RecordBatch]:
    try:
        yield from found.batches
    except Refused as error:
        raise pa.ArrowInvalid(f"Error while execution Flight SQL stream: {error}") from None
