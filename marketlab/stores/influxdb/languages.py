"""Which language a question to InfluxDB is asked in."""

import re
from typing import Any

from marketlab.errors import UsageError

__all__ = ["LANGUAGES", "language_of", "require_reading"]

LANGUAGES = ("influxql", "flux", "sql")

_COMMENTS = re.compile(r"\A(\s+|//[^\n]*|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
_QUOTED = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""", re.DOTALL)
_REMARKS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_WRITING = re.compile(
    r"\s*((ALTER|CREATE|DELETE|DROP|GRANT|REVOKE|SET)\b|SELECT\b.*\bINTO\b)", re.IGNORECASE | re.DOTALL
)
_WRITING_FLUX = re.compile(r"\bto\s*\(")
_FLUX = re.compile(r"(from|buckets|union|join|array\.from|\w+(\.\w+)*)\s*\(|(import|package|option)\s|\w+\s*=")


def language_of(text: Any, version: int, named: str | None = None) -> str:
    """The language that is named, or else the one that the text is written in; of SQL and InfluxQL what the version prefers.

    Raises:
        UsageError: there is no text, or no such language.
    """
    if not isinstance(text, str) or not text.strip():
        raise UsageError("A question is a text, like SELECT … FROM ….")
    if named is not None:
        if named not in LANGUAGES:
            raise UsageError(f"language is {', '.join(LANGUAGES[:-1])} or {LANGUAGES[-1]}, not {named!r}.")
        return named
    if _FLUX.match(_COMMENTS.sub("", text)):
        return "flux"
    return "sql" if version == 3 else "influxql"


def require_reading(text: str, language: str) -> None:
    """That a question changes nothing: a slip of the pen must not cost history.

    Raises:
        UsageError: it holds a statement of InfluxQL that changes data or rights, or Flux that writes.
    """
    words = _QUOTED.sub('""', text)
    if language == "influxql":
        reads = not any(_WRITING.match(statement) for statement in _REMARKS.sub(" ", words).split(";"))
    else:
        reads = language != "flux" or not _WRITING_FLUX.search(re.sub(r"//[^\n]*", "", words))
    if not reads:
        raise UsageError(
            "A question only reads; to remove rows there is store.delete(...), and for all else store.client() or the "
            "server's own tools."
        )
