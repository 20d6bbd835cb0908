"""What PostgreSQL's errors mean to whoever asked: one table by its codes, one by the words of a failed connection."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from marketlab.errors import StoreDenied, StoreError, StoreUnavailable, UsageError, WriteRejected

__all__ = ["answering", "has_passed", "mistake", "misunderstood"]

_PASSWORD = "does not accept the user and password: check the URL, POSTGRES_USER and POSTGRES_PASSWORD"
_DATABASE = "has no such database: make it (createdb), or name another one in the URL or in POSTGRES_DB"
_USER = "does not let this user in from here: check the URL and POSTGRES_USER, or the server's pg_hba.conf"
_FULL = "has no more connections to give: close some, or raise its max_connections"
_STARTING = "is starting or shutting down and answers later"
_TLS = "cannot be reached over TLS as asked: check sslmode and sslrootcert in the URL"
_BROKEN = "broke the connection off"
_ELSE = "is not a PostgreSQL server: check host and port"

# Five letters name one error, two a class of them (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_BY_CODE: dict[str, tuple[type[StoreError], str]] = {
    "22": (WriteRejected, "refuses rows for their values: {words}"),
    "23": (WriteRejected, "refuses rows for a constraint: {words}"),
    "54": (WriteRejected, "refuses rows for their size: {words}"),
    "25006": (StoreDenied, "is read-only, like a standby: write to the primary server"),
    "28": (StoreDenied, _USER),
    "28P01": (StoreDenied, _PASSWORD),
    "3D000": (StoreDenied, _DATABASE),
    "40": (StoreUnavailable, "gave way to another writer"),
    "42": (StoreDenied, "has other tables than these ({words}): name another schema (?schema=...) in the URL"),
    "42501": (
        StoreDenied,
        "does not permit this to the user ({words}): grant the right, or name another schema (?schema=...)",
    ),
    "53": (StoreUnavailable, "has run out of something: {words}"),
    "53100": (StoreUnavailable, "has a full disk: free some room there"),
    "53200": (StoreUnavailable, "has run out of memory"),
    "53300": (StoreUnavailable, _FULL),
    "57": (StoreUnavailable, "broke off: {words}"),
    "57014": (StoreUnavailable, "broke off, since it took longer than its statement_timeout"),
    "57P03": (StoreUnavailable, _STARTING),
}
# A connection that was not made has no code; libpq's own words are English, the server's nearly always.
_BY_WORDS: tuple[tuple[str, type[StoreError], str], ...] = (
    ("too many c", StoreUnavailable, _FULL),
    ("connection slots", StoreUnavailable, _FULL),
    ("password", StoreDenied, _PASSWORD),
    ("authentication failed", StoreDenied, _USER),
    ("pg_hba.conf", StoreDenied, _USER),
    ("permission denied for database", StoreDenied, _USER),
    ("role ", StoreDenied, _USER),
    ("database system is", StoreUnavailable, _STARTING),
    ("not yet accepting connections", StoreUnavailable, _STARTING),
    ("database ", StoreDenied, _DATABASE),
    ("invalid response to SSL negotiation", StoreDenied, _ELSE),
    ("expected authentication request", StoreDenied, _ELSE),
    # Of a connection over TLS that was there and is lost.
    ("SSL SYSCALL", StoreUnavailable, _BROKEN),
    ("SSL connection has been closed", StoreUnavailable, _BROKEN),
    ("unexpected eof", StoreUnavailable, _BROKEN),
    ("reset by peer", StoreUnavailable, _BROKEN),
    ("SSL", StoreDenied, _TLS),
    ("certificate", StoreDenied, _TLS),
    (
        "Connection refused",
        StoreUnavailable,
        "cannot be reached, nothing listens there: start the server, or check host and port",
    ),
    ("resolve", StoreUnavailable, "cannot be found: check the host's name"),
    ("not known", StoreUnavailable, "cannot be found: check the host's name"),
    ("No such file", StoreUnavailable, "cannot be reached by a local socket: start the server, or name its host"),
    ("timeout", StoreUnavailable, "does not answer in time: check host, port and firewall"),
    ("no route", StoreUnavailable, "cannot be reached from here: check the host and the network"),
    ("unreachable", StoreUnavailable, "cannot be reached from here: check the host and the network"),
    ("closed the connection", StoreUnavailable, _BROKEN),
    ("lost", StoreUnavailable, _BROKEN),
)
_TOO_SOON = frozenset({"40001", "40P01"})  # serialization failure and deadlock: the other one is through by now
_GONE = frozenset({"42P01", "3F000"})  # no such table or schema


def mistake(url: str, error: psycopg.Error) -> StoreError:
    """Our error for one of PostgreSQL's, as one sentence."""
    words = _words(error)
    code = error.sqlstate or ""
    kind, sentence = _BY_CODE.get(code) or _BY_CODE.get(code[:2]) or _by_words(words)
    return kind(f"{url} {sentence.format(words=words)}.")


def _by_words(words: str) -> tuple[type[StoreError], str]:
    for sign, kind, sentence in _BY_WORDS:
        if sign.lower() in words.lower():
            return kind, sentence
    return StoreUnavailable, "failed: {words}"


def misunderstood(url: str, error: psycopg.Error) -> UsageError | StoreError:
    """The same for a question that somebody wrote: then it is the question."""
    if (error.sqlstate or "")[:2] in ("", "08", "28", "40", "53", "57") or error.sqlstate == "42501":
        return mistake(url, error)
    return UsageError(f"{url} does not understand this: {_words(error)}.")


def has_passed(error: psycopg.Error, connection: psycopg.Connection) -> bool:
    """Whether the same is worth trying at once: another writer was in the way, or a connection or table had gone."""
    return connection.closed or error.sqlstate in _TOO_SOON | _GONE


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turns PostgreSQL's errors into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise mistake(url, error) from error


def _words(error: psycopg.Error) -> str:
    found = error.diag.message_primary or str(error)
    return " ".join(found.split())[:300].rstrip(".")
