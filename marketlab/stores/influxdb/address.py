"""Where an InfluxDB is and who asks: from a store's URL, and from the settings for what the URL leaves out.

influxdb://[user:password@|:token@]host[:port]/database?org=&version=&tls=&create=&prefix=
"""

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit
from uuid import uuid4

from marketlab.errors import UsageError

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["Address"]

_KEYS = ("create", "org", "prefix", "tls", "token", "version")
_YES_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_FORM = "influxdb://host:8086/database"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Address:
    """A server, a database (2.x: a bucket) on it, and what it takes to get in.

    Args:
        host: without scheme and port.
        version: 1, 2 or 3; None: the server is asked.
        prefix: stands before the name of every measurement.
        create: whether the database or bucket is made where it is missing.
    """

    host: str
    port: int
    database: str
    tls: bool = False
    org: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    version: int | None = None
    prefix: str = ""
    create: bool = False

    @classmethod
    def of(cls, url: str, settings: "Settings | None" = None) -> Self:
        """The address that a URL names.

        Raises:
            UsageError: the URL names no database, an unknown key, or a value that does not fit.
        """
        parts = _split(url)
        given = _options(parts.query)
        host, port, tls = _place(parts, settings)
        database = unquote(parts.path.strip("/")) or (settings and settings.influxdb_database) or ""
        if not database:
            raise UsageError(f"The URL names no database; write it like {_FORM} or set INFLUXDB_DATABASE.")
        user, password, token = _who(parts, given.get("token", ""), settings)
        version = _version(given.get("version"))
        return cls(
            host,
            port or (8181 if version == 3 else 8086),
            database,
            tls=_flag("tls", given["tls"]) if "tls" in given else tls,
            org=given.get("org") or (settings and settings.influxdb_org) or "",
            user=user,
            password=password,
            token=token,
            version=version,
            prefix=_prefix(given.get("prefix", "")),
            create="create" in given and _flag("create", given["create"]),
        )

    @property
    def netloc(self) -> str:
        """Host and port, as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        """What every request's URL begins with."""
        return f"{'https' if self.tls else 'http'}://{self.netloc}"

    @property
    def url(self) -> str:
        """The store's URL without secrets; two stores whose rows lie apart have two."""
        apart = {name: value for name, value in (("org", self.org), ("prefix", self.prefix)) if value}
        return f"influxdb://{self.netloc}/{quote(self.database, safe='')}{'?' if apart else ''}{urlencode(apart)}"

    @property
    def is_local(self) -> bool:
        """Whether what is sent stays on this machine."""
        return self.host in _LOOPBACK

    def sandbox(self) -> Self:
        """The same database, with measurements of its own."""
        return replace(self, prefix=f"sandbox_{uuid4().hex[:12]}_")


def _split(url: str) -> SplitResult:
    if "#" in url:
        raise UsageError(f"A # in an influxdb:// URL has to be written as %23; otherwise write it like {_FORM}.")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError(f"The port of an influxdb:// URL is a number up to 65535; write it like {_FORM}.") from None
    if "@" in parts.path or ("@" in parts.query and "@" in parts.netloc and not parts.hostname):
        # What is before it may be one half of a password, and what is behind it the other.
        raise UsageError(f"An @ / ? in a password or a database has to be written as %40 %2F %3F; the form is {_FORM}.")
    return parts


def _options(query: str) -> dict[str, str]:
    given = dict(parse_qsl(query, keep_blank_values=True))
    for key in given:
        if key not in _KEYS:
            if "@" in query:
                # Behind a question mark in a password there is more of the password.
                raise UsageError(f"A ? in a password has to be written as %3F; otherwise write it like {_FORM}.")
            raise UsageError(f"An influxdb:// URL has no setting {key!r}. There are: {', '.join(_KEYS)}.")
    return given


def _place(parts: SplitResult, settings: "Settings | None") -> tuple[str, int | None, bool]:
    if parts.hostname:
        return parts.hostname, parts.port, False
    named = (settings and settings.influxdb_host) or "127.0.0.1"
    found = _split(named if "://" in named else f"http://{named}")
    return found.hostname or "127.0.0.1", found.port, found.scheme == "https"


def _who(parts: SplitResult, token: str, settings: "Settings | None") -> tuple[str, str, str]:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if user:
        return user, password, ""
    if not (password or token) and settings is not None and settings.influxdb_token is not None:
        token = settings.influxdb_token.get_secret_value()
    return "", "", password or token


def _version(text: str | None) -> int | None:
    if text in (None, ""):
        return None
    if text not in ("1", "2", "3"):
        raise UsageError(f"The version of InfluxDB is 1, 2 or 3, not {text!r}; leave it out and the server is asked.")
    return int(text)


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", text):
        raise UsageError(f"prefix in an influxdb:// URL is made of letters, digits, _, . and -, not {text!r}.")
    return text


def _flag(name: str, text: str) -> bool:
    found = _YES_NO.get(text.lower())
    if found is None:
        raise UsageError(f"{name} in an influxdb:// URL is true or false, not {text!r}.")
    return found
