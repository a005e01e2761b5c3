"""What DuckDB puts on the disk is each connection's own."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from emolake.lake.connect import open_lake
from emolake.lake.memory import bound_memory
from emolake.lake.warehouse import WarehouseOptions

_ROWS = 6_000_000  # three times the memory that is allowed


def fill(connection: duckdb.DuckDBPyConnection, factor: int) -> None:
    connection.execute(
        f"CREATE TEMP TABLE spilled AS SELECT range * {factor} AS number, hash(range * {factor}) AS sum, "
        f"hash(range) AS other FROM range({_ROWS})"
    )


def intact(connection: duckdb.DuckDBPyConnection, factor: int) -> int:
    ((rows,),) = connection.execute(
        f"SELECT count(*) FILTER (sum = hash(number) AND number % {factor} = 0) FROM spilled"
    ).fetchall()
    return int(rows)


def test_lakes_that_are_open_at_once_do_not_read_what_the_other_spilled(
    embedded: WarehouseOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB's own choice, one folder for all that begin in one place, mixes them up."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ExitStack() as stack:
        lakes = {factor: stack.enter_context(open_lake(embedded)) for factor in (3, 7)}
        for factor, lake in lakes.items():
            bound_memory(lake.connection, memory_mb=60)
            fill(lake.connection, factor)
        assert len(list(tmp_path.glob("emolake-duckdb-*/*DEFAULT*"))) == 2
        assert {factor: intact(lake.connection, factor) for factor, lake in lakes.items()} == {
            3: _ROWS, 7: _ROWS,
        }  # fmt: skip
    assert list(tmp_path.glob("emolake-duckdb-*")) == []
