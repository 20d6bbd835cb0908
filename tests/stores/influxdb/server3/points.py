"""Line protocol as InfluxDB 3 Core reads it: a point, or the server's own words, for each line."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Fault", "Point", "points"]

# Quotes count only behind the first space that is not escaped.
_LINE = re.compile(r'(?:[^\n \\]|\\.)*(?: (?:[^\n"\\]|\\.|"(?:[^"\\]|\\.)*"?)*)?', re.DOTALL)
_NAME = re.compile(r"(?:[^, \\]|\\.)+", re.DOTALL)
_TAG = re.compile(r",((?:[^,= \\]|\\.)+)=", re.DOTALL)
_VALUE = re.compile(r"(?:[^,= \\]|\\.)+", re.DOTALL)
_FIELD = re.compile(
    r'((?:[^,= \\]|\\.)+)=(?:"(?P<string>(?:[^"\\]|\\.)*)"|(?P<integer>-?\d+)i|(?P<uinteger>\d+)u'
    r"|(?P<float>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<boolean>true|True|TRUE|false|False|FALSE|[tTfF]))",
    re.DOTALL,
)
_TIME = re.compile(r"(?: +(-?\d+))? *")
_ESCAPED = re.compile(r"\\([, =])")
_ESCAPED_IN_STRING = re.compile(r'\\(["\\])')


class Point(NamedTuple):
    """One point as it is written. Fields are (name, kind, value), `time` in the unit of the request."""

    table: str
    tags: dict[str, str]
    fields: list[tuple[str, str, Any]]
    time: int | None


class Fault(Exception):
    """What is wrong with a line, in the server's words."""


def points(text: str) -> Iterator[Point | Fault]:
    """One for each line that is neither blank nor a comment."""
    for line in _lines(text):
        try:
            yield _point(line)
        except Fault as fault:
            yield fault


def _lines(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        found = _LINE.match(text, place)
        assert found is not None
        line, place = found.group().lstrip(" "), found.end() + 1
        if line and not line.startswith("#"):
            yield line


def _point(line: str) -> Point:
    name = _NAME.match(line)
    assert name is not None
    tags, place = _tags(line, name.end())
    while line[place : place + 1] == " ":
        place += 1
    fields, place = _fields(line, place)
    stamp = _TIME.match(line, place)
    assert stamp is not None
    if stamp.end() < len(line):
        raise Fault(f"Could not parse entire line. Found trailing content: `{_cut(line[stamp.end() :])}`")
    return Point(_plain(name.group()), tags, fields, int(stamp[1]) if stamp[1] else None)


def _tags(line: str, place: int) -> tuple[dict[str, str], int]:
    tags: dict[str, str] = {}
    while key := _TAG.match(line, place):
        value = _VALUE.match(line, key.end())
        if value is None:
            raise Fault(f"Expected tag value, got `{_cut(line[key.end() :])}`")
        tags[_plain(key[1])] = _plain(value.group())
        place = value.end()
    return tags, place


def _fields(line: str, place: int) -> tuple[list[tuple[str, str, Any]], int]:
    fields: list[tuple[str, str, Any]] = []
    at = place
    while found := _FIELD.match(line, at):
        kind = str(found.lastgroup)
        fields.append((_plain(found[1]), kind, _value(kind, found[kind])))
        place = found.end()
        if line[place : place + 1] != ",":
            break
        at = place + 1
    if not fields:
        raise Fault("No fields were provided")
    return fields, place


def _value(kind: str, text: str) -> Any:
    if kind == "string":
        return _ESCAPED_IN_STRING.sub(r"\1", text)
    if kind == "boolean":
        return text[0] in "tT"
    if kind == "float":
        return float(text)
    number = int(text)
    least, most = (-(2**63), 2**63) if kind == "integer" else (0, 2**64)
    if not least <= number < most:
        raise Fault(f"Unable to parse {kind} value `{text}`")
    return number


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _cut(text: str) -> str:
    return text if len(text) <= 10 else f"{text[:10]}..."
