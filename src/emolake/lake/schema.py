"""The tables of the lake: creating them, and the one place that writes rows into them and enforces their schema."""

from contextlib import suppress

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from emolake.errors import EmolakeError
from emolake.lake.registration import registered
from emolake.schemas.column import Column
from emolake.schemas.tables import GUARDS, TABLES, Table
from emolake.schemas.views import VIEWS, View
from emolake.sql import literal, statement

# Enough that writers of different days rarely meet, few enough that their files stay a handful.
GUARD_SLOTS = 16


class SchemaError(EmolakeError):
    """Rows that do not fit their table."""


def append(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table) -> None:
    """Append rows to a table of the lake, after checking them against its schema.

    Raises:
        SchemaError: a column is missing, extra or mistyped, NULL where it may not be, or has a value out of its set.
    """
    check_rows(table, rows)
    if rows.num_rows:
        with registered(connection, new_rows=rows):
            connection.execute(statement("append", table=table.name))


def check_rows(table: Table, rows: pa.Table) -> None:
    """Check rows against the table's schema; see `append`."""
    if not rows.schema.equals(table.schema):
        found = {field.name: field for field in rows.schema}
        wrong = [
            f"{field.name} is {found[field.name].type if field.name in found else 'missing'}, expected {field.type}"
            for field in table.schema
            if field.name not in found or not found[field.name].equals(field)
        ] + [f"{name} is not a column" for name in found if name not in table.schema.names]
        raise SchemaError(
            f"rows for {table.name} do not fit: {'; '.join(wrong) or 'the columns are out of order'}"
        )
    for column in table.columns:
        values = rows.column(column.name)
        if not column.nullable and values.null_count:
            raise SchemaError(
                f"rows for {table.name} do not fit: {column.name} is NULL {values.null_count} times"
            )
        if column.allowed is not None:
            if pa.types.is_list(column.type):
                values = pc.list_flatten(values)
            strangers = set(values.unique().to_pylist()) - set(column.allowed) - {None}
            if strangers:
                raise SchemaError(
                    f"rows for {table.name} do not fit: {column.name} holds {', '.join(sorted(strangers))}, "
                    f"expected one of {', '.join(column.allowed)}"
                )


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create what is missing of the tables and their columns, and the views that are missing or say something else."""
    for table in missing_tables(connection):
        connection.execute(table.ddl)
        if table.partition_by:
            connection.execute(
                f"ALTER TABLE lake.{table.name} SET PARTITIONED BY ({', '.join(table.partition_by)})"
            )
        if table is GUARDS:
            slots = pa.table(
                {"guard": range(GUARD_SLOTS), "commits": [0] * GUARD_SLOTS}, schema=GUARDS.schema
            )
            append(connection, GUARDS, slots)
    for name, column in missing_columns(connection):
        connection.execute(f'ALTER TABLE lake.{name} ADD COLUMN "{column.name}" {column.sql_type}')
    for view in outdated_views(connection):
        connection.execute(f"CREATE OR REPLACE VIEW lake.{view.name} AS\n{view.select}")
        connection.execute(f"COMMENT ON VIEW lake.{view.name} IS {literal(view.comment)}")


def add_temporary_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the views that the lake lacks, or has as another version made them, for this connection alone.

    What the lake lacks the tables or columns for is left out.
    """
    for view in outdated_views(connection):
        with suppress(duckdb.BinderException, duckdb.CatalogException):
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {view.name} AS\n{view.select}")


def missing_tables(connection: duckdb.DuckDBPyConnection) -> list[Table]:
    """Return the tables that the attached lake lacks; all of them where the catalog is empty."""
    found = connection.execute(statement("tables_of_lake")).fetchall()
    return [table for table in TABLES if (table.name,) not in found]


def missing_columns(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, Column]]:
    """Return the columns that a lake made by an earlier version lacks; they may be NULL."""
    found = connection.execute(statement("columns_of_lake")).fetchall()
    tables = {name for name, _ in found}
    return [
        (table.name, column)
        for table in TABLES
        for column in table.columns
        if table.name in tables and (table.name, column.name) not in found
    ]


def outdated_views(connection: duckdb.DuckDBPyConnection) -> list[View]:
    """Return the views that the lake lacks, or has as another version made them."""
    found = connection.execute(statement("views_of_lake")).fetchall()
    return [view for view in VIEWS if (view.name, view.comment) not in found]
