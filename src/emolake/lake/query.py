"""Read-only questions to the lake, and their answers as a table, CSV, JSON or Parquet."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, Literal

import duckdb
import pyarrow.parquet as pq

from emolake.errors import EmolakeError
from emolake.lake.transact import Lake
from emolake.messages import redacted
from emolake.output.table import print_table, write_csv, write_json

Format = Literal["table", "csv", "json", "parquet"]

_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class QueryError(EmolakeError):
    """A question that the lake cannot answer, or that is none; DuckDB's own text shows the place and the candidates."""

    has_lines = True


def ask(lake: Lake, sql: str) -> duckdb.DuckDBPyConnection:
    """Run one reading statement and return the connection that holds its result.

    Raises:
        QueryError: not exactly one SELECT (or EXPLAIN), or an error in it.
    """
    with _asking():
        statements = lake.connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _READING:
            found = ", ".join(each.type.name for each in statements) or "nothing"
            raise QueryError(f"the query holds {found}; expected one SELECT, the lake is opened read-only")
        return lake.connection.execute(statements[0])


def write(result: duckdb.DuckDBPyConnection, format: Format, output: IO[str], path: Path | None) -> None:
    """Write a result to `path`, or without one to a text stream.

    Raises:
        QueryError: Parquet was asked for without a path, or a row of the answer cannot be made.
    """
    with _asking():
        _write(result, format, output, path)


@contextmanager
def _asking() -> Iterator[None]:
    """Let an error of the question in the block end as one of ours, with all that DuckDB says."""
    try:
        yield
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {redacted(str(error).strip())}") from error


def _write(result: duckdb.DuckDBPyConnection, format: Format, output: IO[str], path: Path | None) -> None:
    if format == "parquet":
        if path is None:
            raise QueryError("Parquet cannot be shown; name a file with -o")
        pq.write_table(result.to_arrow_table(), path)
        return
    names = [column[0] for column in result.description or ()]
    with nullcontext(output) if path is None else path.open("w", encoding="utf-8", newline="") as stream:
        if format == "json":
            write_json((dict(zip(names, row, strict=True)) for row in _rows(result)), stream)
        elif format == "csv":
            write_csv(names, _rows(result), stream)
        else:
            print_table(names, _rows(result), stream)


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while chunk := result.fetchmany(1000):
        yield from chunk
