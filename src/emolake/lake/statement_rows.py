"""Rows of a statement by the names of their columns."""

from collections.abc import Mapping
from typing import Any

from emolake.lake.transact import Lake
from emolake.sql import statement

Row = dict[str, Any]


def rows_of(lake: Lake, name: str, parts: Mapping[str, str] | None = None, /, **parameters: Any) -> list[Row]:
    """Return a statement's rows by the names of their columns; `parts` fill its {placeholders}."""
    result = lake.connection.execute(statement(name, **(parts or {})), parameters)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
