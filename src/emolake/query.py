"""Read-only questions to the lake, and their answers as a table, CSV, JSON or Parquet."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Literal

import duckdb
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emolake.errors import EmolakeError
from emolake.lake import Lake
from emolake.messages import printable

Format = Literal["table", "csv", "json", "parquet"]

_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class QueryError(EmolakeError):
    """A question that the lake cannot answer, or that is none."""


def ask(lake: Lake, sql: str) -> duckdb.DuckDBPyConnection:
    """Run one reading statement and return the connection that holds its result.

    Raises:
        QueryError: not exactly one SELECT (or EXPLAIN), or an error in it.
    """
    try:
        statements = lake.connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _READING:
            found = ", ".join(each.type.name for each in statements) or "nothing"
            raise QueryError(f"the query holds {found}; expected one SELECT, the lake is opened read-only")
        return lake.connection.execute(statements[0])
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {str(error).splitlines()[0]}") from error


def write(
    result: duckdb.DuckDBPyConnection, format: Format, output: IO[str] | None, path: Path | None
) -> None:
    """Write a result to a text stream, or to a path.

    Raises:
        QueryError: Parquet was asked for without a path.
    """
    if format == "parquet":
        if path is None:
            raise QueryError("Parquet cannot be shown; name a file with -o")
        pq.write_table(result.to_arrow_table(), path)
        return
    with _opened(output, path) as stream:
        names = [column[0] for column in result.description or ()]
        if format == "json":
            write_json((dict(zip(names, row, strict=True)) for row in _rows(result)), stream)
        elif format == "csv":
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_plain(value) for value in row] for row in _rows(result))
        else:
            print_table(names, _rows(result), stream)


def write_json(rows: Iterator[dict[str, Any]], stream: IO[str]) -> None:
    """Write an array of objects, one a line, as they come."""
    stream.write("[")
    separator = "\n"
    for row in rows:
        stream.write(
            separator
            + json.dumps(
                {name: _json(value) for name, value in row.items()}, ensure_ascii=False, allow_nan=False
            )
        )
        separator = ",\n"
    stream.write("\n]\n")


def print_table(
    names: Sequence[str], rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]], stream: IO[str]
) -> None:
    """Print rows as a table that keeps its width when it is piped."""
    table = Table(show_edge=False, header_style="bold")
    numeric: set[int] = set()
    cells = []
    for row in rows:
        numeric |= {index for index, value in enumerate(row) if isinstance(value, int | float | Decimal)}
        cells.append([_cell(_shown(value)) for value in row])
    for index, name in enumerate(names):
        table.add_column(_cell(name), justify="right" if index in numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    console = Console(file=stream)
    if not console.is_terminal:
        wanted = Console(file=stream, width=10_000).measure(table).maximum
        console = Console(file=stream, width=wanted)
    console.print(table)


@contextmanager
def _opened(output: IO[str] | None, path: Path | None) -> Iterator[IO[str]]:
    if path is not None:
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
    elif output is not None:
        yield output
    else:
        raise ValueError("a stream or a path is needed")


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while chunk := result.fetchmany(1000):
        yield from chunk


def _json(value: Any) -> Any:
    """Return a value that JSON has; NaN and infinity, which it has not, become null."""
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Decimal):
        return _json(float(value))
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return str(value)


def _plain(value: Any) -> Any:
    """Return a CSV cell: nested values as JSON, nothing for NULL."""
    if isinstance(value, dict | list | tuple):
        return json.dumps(_json(value), ensure_ascii=False)
    return _json(value)


def _cell(text: str) -> str:
    """Return a text that rich shows as it is: neither its markup nor a terminal's control characters do anything."""
    return escape(printable(text, lines=True))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, dict):
        return ", ".join(f"{key}={_shown(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return str(value)
