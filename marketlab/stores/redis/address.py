"""Where a queue is: what the URL says, completed from the settings."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec
from pydantic import SecretStr

from marketlab.config import load_settings, without_secrets
from marketlab.errors import UsageError

if TYPE_CHECKING:
    from marketlab.config import Settings

__all__ = ["NAME", "ROWS", "Address"]

NAME = "marketlab"
ROWS = 1_000_000  # packed, a trade takes about 20 bytes and a book update about 300

_KNOWN = ("name", "limit", "ca")
_NAME = re.compile(r"[\w.:-]+")
_WITH_PERCENT = "write # / ? @ [ ] in a password or an option of a redis:// URL as %23 %2F %3F %40 %5B %5D"


class Address(msgspec.Struct, frozen=True):
    """A queue's server, database and name. The password shows nowhere."""

    host: str
    port: int
    db: int
    user: str | None
    password: SecretStr | None
    tls: bool
    name: str = NAME
    limit: int = ROWS
    ca: Path | None = None

    @classmethod
    def of(cls, url: str, settings: "Settings | None" = None) -> Self:
        """What a URL says.

        Raises:
            UsageError: a part of it makes no sense; the error names it, and no password.
        """
        settings = settings or load_settings()
        parts = _split(url)
        options = _options(parts, url)
        name = options.get("name", NAME)
        if not _NAME.fullmatch(name):
            raise UsageError(f"name={name} in {without_secrets(url)} should be letters, digits, '.', ':', '_' or '-'.")
        return cls(
            host=parts.hostname or settings.redis_host or "localhost",
            port=_port(parts, url) or settings.redis_port,
            db=_number(parts.path.strip("/"), "the database", url, settings.redis_db, least=0),
            user=unquote(parts.username) if parts.username else None,
            password=SecretStr(unquote(parts.password)) if parts.password else settings.redis_password,
            tls=parts.scheme == "rediss",
            name=name,
            limit=_number(options.get("limit", ""), "limit", url, ROWS, least=1),
            ca=Path(options["ca"]) if options.get("ca") else None,
        )

    @property
    def url(self) -> str:
        """The queue's own URL, without user and password; the same for the same queue."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        name = "" if self.name == NAME else f"?name={self.name}"
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}{name}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        # None of its words, which may repeat a password.
        raise UsageError(f"{without_secrets(url)} is no URL: {_WITH_PERCENT}.") from None
    if "#" in url or "@" in f"{parts.path}{parts.query}":
        # What is before it may be one half of a password, and what is behind it the other.
        raise UsageError(f"{without_secrets(url)} is not understood: {_WITH_PERCENT}.")
    return parts


def _port(parts: SplitResult, url: str) -> int | None:
    try:
        return parts.port
    except ValueError:
        raise UsageError(f"The port in {without_secrets(url)} should be a number up to 65535.") from None


def _options(parts: SplitResult, url: str) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for option in options:
        if option not in _KNOWN:
            raise UsageError(f"{without_secrets(url)} knows no {option}=; there are {', '.join(_KNOWN)}.")
    return options


def _number(text: str, what: str, url: str, otherwise: int, *, least: int) -> int:
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise UsageError(f"{what} in {without_secrets(url)} should be a number from {least} on, not {text!r}.")
    return int(text)
