"""What silence and refusals of a server mean: each is one sentence, and says when to come back."""

import gzip
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

import pytest

from marketlab.errors import StoreDenied, StoreUnavailable, UsageError, WriteRejected
from marketlab.stores.influxdb.address import Address
from marketlab.stores.influxdb.client import Client
from marketlab.stores.influxdb.dialect import Dialect
from marketlab.stores.influxdb.version1 import Version1
from marketlab.stores.influxdb.version2 import Version2
from marketlab.stores.influxdb.version3 import Version3
from marketlab.stores.selection import Selection


@contextmanager
def answering(answer: bytes, *, host: str = "127.0.0.1", got: list[bytes] | None = None) -> Iterator[Client]:
    """A server that says these bytes to every request and hangs up, and a client of it."""
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(65_536)
                    if got is not None:
                        got.append(head)
                    connection.sendall(answer)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        client = Client(Address.of(f"influxdb://{host}:{port}/lab"), {})
        try:
            yield client
        finally:
            client.close()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def http(status: str, body: str = "", **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", body]).encode()


def told(asking: Callable[[], object], kind: type[Exception]) -> Any:
    with pytest.raises(kind) as caught:
        asking()
    assert type(caught.value) is kind
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 No", "502 No", "503 Busy", "504 No", "408 Late"])
def test_a_server_that_is_busy_is_asked_again(status: str) -> None:
    with answering(http(status, '{"message": "later"}', Retry_After="7")) as client:
        error = told(lambda: client.send("POST", "/write", content=b"x"), StoreUnavailable)
    assert error.retry_after == 7.0
    assert "later" in str(error)
    with answering(http(status)) as client:
        assert told(lambda: client.send("POST", "/write"), StoreUnavailable).retry_after is None


def test_a_date_says_when_to_come_back_too() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    with answering(http("503 Busy", Retry_After=soon)) as client:
        assert 30 < told(lambda: client.send("POST", "/write"), StoreUnavailable).retry_after <= 91
    for text in ("Thu, 01 Jan 1970 00:00:00 GMT", "-5"):
        with answering(http("503 Busy", Retry_After=text)) as client:
            assert told(lambda: client.send("POST", "/write"), StoreUnavailable).retry_after == 0.0
    with answering(http("503 Busy", Retry_After="soon")) as client:
        assert told(lambda: client.send("POST", "/write"), StoreUnavailable).retry_after is None


def test_too_large_is_a_refusal_unless_the_server_says_when_to_come_back() -> None:
    with answering(http("413 Too Large", '{"error": "too large"}')) as client:
        told(lambda: client.send("POST", "/write", refused=lambda words: WriteRejected(f"{words}.")), WriteRejected)
    with answering(http("413 Too Large", Retry_After="3")) as client:
        assert told(lambda: client.send("POST", "/write"), StoreUnavailable).retry_after == 3.0


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted"])
def test_only_the_answer_of_an_influxdb_to_a_write_means_that_it_is_stored(status: str) -> None:
    with answering(http(status, "<html>please log in</html>", Content_Type="text/html")) as client:
        for dialect in of_each_version(client.address):
            assert "something else than InfluxDB" in str(told(partial(dialect.write, b"a v=1 1"), StoreUnavailable))
            dialect.close()
    with answering(http("204 No Content")) as client:
        for dialect in of_each_version(client.address):
            dialect.write(b"a v=1 1")
            dialect.close()


def of_each_version(address: Address) -> list[Dialect]:
    class Trusting(Version3):
        def exists(self) -> bool:
            return True

    return [Version1(address), Version2(replace(address, org="lab")), Trusting(address)]


HTML = "<html>please log in</html>"
UNREADABLE = [
    HTML,
    "<html>\n<body>\n1,2\n</body>\n</html>",
    "",
    "[",
    '{"orgs": 1, "buckets": "x", "results": {}}',
    '{"other": ' + "[" * 100_000,
]


@pytest.mark.parametrize("body", UNREADABLE)
@pytest.mark.parametrize("kind", ["text/html", "text/csv", "application/json", "application/x-msgpack"])
def test_an_answer_that_cannot_be_read_is_told(body: str, kind: str) -> None:
    with answering(http("200 OK", body, Content_Type=kind)) as client:
        one, two = Version1(client.address), Version2(client.address)
        asked = Selection.of("trades")
        asking: list[Callable[[], object]] = [
            one.exists,
            one.create,
            one.measurements,
            partial(one.query, "SHOW DATABASES", "influxql"),
            lambda: list(one.rows(asked, ["price"])),
            two.exists,
            two.create,
            partial(two.write, b"a v=1 1"),
            lambda: list(two.rows(asked, ["price"])),
        ]
        for ask in asking:
            told(ask, StoreUnavailable)
        one.close()
        two.close()


@pytest.mark.parametrize(
    ("kind", "body"),
    [("text/html", HTML), ("text/csv", "#datatype,long\n,a,b\n,1,2\n"), ("text/csv", "#datatype,long\n,a\n,x\n")],
)
def test_what_is_no_answer_of_flux_is_told(kind: str, body: str) -> None:
    with answering(http("200 OK", body, Content_Type=kind)) as client:
        two = Version2(replace(client.address, org="lab"))
        told(lambda: two.query('from(bucket: "lab")', "flux"), StoreUnavailable)
        two.close()


def test_words_that_are_no_text_are_told_as_they_are() -> None:
    for body in (b'{"message": "\xff\xfe"}', b'{"other": ' + b"[" * 100_000):
        answer = http("400 Bad Request").replace(b"Length: 0", b"Length: %d" % len(body)) + body
        with answering(answer) as client:
            told(lambda: client.send("GET", "/query"), UsageError)


def test_what_is_no_influxdb_is_told() -> None:
    for status in ("404 Not Found", "405 No", "301 Moved", "303 See Other"):
        with answering(http(status, "<html>nothing here</html>")) as client:
            assert "mend host, port and version" in str(told(lambda: client.send("GET", "/ping"), StoreDenied))
    with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as client:
        told(lambda: client.send("GET", "/ping"), StoreUnavailable)
    with answering(http("400 Bad Request", "Client sent an HTTP request to an HTTPS server.")) as client:
        assert "tls=true" in str(told(lambda: client.send("GET", "/ping"), StoreDenied))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf",
        b"HTTP/1.1 500 OK\r\nContent-Length: 100\r\n\r\nhalf",
    ],
)
def test_an_answer_that_broke_off_is_an_error(answer: bytes) -> None:
    with answering(answer) as client:
        told(lambda: client.send("GET", "/query"), StoreUnavailable)

        def read() -> None:
            with client.stream("GET", "/query") as pieces:
                list(pieces)

        told(read, StoreUnavailable)


def test_a_question_that_is_refused_is_told_in_the_servers_words() -> None:
    with answering(http("400 Bad Request", '{"code":"invalid","message":"found X,\\n expected Y"}')) as client:
        assert "found X, expected Y" in str(told(lambda: client.send("GET", "/query"), UsageError))


@pytest.mark.parametrize(
    ("host", "path", "packed"),
    [("127.0.0.1", "/write", False), ("127.0.0.2", "/write", True), ("127.0.0.2", "/query", False)],
)
def test_lines_are_packed_on_their_way_to_another_machine_and_questions_never(
    host: str, path: str, packed: bool
) -> None:
    got: list[bytes] = []
    with answering(http("204 No Content"), host=host, got=got) as client:
        client.send("POST", path, content=b"a v=1 1")
    head, _, body = got[0].partition(b"\r\n\r\n")
    assert (b"content-encoding: gzip" in head.lower()) is packed
    assert not body or (gzip.decompress(body) if packed else body) == b"a v=1 1"


def test_a_server_that_keeps_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(Address.of(f"influxdb://127.0.0.1:{server.getsockname()[1]}/lab"), {})
        assert "stopped answering" in str(told(lambda: client.send("GET", "/ping", seconds=0.2), StoreUnavailable))
        client.close()


def test_a_certificate_that_nobody_vouches_for_is_told(tmp_path: Path, absent: Callable[[str, str], NoReturn]) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        absent("openssl", "openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run([openssl, *made, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Quiet(HTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    client = Client(Address.of(f"influxdb://127.0.0.1:{server.server_port}/lab?tls=true"), {})
    try:
        words = str(told(lambda: client.send("GET", "/ping"), StoreDenied))
    finally:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()
    assert "certificate verify failed" in words
    assert "SSL_CERT_FILE" in words
