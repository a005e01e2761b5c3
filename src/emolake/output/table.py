"""Rows as a table for a terminal, as Markdown, as JSON or as CSV."""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emolake.messages import printable
from emolake.output.notices import complain


def write_json(rows: Iterable[Mapping[str, Any]], stream: IO[str]) -> None:
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


def write_json_object(fields: Mapping[str, Any], stream: IO[str]) -> None:
    """Write one object, indented for a person."""
    json.dump(_json(dict(fields)), stream, ensure_ascii=False, allow_nan=False, indent=2)
    stream.write("\n")


def write_csv(names: Sequence[str], rows: Iterable[Sequence[Any]], stream: IO[str]) -> None:
    """Write a header and rows; nested values as JSON, nothing for NULL."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_plain(value) for value in row] for row in rows)


def markdown_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a table in Markdown; what is in a cell can neither end the cell nor the row.

    >>> print(markdown_table(["path"], [["a|b.wav"]]))
    | path |
    | --- |
    | a\|b.wav |
    """
    lines = [[_markdown_cell(text) for text in line] for line in (names, *rows)]
    lines.insert(1, ["---"] * len(names))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_table(
    names: Sequence[str], rows: Iterable[Sequence[Any]], stream: IO[str], *, least_width: int = 10
) -> None:
    """Print rows as a table that keeps its width when it is piped; where a terminal is too narrow for it, as records.

    Args:
        names: of the columns.
        rows: what is in them.
        stream: a terminal, or anything else.
        least_width: characters that a column needs to be readable, if it has as many.
    """
    rows = list(rows)
    numeric: set[int] = set()
    lines = [list(names)]
    for row in rows:
        numeric |= {index for index, value in enumerate(row) if isinstance(value, int | float | Decimal)}
        lines.append([_shown(value) for value in row])
    console = Console(file=stream)
    if rows and console.is_terminal and _needed_width(lines, least_width) > console.width:
        _say_records(console.width)
        for row in rows:
            print_record(names, row, stream)
        return
    table = Table(show_edge=False, header_style="bold")
    for index, name in enumerate(names):
        table.add_column(_cell(name), justify="right" if index in numeric else "left", overflow="fold")
    for line in lines[1:]:
        table.add_row(*map(_cell, line))
    if not console.is_terminal:
        wanted = Console(file=stream, width=10_000).measure(table).maximum
        console = Console(file=stream, width=wanted)
    console.print(table)


def _needed_width(lines: Sequence[Sequence[str]], least_width: int) -> int:
    """Return how wide a terminal must be to show each column whole, or so much of it that it can be read.

    >>> _needed_width([["date", "site"], ["2026-11-20", "a place with a long name"]], 12)
    27
    """
    # of each column a space on either side, and a line between two
    return sum(min(least_width, max(map(cell_len, column))) + 3 for column in zip(*lines, strict=True)) - 1


@cache
def _say_records(width: int) -> None:
    """Say once why there is no table."""
    complain(
        f"the table is too wide for this terminal of {width} columns: each row is shown in lines instead; ask for "
        "fewer columns, or widen the terminal"
    )


def print_record(names: Sequence[str], row: Sequence[Any], stream: IO[str]) -> None:
    """Print one row with a line for each column, and an empty line behind it."""
    width = max(map(len, names), default=0)
    for name, value in zip(names, row, strict=True):
        stream.write(f"{printable(name):>{width}} = {printable(_shown(value), lines=True)}\n")
    stream.write("\n")


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


def _markdown_cell(text: str) -> str:
    """Return a text with its bars escaped, and the backslashes before them, which would undo that."""
    return re.sub(r"(\\*)\|", r"\1\1\\|", printable(text))


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
