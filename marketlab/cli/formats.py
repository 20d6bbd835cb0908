"""File formats that rows of a store are written in, a batch at a time, so that any amount fits."""

from typing import IO, Any, Protocol

import polars as pl

from marketlab.errors import MissingDependency, Unsupported

__all__ = ["FORMATS", "Arrow", "BatchWriter", "Csv", "JsonLines", "Parquet"]


class BatchWriter(Protocol):
    """Writes batches of one schema to an open file; `close` finishes what is written but leaves the file open."""

    def __init__(self, out: IO[bytes], empty: pl.DataFrame) -> None: ...

    def write(self, batch: pl.DataFrame) -> None:
        """Append rows."""
        ...

    def close(self) -> None:
        """Write what a reader needs at the end."""
        ...


class Csv:
    """One header, then a line for each row; times in ISO 8601 with microseconds."""

    def __init__(self, out: IO[bytes], empty: pl.DataFrame) -> None:
        nested = [name for name, kind in empty.schema.items() if kind.is_nested()]
        if nested:
            raise Unsupported(
                f"CSV has no lists, which {', '.join(nested)} are; use JSON lines (--json, or .jsonl) or parquet."
            )
        self._out = out
        empty.write_csv(out)

    def write(self, batch: pl.DataFrame) -> None:
        """Append rows."""
        batch.write_csv(self._out, include_header=False)

    def close(self) -> None:
        """Nothing is left to write."""


class JsonLines:
    """An object for each row, one a line."""

    def __init__(self, out: IO[bytes], empty: pl.DataFrame) -> None:
        self._out = out

    def write(self, batch: pl.DataFrame) -> None:
        """Append rows."""
        batch.write_ndjson(self._out)

    def close(self) -> None:
        """Nothing is left to write."""


class Parquet:
    """Parquet, zstd-compressed, a row group for each batch."""

    def __init__(self, out: IO[bytes], empty: pl.DataFrame) -> None:
        parquet = _pyarrow("parquet")
        self._writer = parquet.ParquetWriter(out, _arrow(empty).schema, compression="zstd")

    def write(self, batch: pl.DataFrame) -> None:
        """Append rows."""
        self._writer.write_table(_arrow(batch))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


class Arrow:
    """The Arrow IPC file format (Feather 2), which readers may map into memory."""

    def __init__(self, out: IO[bytes], empty: pl.DataFrame) -> None:
        ipc = _pyarrow("ipc")
        self._writer = ipc.new_file(out, _arrow(empty).schema)

    def write(self, batch: pl.DataFrame) -> None:
        """Append rows."""
        self._writer.write_table(_arrow(batch))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


FORMATS: dict[str, type[BatchWriter]] = {
    ".parquet": Parquet,
    ".csv": Csv,
    ".arrow": Arrow,
    ".feather": Arrow,
    ".jsonl": JsonLines,
}
"""Formats by the end of the file's name."""


def _pyarrow(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"pyarrow.{module}")
    except ModuleNotFoundError:
        raise MissingDependency("pyarrow", "pandas", f"Writing {module} files") from None


def _arrow(table: pl.DataFrame) -> Any:
    # The oldest level of compatibility: not every reader knows string views yet.
    return table.to_arrow(compat_level=pl.CompatLevel.oldest())
