"""The views of the lake: made with it, brought up to date by the next writer, as they are declared."""

import pytest

from emolake.lake.connect import open_lake
from emolake.schemas.tables import TABLES
from emolake.schemas.views import VIEWS, View

from made_lake import sqlite_warehouse


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("empty"))) as lake:
        yield lake


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_has_the_columns_that_are_declared(empty, view: View) -> None:
    found = empty.connection.execute(f"SELECT * FROM {view.name}").to_arrow_table().schema
    assert [(field.name, field.type) for field in found] == [
        (field.name, field.type) for field in view.schema
    ]
    assert set(view.key) <= set(found.names)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_the_example_of_a_view_runs(empty, view: View) -> None:
    assert view.name in view.example
    empty.rows(view.example)


def test_no_view_has_the_name_of_a_table() -> None:
    assert not {view.name for view in VIEWS} & {table.name for table in TABLES}
