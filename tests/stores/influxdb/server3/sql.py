"""SQL over a database's tables by DataFusion, which is the engine of InfluxDB 3, with the limit of files that Core has."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from datafusion import SessionConfig, SessionContext, SQLOptions

from .catalog import Database

__all__ = ["Answer", "Refused", "ask"]

_LEAST, _MOST = -(2**63), 2**63 - 1
_READ_ONLY = SQLOptions().with_allow_ddl(False).with_allow_dml(False)
_TOO_MANY = (
    "External error: Query would scan {limit} Parquet files, exceeding the file limit. InfluxDB 3 Core caps file access "
    "to prevent performance degradation and memory issues. Use a narrower time range, or increase the limit with "
    "--query-file-limit (this may cause slower queries or instability).\n\nTo remove this limitation, upgrade to "
    "InfluxDB 3 Enterprise, which automatically compacts files for efficient querying across any time range. Free for "
    "non-commercial and home use, and free trials for commercial evaluation: https://www.influxdata.com/downloads"
)
_SCAN = re.compile(r"TableScan: (\S+)")
_BOUND = re.compile(r"\btime (>=|>|<=|<|=) TimestampNanosecond\((-?\d+), None\)")
# A newer DataFusion helps more than the server's.
_HINT = re.compile(r"(No field named [^\s]+\.).*?\n(?=Valid fields)", re.DOTALL)
_PLACEHOLDER = re.compile(r"\$([A-Za-z_]\w*)")


class Refused(Exception):
    """The server's words about a question; `planned` says that it came as far as its plan."""

    def __init__(self, message: str, *, planned: bool = False) -> None:
        self.planned = planned
        super().__init__(message)


class Answer:
    """Schema and batches; what goes wrong while they are made is raised by the iteration."""

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        self.batches = batches


def ask(database: Database, query: str, params: Mapping[str, Any], limit: int) -> Answer:
    """The answer to one SQL statement; tags are text in it.

    Raises:
        Refused: it is no SQL, does not fit the tables, or would open `limit` files.
    """
    context = SessionContext(SessionConfig().with_default_catalog_and_schema("public", "iox").with_information_schema())
    for name, table in sorted(database.tables.items()):
        batches = table.arrow().to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
        context.register_record_batches(f'"{name}"', [batches])
    lacking = [name for name in _PLACEHOLDER.findall(query) if name not in params]
    if lacking:
        raise Refused(f"Error during planning: No value found for placeholder with name ${lacking[0]}")
    try:
        frame = context.sql(query, _READ_ONLY, param_values=dict(params))
    except ValueError as error:
        raise Refused(_HINT.sub(r"\1 ", str(error))) from None
    _count_files(database, frame.optimized_logical_plan().display_indent(), limit)
    schema = pa.schema([_shown(field) for field in frame.schema()])
    return Answer(schema, _batches(frame, schema))


def _count_files(database: Database, plan: str, limit: int) -> None:
    above = ""
    for line in plan.splitlines():
        scanned = _SCAN.search(line)
        table = scanned and database.tables.get(scanned[1])
        if table:
            first, last = _LEAST, _MOST
            for sign, moment in _BOUND.findall(above) if "Filter:" in above and " OR " not in above else ():
                first = max(first, int(moment) + (sign == ">")) if sign in (">", ">=", "=") else first
                last = min(last, int(moment) - (sign == "<")) if sign in ("<", "<=", "=") else last
            if first <= last and table.files(first, last) >= limit:
                raise Refused(_TOO_MANY.format(limit=limit), planned=True)
        above = line


def _shown(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _batches(frame: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        for batch in pa.RecordBatchReader.from_stream(frame):
            if batch.num_rows:
                yield batch.cast(schema)
    except pa.ArrowInvalid as error:
        raise Refused(str(error), planned=True) from None
