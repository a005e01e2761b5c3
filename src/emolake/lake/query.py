"""The answer to a question to the lake, written as a table, CSV, JSON or Parquet."""

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import duckdb
import pyarrow.parquet as pq

from emolake.lake.questions import QueryError, ask, asking
from emolake.lake.transact import Lake, interruptible
from emolake.output.output_files import check_output, has_ending, output_file
from emolake.output.table import print_table, write_csv, write_json

Format = Literal["table", "csv", "json", "parquet"]

_IN_MEMORY_BYTES = 16_000_000
_ENDINGS: dict[Format, tuple[str, ...]] = {
    "table": (".txt",),
    "csv": (".csv", ".txt"),
    "json": (".json", ".txt"),
    "parquet": (".parquet",),
}


def format_of(path: Path | None) -> Format:
    """Return the format that the ending of a file's name says; a table where it says none.

    Raises:
        QueryError: it is that of a spreadsheet's own format.
    """
    ending = "" if path is None else path.suffix.lower()
    if ending in (".xlsx", ".xls", ".ods"):
        raise QueryError(
            f"{path} has the ending of a spreadsheet; a spreadsheet opens .csv, and .parquet keeps types"
        )
    for format in ("csv", "json", "parquet"):
        if ending == f".{format}":
            return format
    return "table"


def write_answer(
    lake: Lake, sql: str, format: Format, output: IO[str], path: Path | None, *, force: bool = False
) -> None:
    """Write the answer to one reading statement to `path`, or without one to a text stream.

    All of it is read from one snapshot before anything is written. What has no end in memory, CSV and JSON, waits on
    the disk.

    Raises:
        QueryError: as `ask`, or a row of the answer cannot be made, or Parquet was asked for without a path.
        SnapshotExpiredError: its snapshot expired in every attempt.
        ConfigurationError: the path cannot be written, or is, without `force`, a file of another kind.
    """
    if path is not None:
        check_output(path, may_replace=has_ending(*_ENDINGS[format]), force=force)
    with asking():
        _write(lake, sql, format, output, path)


def statements(lake: Lake, text: str) -> list[str]:
    """Return the statements of a text, each by itself.

    Raises:
        QueryError: it is no SQL.
    """
    with asking():
        return [each.query.strip().rstrip(";") for each in lake.connection.extract_statements(text)]


def first_rows(lake: Lake, sql: str, most: int) -> tuple[list[str], list[tuple[Any, ...]], bool]:
    """Return the names of an answer's columns, its first rows, and whether there are more; see `write_answer`.

    An interrupt ends the query at once, and leaves the lake as it was.
    """

    def read() -> tuple[list[str], list[tuple[Any, ...]]]:
        with interruptible(lake.connection):  # before the transaction ends, which waits for what is at work
            result = ask(lake.connection, sql)
            return _names(result), result.fetchmany(most + 1)

    with asking():
        names, rows = lake.answer(read)
    return names, rows[:most], len(rows) > most


def copied_to_csv(lake: Lake, sql: str, path: Path) -> int:
    """Write the rows of a query to a CSV file as `write_answer` does, within `Lake.answer`; return their number."""
    rows = 0

    def counted() -> Iterator[tuple[Any, ...]]:
        nonlocal rows
        for row in _rows(result):
            rows += 1
            yield row

    result = ask(lake.connection, sql)
    with path.open("w", encoding="utf-8", newline="") as stream:
        write_csv(_names(result), counted(), stream)
    return rows


def _write(lake: Lake, sql: str, format: Format, output: IO[str], path: Path | None) -> None:
    if format == "parquet":
        if path is None:
            raise QueryError("Parquet cannot be shown; name a file with -o")
        answer = lake.answer(lambda: ask(lake.connection, sql).to_arrow_table())
        with output_file(path) as file:
            pq.write_table(answer, file)
        return

    @contextmanager
    def opened() -> Iterator[IO[str]]:
        if path is None:
            yield output
            return
        with output_file(path) as file:
            stream = io.TextIOWrapper(file, "utf-8", newline="")
            yield stream
            stream.detach()  # which flushes, and leaves the file open

    if format == "table":
        names, rows = lake.answer(lambda: _held(ask(lake.connection, sql)))
        with opened() as stream:
            print_table(names, rows, stream)
        return
    with lake.answer(lambda: _spooled(ask(lake.connection, sql), format)) as spool, opened() as stream:
        shutil.copyfileobj(spool, stream)


def _held(result: duckdb.DuckDBPyConnection) -> tuple[list[str], list[tuple[Any, ...]]]:
    return _names(result), result.fetchall()


def _spooled(result: duckdb.DuckDBPyConnection, format: Format) -> IO[str]:
    names = _names(result)
    spool = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, "w+", encoding="utf-8", newline="")  # noqa: SIM115
    if format == "json":
        write_json((dict(zip(names, row, strict=True)) for row in _rows(result)), spool)
    else:
        write_csv(names, _rows(result), spool)
    spool.seek(0)
    return spool


def _names(result: duckdb.DuckDBPyConnection) -> list[str]:
    return [column[0] for column in result.description or ()]


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while chunk := result.fetchmany(1000):
        yield from chunk
