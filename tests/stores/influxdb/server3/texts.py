"""Answers over HTTP as InfluxDB 3 Core spells them: JSON, lines of JSON, CSV, Parquet."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .sql import Answer

__all__ = ["FORMATS", "MIMES", "written"]

MIMES = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv",
    "json": "application/json",
    "jsonl": "application/jsonl",
}
_EXPONENT = re.compile(r"e([+-])0?")


def written(answer: Answer, format: str) -> Iterator[bytes]:
    """The body in pieces; an error comes where the server would break off."""
    return FORMATS[format](answer)


def _csv(answer: Answer) -> Iterator[bytes]:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    for number, batch in enumerate(answer.batches):
        if not number:
            out.writerow(answer.schema.names)
        out.writerows(zip(*(map(_cell, _values(column)) for column in batch.columns), strict=True))
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return _number(value) if isinstance(value, float) else str(value)


def _objects(answer: Answer) -> Iterator[str]:
    names = [json.dumps(name, ensure_ascii=False) for name in answer.schema.names]
    for batch in answer.batches:
        for row in zip(*map(_values, batch.columns), strict=True):
            there = [f"{name}:{_json(value)}" for name, value in zip(names, row, strict=True) if value is not None]
            yield f"{{{','.join(there)}}}"


def _json(value: Any) -> str:
    if not isinstance(value, float):
        return json.dumps(value, ensure_ascii=False)
    if not math.isfinite(value):
        return "null"
    text = _number(value)
    return text if "." in text or "e" not in text else text.replace("e", ".0e")


def _number(value: float) -> str:
    return (
        _EXPONENT.sub(lambda sign: "e" if sign[1] == "+" else "e-", repr(value))
        if math.isfinite(value)
        else _odd(value)
    )


def _odd(value: float) -> str:
    return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _json_list(answer: Answer) -> Iterator[bytes]:
    before = "["
    for text in _objects(answer):
        yield f"{before}{text}".encode()
        before = ","
    yield b"[]" if before == "[" else b"]"


def _json_lines(answer: Answer) -> Iterator[bytes]:
    return (f"{text}\n".encode() for text in _objects(answer))


def _parquet(answer: Answer) -> Iterator[bytes]:
    found = list(answer.batches)
    if found:
        out = io.BytesIO()
        pq.write_table(pa.Table.from_batches(found), out)
        yield out.getvalue()


def _values(column: pa.Array) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    return [None if value is None else _moment(value) for value in column.cast(pa.int64()).to_pylist()]


def _moment(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    text = pa.scalar(seconds, pa.timestamp("s")).as_py().isoformat()
    if not rest:
        return str(text)
    digits = f"{rest:09d}"
    return f"{text}.{digits[:3] if digits.endswith('0' * 6) else digits[:6] if digits.endswith('000') else digits}"


FORMATS: dict[str, Callable[[Answer], Iterator[bytes]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "json": _json_list,
    "json_lines": _json_lines,
    "jsonl": _json_lines,
}
