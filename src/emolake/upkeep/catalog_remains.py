"""What a catalog still names when rows and files are gone: bounds of columns, and pages that were freed."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from emolake.lake.connect import open_lake
from emolake.lake.registration import registered
from emolake.lake.transact import Lake, LakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.sql import statement

# In a process of its own: two SQLite libraries in one process take each other's locks away.
_COMPACT = (
    "import sqlite3, sys\n"
    "catalog = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
    "catalog.execute('VACUUM')\n"
    "catalog.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n"
    "catalog.close()\n"
)
_TABLES_WITH_BOUNDS = ("ducklake_file_column_stats", "ducklake_table_column_stats", "ducklake_data_file")


def forget_bounds(lake: Lake) -> None:
    """Take the recordings of the registered table `requested` out of the bounds of whole columns."""

    def work() -> None:
        connection = lake.connection
        bounds = connection.execute(statement("outdated_bounds")).to_arrow_table()
        if bounds.num_rows:
            with registered(connection, bounds=bounds):
                connection.execute(statement("forget_statistics"))

    lake.retried(work, what="the statistics of the catalog")


def compact_catalog(warehouse: WarehouseOptions) -> None:
    """Write the catalog again without what was deleted from it; no connection of this process may be open."""
    file = warehouse.parsed_catalog.file
    if file is not None:
        done = subprocess.run(
            [sys.executable, "-c", _COMPACT, str(file)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LakeError(
                f"the catalog {file} could not be compacted ({done.stderr.strip().splitlines()[-1]}); "
                "erase again when no run is at work"
            )
        return
    with open_lake(warehouse) as lake:
        for table in _TABLES_WITH_BOUNDS:
            lake.connection.execute(statement("vacuum_catalog"), {"vacuum": f"VACUUM {table}"})


def names_in_catalog(warehouse: WarehouseOptions, names: Sequence[str]) -> int:
    """Return how many of these texts are still in the bytes of an SQLite catalog, or in PostgreSQL's bounds."""
    file = warehouse.parsed_catalog.file
    if file is not None:
        files = [path for path in (file, Path(f"{file}-wal")) if path.is_file()]
        content = b"".join(path.read_bytes() for path in files)
        return sum(name.encode() in content for name in names)
    with open_lake(warehouse, read_only=True) as lake:
        found = 0
        for name in names:
            for table in _TABLES_WITH_BOUNDS[:2]:
                found += len(lake.rows(statement("named_in_bounds", table=table), {"name": name}))
        return found
