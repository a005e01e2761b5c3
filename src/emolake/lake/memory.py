"""How much memory DuckDB takes, and where it puts what is beyond."""

import tempfile
from pathlib import Path
from uuid import uuid4

import duckdb


def spill_apart(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection put what does not fit into memory into a folder of its own, which DuckDB makes and removes.

    DuckDB names these files alike in every process and locks none of them: two that share a folder, as by default all
    that were started in one place do, read what the other has written.
    """
    folder = Path(tempfile.gettempdir(), f"emolake-duckdb-{uuid4().hex}")
    connection.execute("SET temp_directory = $folder", {"folder": str(folder)})


def bound_memory(connection: duckdb.DuckDBPyConnection, *, memory_mb: int) -> None:
    """Let DuckDB take so much memory, and the disk beyond."""
    connection.execute(f"SET memory_limit = '{memory_mb}MiB'")
