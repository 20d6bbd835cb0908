"""Which language a question to InfluxDB is asked in."""

import re
from typing import Any

from marketlab.errors import UsageError

__all__ = ["LANGUAGES", "language_of"]

LANGUAGES = ("influxql", "flux", "sql")

_COMMENTS = re.compile(r"\A(\s+|//[^\n]*|--[^\n]*|/\*.*?\*/)+", re.DOTALL)
_FLUX = re.compile(r"(from|buckets|union|join|array\.from|\w+(\.\w+)*)\s*\(|(import|package|option)\s|\w+\s*=")


def language_of(text: Any, version: int, named: str | None = None) -> str:
    """The language that is named, or else the one that the text is written in; of SQL and InfluxQL what the version prefers.

    Raises:
        UsageError: there is no text, or no such language.
    """
    if named is not None:
        if named not in LANGUAGES:
            raise UsageError(f"language is {', '.join(LANGUAGES[:-1])} or {LANGUAGES[-1]}, not {named!r}.")
        return named
    if not isinstance(text, str) or not text.strip():
        raise UsageError("A question is a text, like SELECT … FROM ….")
    if _FLUX.match(_COMMENTS.sub("", text)):
        return "flux"
    return "sql" if version == 3 else "influxql"
