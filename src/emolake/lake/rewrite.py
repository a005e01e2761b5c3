"""Writing one day of one table anew, in the transaction of the caller, who holds the guard of the day.

DuckLake's own compaction knows no guards: one that runs beside an erasure could bring rows back.
"""

from collections.abc import Collection
from datetime import date

import duckdb

from emolake.schemas.tables import ANALYSES, RECORDINGS, SEGMENTS, Table

# The tables of a day that grow commit by commit; the others are replaced as a whole.
GROWING: tuple[Table, ...] = (RECORDINGS, ANALYSES, SEGMENTS)


def rewrite_day(
    connection: duckdb.DuckDBPyConnection, table: Table, day: date, *, without: Collection[str] = ()
) -> int:
    """Write a day's rows into new files, in the order of the table's key; return how many there are.

    Memory is DuckDB's: what is beyond `memory_limit` goes to disk.

    Args:
        connection: in a transaction that has taken the guard of the day.
        table: one that is partitioned by date and has a column recording_id.
        day: the day.
        without: identifiers of recordings whose rows are left out.
    """
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM lake.{table.name} "
        f"WHERE date = $date AND NOT list_contains($without::VARCHAR[], recording_id) "
        f"ORDER BY {', '.join(table.key)}",
        {"date": day, "without": sorted(without)},
    )
    connection.execute(f"DELETE FROM lake.{table.name} WHERE date = $date", {"date": day})
    connection.execute(f"INSERT INTO lake.{table.name} BY NAME SELECT * FROM kept")
    ((rows,),) = connection.execute("SELECT count(*) FROM kept").fetchall()
    connection.execute("DROP TABLE kept")
    return int(rows)
