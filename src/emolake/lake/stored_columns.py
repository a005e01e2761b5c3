"""Columns of a plain DuckDB file, stored so that DuckDB 1.0 reads them too.

DuckDB 1.0 cannot read a list or map column where a whole row group (122,880 rows) has no element, as later versions
write that, whatever STORAGE_VERSION is. Such a column is computed when it is read: from a constant where it has no
element at all, and otherwise from a text column beside it. Its name and type are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from emolake.sql import quoted

_ROW_GROUP = 122_880


@dataclass(frozen=True)
class StoredColumn:
    """A column of the file: its definition, and what is inserted, nothing where it is computed."""

    definition: str
    target: str | None = None
    source: str | None = None


def create_filled(connection: duckdb.DuckDBPyConnection, name: str, rows: str) -> int:
    """Create a table of the rows that an expression such as read_parquet(…) gives; return how many there are."""
    relation = f"read_parquet({rows}, file_row_number = true)"
    described = connection.execute(f"DESCRIBE FROM read_parquet({rows})").fetchall()
    stored = [
        each
        for column, sql_type, *_ in described
        for each in _stored(connection, quoted(column), sql_type, relation)
    ]
    connection.execute(f"CREATE TABLE {quoted(name)} ({', '.join(each.definition for each in stored)})")
    filled = [each for each in stored if each.target is not None]
    targets = ", ".join(str(each.target) for each in filled)
    sources = ", ".join(str(each.source) for each in filled)
    ((count,),) = connection.execute(
        f"INSERT INTO {quoted(name)} ({targets}) SELECT {sources} FROM {relation} ORDER BY file_row_number"
    ).fetchall()
    return int(count)


def _stored(
    connection: duckdb.DuckDBPyConnection, column: str, sql_type: str, relation: str
) -> Sequence[StoredColumn]:
    plain = [StoredColumn(f"{column} {sql_type}", column, column)]
    if sql_type.startswith("MAP("):
        length, empty = f"cardinality({column})", f"CAST(MAP() AS {sql_type})"
    elif sql_type.endswith("[]"):
        length, empty = f"len({column})", f"CAST([] AS {sql_type})"
    else:
        return plain
    groups, with_elements, with_null = connection.execute(
        "SELECT count(*), count(*) FILTER (elements > 0), count(*) FILTER (has_null) FROM ("
        f"SELECT max({length}) AS elements, bool_or({column} IS NULL) AS has_null "
        f"FROM {relation} GROUP BY file_row_number // {_ROW_GROUP})"
    ).fetchall()[0]
    if groups == with_elements:
        return plain
    if not with_elements:
        constant = f"CAST(NULL AS {sql_type})" if with_null else empty
        return [StoredColumn(f"{column} {sql_type} GENERATED ALWAYS AS ({constant}) VIRTUAL")]
    text = quoted(column.strip('"') + "_json")
    computed = f"CAST(CAST({text} AS JSON) AS {sql_type})"
    return [
        StoredColumn(f"{column} {sql_type} GENERATED ALWAYS AS ({computed}) VIRTUAL"),
        StoredColumn(f"{text} VARCHAR", text, f"CAST(to_json({column}) AS VARCHAR)"),
    ]
