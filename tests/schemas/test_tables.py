"""The tables' declarations hold together, and what is derived from them is up to date."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from emolake.schemas.dictionary import data_dictionary
from emolake.schemas.tables import TABLES, Table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_key_and_partition_are_columns(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert len(names) == len(set(names))
    assert set(table.key) <= set(names)
    assert set(table.partition_by) <= set(names)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_ddl_gives_the_arrow_types(table: Table) -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("ATTACH ':memory:' AS lake")
    connection.execute(table.ddl)
    made = connection.execute(f"SELECT * FROM lake.{table.name}").to_arrow_table().schema
    assert [(field.name, field.type) for field in made] == [
        (field.name, field.type) for field in table.schema
    ]


def test_descriptions_reach_arrow() -> None:
    field: pa.Field = TABLES[0].schema.field("uri")
    assert field.metadata == {b"description": b"where the object lies, as listed"}


def test_documented_dictionary_is_current() -> None:
    documented = (ROOT / "docs" / "tables.md").read_text("utf-8")
    assert documented == data_dictionary(), "run: python -m emolake.schemas.dictionary > docs/tables.md"
