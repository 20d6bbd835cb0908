"""Where a store is and how one gets there; the only place that knows the password."""

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from marketlab.errors import UsageError

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["Address"]

_PUBLIC = "public"
_FORM = "write it like postgresql://user:password@host:5432/database?schema=public, with %40 %2F %3F for @ / ? in the password"
_UNLESS_GIVEN = {
    "connect_timeout": "10",
    "fallback_application_name": "marketlab",
    # A host that is gone without a word is noticed within a minute, not within two hours.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


class Address(msgspec.Struct, frozen=True):
    """A schema in a database. `parameters` are what libpq is told, the password among them; only `url` may be shown."""

    parameters: dict[str, str]
    schema: str = _PUBLIC

    @classmethod
    def of(cls, url: str, settings: "Settings | None" = None) -> Self:
        """What a URL says, and where it says nothing, the settings.

        Raises:
            UsageError: the URL is none, or names a setting that does not exist.
        """
        base, _, query = url.partition("?")
        # To libpq a plus is a plus.
        asked = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
        schema = asked.pop("schema", _PUBLIC)
        _require_known(asked, query)
        # PostgreSQL cuts what is longer without a word, and keeps the beginning for its own.
        wrong = not schema or len(schema.encode()) > 63 or "\0" in schema or schema.startswith("pg_")
        # Behind a question mark in a password there is more of the password.
        if wrong or ("@" in schema and "@" in query):
            raise UsageError(
                "The URL's schema cannot be one: its name has 1 to 63 bytes, does not begin with pg_, and an @ in it is "
                f"written as %40; {_FORM}."
            )
        told = _told(f"{base}?{urlencode(asked, quote_via=quote)}")
        given = {name: str(value) for name, value in told.items() if value}
        return cls({**_UNLESS_GIVEN, **_of_settings(settings), **given}, schema)

    @property
    def url(self) -> str:
        """Without user, password and the like."""
        host, port = self.parameters.get("host", ""), self.parameters.get("port", "")
        # A folder with a socket in it is not a host, and which one it is matters to nobody else.
        place = "" if host.startswith("/") else f"[{host}]" if ":" in host else host
        where = f"{place}:{port}" if place and port else place
        schema = "" if self.schema == _PUBLIC else f"?schema={quote(self.schema, safe='')}"
        return f"postgresql://{where}/{quote(self.parameters.get('dbname', ''), safe='')}{schema}"

    def beside(self, schema: str) -> "Address":
        """Another schema of the same database."""
        return Address(self.parameters, schema)

    def __repr__(self) -> str:
        return f"<Address {self.url}>"


def _require_known(asked: dict[str, str], query: str) -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    unknown = sorted(set(asked) - known)
    if unknown:
        # Behind a question mark in a password there is more of the password.
        what = "" if "@" in query else f" {', '.join(unknown)}"
        raise UsageError(
            f"The URL of a PostgreSQL database has an unknown setting{what}: after the question mark it takes schema and "
            f"libpq's own, such as sslmode or connect_timeout; {_FORM}."
        )


def _told(url: str) -> dict[str, Any]:
    # None of libpq's words, which repeat the URL with the password.
    wrong = UsageError(f"This is not the URL of a PostgreSQL database; {_FORM}.")
    user = url.partition("://")[2].partition("?")[0].rpartition("@")[0]
    # libpq takes what is before the first of these for the whole password, and the rest of it for a host or a database.
    if "@" in user or "/" in user:
        raise wrong
    try:
        told = conninfo_to_dict(url)
    except psycopg.Error:
        raise wrong from None
    if any(port and not port.isdecimal() for port in str(told.get("port", "")).split(",")):
        raise wrong
    return told


def _of_settings(settings: "Settings | None") -> dict[str, str]:
    if settings is None:
        return {}
    password = settings.postgres_password
    found = {
        "host": settings.postgres_host,
        # The usual port is libpq's default too, and left to it, so that PGPORT counts.
        "port": None if settings.postgres_port == 5432 else str(settings.postgres_port),
        "user": settings.postgres_user,
        "password": None if password is None else password.get_secret_value(),
        "dbname": settings.postgres_db,
    }
    return {name: value for name, value in found.items() if value}
