"""Writing one day of one table again, in the transaction of the caller, who holds the guard of the day.

DuckLake's own compaction knows no guards: one that runs beside an erasure could bring rows back.
"""

from collections.abc import Collection
from datetime import date

import duckdb

from emolake.schemas.tables import ANALYSES, RECORDING_DYNAMICS, RECORDINGS, SEGMENTS, Table
from emolake.sql import statement

# The tables of a day that grow commit by commit; the others are replaced as a whole.
GROWING: tuple[Table, ...] = (RECORDINGS, ANALYSES, SEGMENTS, RECORDING_DYNAMICS)


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
    keep = statement("keep_day", table=table.name, key=", ".join(table.key))
    connection.execute(keep, {"date": day, "without": sorted(without)})
    connection.execute(statement("delete_day", table=table.name), {"date": day})
    connection.execute(statement("restore_day", table=table.name))
    ((rows,),) = connection.execute(statement("count_kept")).fetchall()
    connection.execute(statement("drop_kept"))
    return int(rows)
