"""What InfluxDB 3 Core answers over HTTP: health, writes of all three versions, SQL, databases and tables."""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from time import sleep
from typing import Any, NamedTuple, TypeAlias

from .catalog import PRECISIONS, Catalog, Database, Exists, TooMany, WrongName
from .points import points
from .sql import Answer, Refused, ask
from .texts import FORMATS, MIMES, written

__all__ = ["Reply", "Request", "Web"]

_LIMIT = 10_485_760
_TOO_LARGE = f"max request size ({_LIMIT} bytes) exceeded"
_PING = {"product_name": "InfluxDB 3 Core", "version": "3.10.1", "revision": "ff6872a", "process_id": "0"}
_MALFORMED = (
    '{"error": "Authorization header was malformed, the request was not in the form of '
    "'Authorization: <auth-scheme> <token>', supported auth-schemes are Bearer, Token and Basic\"}"
)
_STATUS = (("This feature is not implemented", 405), ("Error during planning", 400), ("SQL error", 400))
_JSON_ERROR = "serde json error: {} at line 1 column {}"

Form: TypeAlias = Callable[[str], str]


class Request(NamedTuple):
    """One request; names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """One answer; a body that raises breaks the connection off."""

    status: int
    body: Iterable[bytes] = ()
    mime: str = ""


class Wrong(Exception):
    """A status and the server's words."""

    def __init__(self, status: int, text: str) -> None:
        self.reply = Reply(status, (text.encode(),))
        super().__init__(text)


class Web:
    """Answers requests out of a catalog; `token` None: whoever asks is let in."""

    def __init__(self, catalog: Catalog, token: str | None, files: int) -> None:
        self._catalog = catalog
        self._token = token
        self.files = files
        self.flush_s = 0.0
        """How long a write waits for the log; the real one's takes up to a second."""
        self.most_at_once = 0
        """How many writes were under way together."""
        self._under_way = 0
        self._routes: dict[tuple[str, str], Callable[[Request], Reply]] = {
            ("GET", "/health"): _healthy,
            ("GET", "/api/v1/health"): _healthy,
            ("GET", "/ping"): _ping,
            ("POST", "/ping"): _ping,
            ("POST", "/api/v3/write_lp"): self._write,
            ("POST", "/api/v2/write"): self._write_as_v2,
            ("POST", "/write"): self._write_as_v1,
            ("GET", "/api/v3/query_sql"): self._sql,
            ("POST", "/api/v3/query_sql"): self._sql,
            ("GET", "/api/v3/configure/database"): self._databases,
            ("POST", "/api/v3/configure/database"): self._create_database,
            ("DELETE", "/api/v3/configure/database"): self._drop_database,
            ("POST", "/api/v3/configure/table"): self._create_table,
            ("DELETE", "/api/v3/configure/table"): self._drop_table,
        }

    def answer(self, request: Request) -> Reply:
        """What the server says."""
        try:
            self._admit(request)
            route = self._routes.get((request.method, request.path))
            return route(request) if route else Reply(404, () if request.method == "HEAD" else (b"Not found",))
        except Wrong as wrong:
            return wrong.reply

    def knows(self, authorization: str | None) -> bool:
        """Whether a header of this kind lets in."""
        return self._token is None or (authorization or "").partition(" ")[2] == self._token

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization")
        if given is not None and not re.fullmatch(r"(Bearer|Token|Basic) \S+", given):
            raise Wrong(400, _MALFORMED)
        if given is None and "p" in request.query:
            given = f"Token {request.query['p']}"
        if not self.knows(given):
            raise Wrong(401, '{"error": "the request was not authenticated"}')

    def _write(self, request: Request) -> Reply:
        with self._catalog.lock:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            sleep(self.flush_s)
            return self._written(request)
        finally:
            self._under_way -= 1

    def _written(self, request: Request) -> Reply:
        query = request.query
        if not query:
            raise Wrong(400, "missing query parameter 'db'")
        name = _needed(query, "db")
        unit = _unit(query.get("precision", "auto"), "serde error: ", str, auto=True)
        if query.get("accept_partial", "true") not in ("true", "false"):
            raise Wrong(400, "serde error: provided string was not `true` or `false`")
        if not name:
            raise Wrong(400, _error("db name cannot be empty"))
        text = _text(request, str)
        with self._catalog.lock:
            database = self._to_write(name, 422, _error)
            found = list(points(text))
            if not found:
                raise Wrong(400, "incoming write was empty")
            if query.get("accept_partial") == "false":
                _check(database, found, unit, text)
            faults = [_entry(number, why, text) for number, why in database.write(found, unit)]
        if faults:
            status = 422 if "would exceed" in faults[0]["error_message"] else 400
            raise Wrong(status, _compact({"error": "partial write of line protocol occurred", "data": faults}))
        return Reply(204)

    def _write_as_v1(self, request: Request) -> Reply:
        query = request.query
        if "db" not in query:
            raise Wrong(400, _error("failed to deserialize db/rp/precision in request: missing field `db`"))
        policy = query.get("rp", "autogen")
        unit = _unit(query.get("precision", "ns"), "failed to deserialize db/rp/precision in request: ", _error)
        text = _text(request, _error)
        with self._catalog.lock:
            name = query["db"] if policy in ("autogen", "default") else f"{query['db']}/{policy}"
            database = self._to_write(name, 422, _error)
            found = list(points(text))
            _check(database, found, unit, text)
            database.write(found, unit)
        return Reply(204)

    def _write_as_v2(self, request: Request) -> Reply:
        query = request.query
        if "bucket" not in query:
            raise Wrong(400, _invalid("missing bucket value" if query else "no org/bucket destination provided"))
        name = query["bucket"]
        unit = _unit(query.get("precision", "ns"), "failed to deserialize org/bucket/precision in request: ", _invalid)
        wrong = re.search(r"[^A-Za-z0-9_-]", name)
        if wrong:
            words = "contains invalid character, character number"
            raise Wrong(400, _invalid(f"namespace name '{name}' {words} {wrong.start()} is not allowed"))
        text = _text(request, _invalid)
        with self._catalog.lock:
            database = self._to_write(name, 400, _not_in_catalog)
            found = list(points(text))
            if not found:
                raise Wrong(400, _invalid("write buffer error: incoming write was empty"))
            fault = database.check(found, unit)
            if fault:
                raise Wrong(400, _invalid(f"write buffer error: line protocol parse failed: {fault[1]}"))
            database.write(found, unit)
        return Reply(204)

    def _to_write(self, name: str, too_many: int, form: Form) -> Database:
        try:
            return self._catalog.to_write(name)
        except TooMany as error:
            raise Wrong(too_many, form(str(error))) from None
        except WrongName as error:
            raise Wrong(400, form(str(error))) from None

    def _sql(self, request: Request) -> Reply:
        given: Mapping[str, Any] = request.query
        if request.method == "POST":
            given = _json_body(request)
        elif not given:
            raise Wrong(400, "missing query parameters 'db' and 'q'")
        params = given.get("params", {})
        name, text, format = _needed(given, "db"), _needed(given, "q"), _format(given, request)
        with self._catalog.lock:
            database = self._catalog.databases.get(name)
            if database is None:
                raise Wrong(404, _error(f"query error: database not found: {name}"))
            try:
                found = ask(database, text, json.loads(params) if isinstance(params, str) else params, self.files)
            except Refused as error:
                status = next((status for start, status in _STATUS if str(error).startswith(start)), 500)
                raise Wrong(status, str(error)) from None
        return _sent(found, format)

    def _databases(self, request: Request) -> Reply:
        format = request.query.get("format")
        if format is None:
            raise Wrong(400, "serde error: missing field `format`")
        names = sorted(["_internal", *self._catalog.databases])
        if format == "csv":
            return Reply(200, ("\n".join(["iox::database", *names, ""]).encode(),), MIMES["csv"])
        return Reply(200, (_compact([{"iox::database": name} for name in names]).encode(),), MIMES["json"])

    def _create_database(self, request: Request) -> Reply:
        given = _configuration(request)
        with self._catalog.lock:
            try:
                self._catalog.create(given["db"])
            except Exists:
                raise Wrong(409, "attempted to create a resource that already exists") from None
            except TooMany as error:
                raise Wrong(422, _error(str(error))) from None
            except WrongName as error:
                raise Wrong(400, _error(str(error))) from None
        return Reply(200)

    def _drop_database(self, request: Request) -> Reply:
        name = request.query["db"]
        with self._catalog.lock:
            if self._catalog.databases.pop(name, None) is None:
                raise Wrong(404, f"the requested resource was not found: {name}")
        return Reply(200)

    def _create_table(self, request: Request) -> Reply:
        given = _configuration(request)
        fields = [(field["name"], field["type"]) for field in given.get("fields", [])]
        with self._catalog.lock:
            try:
                self._database(given["db"]).create(given["table"], given["tags"], fields)
            except Exists:
                raise Wrong(409, "attempted to create a resource that already exists") from None
        return Reply(200)

    def _drop_table(self, request: Request) -> Reply:
        name, table = request.query["db"], request.query["table"]
        with self._catalog.lock:
            if self._database(name).tables.pop(table, None) is None:
                raise Wrong(404, f"Table {table} not in DB schema for {name}")
        return Reply(200)

    def _database(self, name: str) -> Database:
        found = self._catalog.databases.get(name)
        if found is None:
            raise Wrong(404, f"the requested resource was not found: {name}")
        return found


def _healthy(request: Request) -> Reply:
    return Reply(200, (b"OK",), "text/plain; charset=utf-8")


def _ping(request: Request) -> Reply:
    return Reply(200, (_compact(_PING).encode(),), MIMES["json"])


def _needed(given: Mapping[str, Any], key: str) -> Any:
    if key not in given:
        raise Wrong(400, f"serde error: missing field `{key}`")
    return given[key]


def _unit(word: str, before: str, form: Form, *, auto: bool = False) -> int:
    known = [name for name in PRECISIONS if auto or name != "auto"]
    if word not in known:
        names = ", ".join(f"`{name}`" for name in known)
        raise Wrong(400, form(f"{before}unknown variant `{word}`, expected one of {names}"))
    return PRECISIONS[word]


def _text(request: Request, form: Form) -> str:
    body, encoding = request.body, request.headers.get("content-encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise Wrong(400, form(f"unacceptable content-encoding: {encoding}"))
    if encoding == "gzip" and len(body) <= _LIMIT:
        try:
            body = zlib.decompressobj(31).decompress(body, _LIMIT + 1)
        except zlib.error:
            raise Wrong(400, form("error decoding gzip stream: invalid gzip header")) from None
    if len(body) > _LIMIT:
        raise Wrong(413, form(_TOO_LARGE).replace('"invalid"', '"request too large"'))
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        words = f"invalid utf-8 sequence of {error.end - error.start} bytes from index {error.start}"
        raise Wrong(400, form(f"body content is not valid utf8: {words}")) from None


def _error(text: str) -> str:
    return _compact({"error": text})


def _invalid(text: str) -> str:
    return _compact({"code": "invalid", "message": text})


def _not_in_catalog(text: str) -> str:
    return _invalid(f"write buffer error: catalog update error: {text}")


def _check(database: Database, found: list[Any], unit: int, text: str) -> None:
    fault = database.check(found, unit)
    if fault:
        raise Wrong(400, _compact({"error": "line protocol parsing error", "data": _entry(*fault, text)}))


def _entry(number: int, why: str, text: str) -> dict[str, Any]:
    # The line is counted among all lines though the number is one among points, so it may be another one's.
    return {"error_message": why, "line_number": number, "original_line": text.split("\n")[number - 1][:20]}


def _json_body(request: Request) -> dict[str, Any]:
    try:
        return dict(json.loads(request.body))
    except json.JSONDecodeError as error:
        ended = error.pos >= len(request.body)
        what = "EOF while parsing a value" if ended else "expected value"
        raise Wrong(400, _JSON_ERROR.format(what, error.pos if ended else error.pos + 1)) from None


def _configuration(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type") != "application/json":
        raise Wrong(415, "unacceptable content-type, expected: application/json")
    return _json_body(request)


def _format(given: Mapping[str, Any], request: Request) -> str:
    format = given.get("format")
    if format is None:
        accepted = request.headers.get("accept", "*/*")
        by_mime = {mime: name for name, mime in MIMES.items() if name != "jsonl"}
        if accepted not in by_mime and "*/*" not in accepted:
            raise Wrong(400, f"invalid mime type ({accepted})")
        return by_mime.get(accepted, "json")
    if format not in FORMATS:
        known = ", ".join(f"`{name}`" for name in ("parquet", "csv", "pretty", "json", "json_lines", "jsonl"))
        raise Wrong(400, f"serde error: unknown variant `{format}`, expected one of {known}")
    return str(format)


def _sent(found: Answer, format: str) -> Reply:
    body = written(found, format)
    if format == "parquet":
        try:
            body = iter(list(body))
        except Refused as error:
            raise Wrong(500, str(error).removeprefix("External error: ")) from None
    return Reply(200, body, MIMES["jsonl" if format == "json_lines" else format])


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
