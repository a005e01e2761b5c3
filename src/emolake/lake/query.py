"""Read-only questions to the lake, and their answers as a table, CSV, JSON or Parquet."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Literal

import duckdb
import pyarrow.parquet as pq

from emolake.errors import EmolakeError
from emolake.lake.transact import Lake, interruptible
from emolake.messages import redacted
from emolake.output.table import print_table, write_csv, write_json

Format = Literal["table", "csv", "json", "parquet"]

_IN_MEMORY_BYTES = 16_000_000
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class QueryError(EmolakeError):
    """A question that the lake cannot answer, or that is none; DuckDB's own text shows the place and the candidates."""

    has_lines = True


def ask(lake: Lake, sql: str) -> duckdb.DuckDBPyConnection:
    """Run one reading statement and return the connection that holds its result.

    What is shown to somebody is asked within `Lake.answer`, or by `write_answer`.

    Raises:
        QueryError: not exactly one SELECT (or EXPLAIN), or an error in it.
    """
    with _asking():
        statements = lake.connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _READING:
            found = ", ".join(each.type.name for each in statements) or "nothing"
            raise QueryError(f"the query holds {found}; expected one SELECT, the lake is opened read-only")
        return lake.connection.execute(statements[0])


def write_answer(lake: Lake, sql: str, format: Format, output: IO[str], path: Path | None) -> None:
    """Write the answer to one reading statement to `path`, or without one to a text stream.

    All of it is read from one snapshot before anything is written. What has no end in memory, CSV and JSON, waits on
    the disk.

    Raises:
        QueryError: as `ask`, or a row of the answer cannot be made, or Parquet was asked for without a path.
        SnapshotExpiredError: its snapshot expired in every attempt.
    """
    with _asking():
        _write(lake, sql, format, output, path)


def statements(lake: Lake, text: str) -> list[str]:
    """Return the statements of a text, each by itself.

    Raises:
        QueryError: it is no SQL.
    """
    with _asking():
        return [each.query.strip().rstrip(";") for each in lake.connection.extract_statements(text)]


def first_rows(lake: Lake, sql: str, most: int) -> tuple[list[str], list[tuple[Any, ...]], bool]:
    """Return the names of an answer's columns, its first rows, and whether there are more; see `write_answer`.

    An interrupt ends the query at once, and leaves the lake as it was.
    """

    def read() -> tuple[list[str], list[tuple[Any, ...]]]:
        with interruptible(lake.connection):  # before the transaction ends, which waits for what is at work
            result = ask(lake, sql)
            return _names(result), result.fetchmany(most + 1)

    with _asking():
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

    result = ask(lake, sql)
    with path.open("w", encoding="utf-8", newline="") as stream:
        write_csv(_names(result), counted(), stream)
    return rows


@contextmanager
def _asking() -> Iterator[None]:
    """Let an error of the question in the block end as one of ours, with all that DuckDB says."""
    try:
        yield
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {redacted(str(error).strip())}") from error


def _write(lake: Lake, sql: str, format: Format, output: IO[str], path: Path | None) -> None:
    if format == "parquet":
        if path is None:
            raise QueryError("Parquet cannot be shown; name a file with -o")
        pq.write_table(lake.answer(lambda: ask(lake, sql).to_arrow_table()), path)
        return
    if format == "table":
        names, rows = lake.answer(lambda: _held(ask(lake, sql)))
        with _opened(path, output) as stream:
            print_table(names, rows, stream)
        return
    with (
        lake.answer(lambda: _spooled(ask(lake, sql), format)) as spool,
        _opened(path, output) as stream,
    ):
        shutil.copyfileobj(spool, stream)


def _opened(path: Path | None, output: IO[str]) -> AbstractContextManager[IO[str]]:
    return nullcontext(output) if path is None else path.open("w", encoding="utf-8", newline="")


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
