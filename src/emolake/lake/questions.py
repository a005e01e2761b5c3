"""One reading statement at a time, and its answer as Arrow, pandas or polars."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import redacted
from emolake.schemas.views import VIEWS

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class QueryError(EmolakeError):
    """A question that the lake cannot answer, or that is none; DuckDB's own text shows the place and the candidates."""

    has_lines = True


@dataclass(frozen=True)
class Answer:
    """The rows that a query gave, all of them in memory; the lake they are from may be closed by now."""

    table: pa.Table

    def arrow(self) -> pa.Table:
        """Return them as an Arrow table."""
        return self.table

    def pandas(self) -> "pd.DataFrame":
        """Return them as a pandas frame: dates as datetime64, a map as a dict.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        _imported("pandas")
        frame: pd.DataFrame = self.table.to_pandas(maps_as_pydicts="strict", date_as_object=False)
        return frame

    def polars(self) -> "pl.DataFrame":
        """Return them as a polars frame: a map as a Map.

        Raises:
            ConfigurationError: polars is not installed.
        """
        frame: pl.DataFrame = _imported("polars").DataFrame(self.table)
        return frame


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyConnection:
    """Run one reading statement and return the connection that holds its result.

    What is shown to somebody is asked within `Lake.answer`, or by `Lake.query` or `write_answer`.

    Raises:
        QueryError: not exactly one SELECT (or EXPLAIN), or an error in it.
    """
    with asking():
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _READING:
            found = ", ".join(each.type.name for each in statements) or "nothing"
            raise QueryError(f"the query holds {found}; expected one SELECT, the lake is opened read-only")
        return connection.execute(statements[0])


@contextmanager
def asking() -> Iterator[None]:
    """Let an error of the question in the block end as one of ours, with all that DuckDB says."""
    try:
        yield
    except duckdb.Error as error:
        said = redacted(str(error).strip())
        missing = re.match(r"Catalog Error: Table with name (\w+) does not exist", said)
        if missing and missing[1] in {view.name for view in VIEWS}:
            raise QueryError(
                f"the lake is of an earlier version, without what the view {missing[1]} is made from; the next run, or "
                "`emolake maintain`, adds it"
            ) from error
        raise QueryError(f"the query failed: {said}") from error


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigurationError(
            f"{package} is not installed; install emolake[{package}], or take .arrow()"
        ) from error
