"""A reader's look at a lake that an earlier version left: what it lacks is there, and is NULL or empty."""

from collections import defaultdict

from emolake.lake.schema import missing_columns, missing_tables
from emolake.lake.transact import Lake
from emolake.schemas.column import Column
from emolake.schemas.views import VIEWS


def use_todays_schema(lake: Lake) -> None:
    """Let bare names of tables and views mean those of this version, in this connection only.

    A lake that has all tables and columns is left as it is: opening it made its views. The next run writes what is
    missing into it.
    """
    lacking: dict[str, list[Column]] = defaultdict(list)
    for name, column in missing_columns(lake.connection):
        lacking[name].append(column)
    absent = missing_tables(lake.connection)
    for table in absent:
        lake.connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {table.name} AS SELECT {_nulls(table.columns)} WHERE false"
        )
    for name, columns in lacking.items():
        lake.connection.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT *, {_nulls(columns)} FROM lake.{name}"
        )
    if absent or lacking:
        for view in VIEWS:
            lake.connection.execute(f"CREATE OR REPLACE TEMP VIEW {view.name} AS {view.select}")


def _nulls(columns: list[Column] | tuple[Column, ...]) -> str:
    return ", ".join(f'NULL::{column.sql_type} AS "{column.name}"' for column in columns)
