"""One kept-alive HTTP connection pool to an InfluxDB server, and what its silence and its refusals mean.

Every way in which a server can fail us is told here, once, in one sentence that says what to do; secrets are in none.
"""

import gzip
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
import polars as pl

from marketlab.errors import MarketlabError, StoreDenied, StoreUnavailable, UsageError
from marketlab.stores.influxdb.address import Address

__all__ = ["Client", "Complaint", "told"]

_CONNECT_S, _WRITE_S, _READ_S = 10.0, 30.0, 300.0
_PIECE = 1 << 20
_BUSY = (408, 425, 429)
_STORED = 204
_UNPACKING = ("/write", "/api/v2/write", "/api/v3/write_lp")
"""Where a server unpacks what it gets; elsewhere it would take the packed bytes for the question."""

Complaint = Callable[[str], MarketlabError]
"""Makes the error for a request that the server understands and refuses, from its words."""


class Client:
    """Sends requests to one server. Safe to use from several threads.

    Args:
        address: of the server and the database.
        headers: go with every request; who asks, above all.
        database: what the server calls a database, in messages.
    """

    def __init__(self, address: Address, headers: Mapping[str, str], *, database: str = "database") -> None:
        self.address = address
        self._called = database
        self._compresses = not address.is_local
        self._http = httpx.Client(
            base_url=address.origin,
            # On loopback, packing costs more than it saves: 78.6k rows/s become 57.6k.
            headers={"Accept-Encoding": "gzip" if self._compresses else "identity", **headers},
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S, write=_WRITE_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
            # The system's authorities, and those of SSL_CERT_FILE.
            verify=ssl.create_default_context() if address.tls else False,
            trust_env=not address.is_local,
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        seconds: float = _READ_S,
        refused: Complaint | None = None,
    ) -> httpx.Response:
        """The whole answer to a request.

        Args:
            method: of HTTP.
            path: below the server's address.
            params: the query.
            content: the body; lines are packed on their way to another machine.
            headers: of this request.
            seconds: how long the server may keep silent.
            refused: makes the error where the server understands the request and refuses it (400, 413, 422 and their like); a UsageError
                with its words, if not given.

        Raises:
            StoreUnavailable: no answer, a server that is too busy, or an answer that broke off.
            StoreDenied: the server says no to who asks or where to.
        """
        answer = self.ask(method, path, params=params, content=content, headers=headers, seconds=seconds)
        self.require_good(answer, refused)
        return answer

    def store(
        self, path: str, *, params: Mapping[str, str], content: bytes, seconds: float, refused: Complaint
    ) -> None:
        """Have the server store lines; otherwise as `send`.

        Raises:
            StoreUnavailable: also where the answer is not the one that every InfluxDB gives to lines that it has stored.
        """
        answer = self.send("POST", path, params=params, content=content, seconds=seconds, refused=refused)
        if answer.status_code != _STORED:
            raise StoreUnavailable(
                f"{self.name} says {answer.status_code} to a write and not {_STORED}, so something else than InfluxDB answers "
                "there, such as a proxy or a login page; nothing counts as stored, mend host and port."
            )

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        seconds: float = _READ_S,
    ) -> httpx.Response:
        """The whole answer, whatever its status; raises StoreUnavailable and StoreDenied where there is none."""
        request = self._request(method, path, params, content, headers, seconds)
        with self._told():
            return self._http.send(request)

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        refused: Complaint | None = None,
    ) -> Iterator[Iterator[bytes]]:
        """The answer to a request in pieces, while it comes; otherwise as `send`."""
        request = self._request(method, path, params, content, headers, _READ_S)
        with self._told():
            answer = self._http.send(request, stream=True)
        try:
            if not answer.is_success:
                with self._told():
                    answer.read()
                self.require_good(answer, refused)
            yield self._pieces(answer)
        finally:
            answer.close()

    def require_good(self, answer: httpx.Response, refused: Complaint | None = None) -> None:
        """That an answer is one of success; see `send` for what it raises otherwise."""
        if answer.is_success:
            return
        status, words = answer.status_code, told(answer)
        denied = self.denied(words)
        if denied is not None:
            raise denied
        if status in (401, 403):
            raise StoreDenied(
                f"{self.name} refuses who asks ({words or status}); mend the token, or user and password, in the URL or "
                "in INFLUXDB_TOKEN."
            )
        if status >= 500 or status in _BUSY or "retry-after" in answer.headers:
            raise StoreUnavailable(
                f"{self.name} cannot do this just now ({status} {words or answer.reason_phrase}); try again.",
                retry_after=_seconds(answer.headers.get("retry-after")),
            )
        if status in (404, 405) or 300 <= status < 400:
            raise StoreDenied(
                f"{self.name} has nothing at {answer.request.url.path} ({status} {words}); mend host, port and version."
            )
        raise (refused or self.misunderstood)(words or f"status {status}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within, an answer of success that nobody can make sense of becomes a StoreUnavailable."""
        try:
            yield
        except (ValueError, RecursionError, pl.exceptions.PolarsError) as error:
            reason = _reason(error).partition("\n")[0][:200]
            raise StoreUnavailable(
                f"{self.name} sent an answer that cannot be read ({reason}); see whether it is InfluxDB that answers there."
            ) from None

    def misunderstood(self, words: str) -> UsageError:
        """The error for a question that the server cannot answer, in its words."""
        return UsageError(f"{self.name} does not understand this: {words}.")

    def denied(self, words: str) -> StoreDenied | None:
        """The error for a database or organisation that is not there, if that is what the server's words say."""
        address = self.address
        if re.search(r"HTTP request to an HTTPS server", words):
            return StoreDenied(f"{self.name} speaks TLS; add tls=true to the URL.")
        if re.search(r"organi[sz]ation .*not found|either orgID or org", words):
            return StoreDenied(
                f"{self.name} has no organisation {address.org!r}, or the token may not see it; mend org= in the URL or "
                "INFLUXDB_ORG."
            )
        if re.search(
            r"(database|bucket|dbrp mapping).*\bnot f|could not find bucket|no dbrp mapping", words, re.IGNORECASE
        ):
            return StoreDenied(
                f"{self.name} has no {self._called} {address.database!r}, or who asks may not see it; make it, mend the name, "
                "or add create=true to the URL."
            )
        if re.search(r"not authorized|insufficient permissions|is unauthorized", words):
            return StoreDenied(f"{self.name} does not allow this ({words}); give the token or user the right to it.")
        return None

    @property
    def name(self) -> str:
        """How the server is called in messages."""
        return f"InfluxDB at {self.address.netloc}"

    def close(self) -> None:
        """Close the connections; twice is once."""
        self._http.close()

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        content: bytes,
        headers: Mapping[str, str] | None,
        seconds: float,
    ) -> httpx.Request:
        sent = dict(headers or {})
        if content and self._compresses and path in _UNPACKING:
            content = gzip.compress(content, 1)
            sent["Content-Encoding"] = "gzip"
        timeout = httpx.Timeout(seconds, connect=_CONNECT_S, write=_WRITE_S)
        return self._http.build_request(method, path, params=params, content=content, headers=sent, timeout=timeout)

    def _pieces(self, answer: httpx.Response) -> Iterator[bytes]:
        with self._told():
            yield from answer.iter_bytes(_PIECE)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> MarketlabError:
        # Every exception of httpx that a request can meet, the more special first.
        reason = _reason(error)
        if isinstance(error, httpx.ConnectError) and re.search(r"SSL|TLS|certificate", reason):
            return StoreDenied(f"{self.name} cannot be trusted or speaks no TLS ({_tls(reason)}); {_TLS_HINT}.")
        sentences: tuple[tuple[type[Exception], str], ...] = (
            (
                httpx.ConnectTimeout,
                f"did not answer within {_CONNECT_S:.0f} s; see whether it runs and mend host and port",
            ),
            (httpx.TimeoutException, "stopped answering; try again"),
            (httpx.ConnectError, f"cannot be reached ({reason}); see whether it runs and mend host and port"),
            (httpx.UnsupportedProtocol, f"has no URL that can be asked ({reason}); mend host and port"),
            (httpx.InvalidURL, f"has no URL that can be asked ({reason}); mend host and port"),
            (
                httpx.RemoteProtocolError,
                f"broke off in the middle ({reason}); nothing of the answer is given, try again, and see whether it is InfluxDB "
                "that listens there",
            ),
            (httpx.DecodingError, f"sent an answer that cannot be unpacked ({reason}); nothing of it is given"),
            (Exception, f"broke off in the middle ({reason}); nothing of the answer is given, try again"),
        )
        return StoreUnavailable(f"{self.name} {next(words for kind, words in sentences if isinstance(error, kind))}.")


_TLS_HINT = "mend tls= in the URL, or name the authority's certificate in SSL_CERT_FILE"


class _Line(msgspec.Struct):
    error_message: str
    line_number: int


class _Told(msgspec.Struct):
    message: str = ""
    error: str = ""
    data: _Line | list[_Line] | None = None
    """Which lines 3.x refuses."""


def told(answer: httpx.Response) -> str:
    """What a server says about a request that it refuses, in one line."""
    packed = answer.headers.get("content-type", "").startswith("application/x-msgpack")
    try:
        found = (msgspec.msgpack if packed else msgspec.json).decode(answer.content, type=_Told)
    except (ValueError, RecursionError):
        words = "" if packed else answer.text
    else:
        lines = [found.data] if isinstance(found.data, _Line) else found.data or []
        words = "; ".join(f"line {line.line_number}: {line.error_message}" for line in lines)
        words = words or found.message or found.error
    return " ".join(words.split())[:500]


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _tls(reason: str) -> str:
    found = re.search(r"(certificate verify failed: .*?|wrong version number|[a-z ]+)( \(_ssl|$)", reason)
    return found.group(1).strip() if found else reason


def _seconds(text: str | None) -> float | None:
    """`Retry-After`, which is a number of seconds or a date."""
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment: Any = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, float((moment - datetime.now(UTC)).total_seconds()))
