"""The views of the lake: made with it, brought up to date by the next writer, as they are declared."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from emolake.lake import turns
from emolake.lake.connect import connected, open_lake
from emolake.lake.questions import QueryError
from emolake.lake.schema import outdated_views
from emolake.lake.transact import Lake
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


def outdate(lake: Lake) -> None:
    """Leave the views as an earlier version had them: one is missing, one says something else."""
    lake.connection.execute("DROP VIEW lake.calls")
    lake.connection.execute("CREATE OR REPLACE VIEW lake.model_comparison AS SELECT 0.45 AS agree_share")


def test_the_next_writer_brings_views_up_to_date_once(warehouse) -> None:
    with open_lake(warehouse) as lake:
        outdate(lake)
    with open_lake(warehouse) as lake:
        assert outdated_views(lake.connection) == []
        lake.rows("SELECT model_a, agree FROM model_comparison")
        made = lake.latest_snapshot()
    with open_lake(warehouse) as lake:
        assert lake.latest_snapshot() == made, "a lake that is up to date gets no snapshot"


def test_two_writers_bring_them_up_to_date_at_once(embedded, monkeypatch) -> None:
    monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.01)
    with open_lake(embedded) as lake:
        outdate(lake)

    def opened(_: int) -> list[str]:
        with open_lake(embedded) as lake:
            return [view.name for view in outdated_views(lake.connection)]

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(opened, range(3))) == [[], [], []]


def test_who_only_reads_an_outdated_lake_has_the_views_of_this_version(embedded) -> None:
    with open_lake(embedded) as lake:
        outdate(lake)
        made = lake.latest_snapshot()
    with open_lake(embedded, read_only=True) as lake:
        assert lake.rows("SELECT count(*) FROM calls") == [(0,)]
        assert lake.rows("SELECT count(agree) FROM model_comparison") == [(0,)]
        assert lake.latest_snapshot() == made


def test_a_view_that_an_outdated_lake_lacks_the_columns_for_is_an_error_that_says_so(embedded) -> None:
    with open_lake(embedded) as lake:
        outdate(lake)
        lake.connection.execute("ALTER TABLE lake.segments DROP COLUMN role")
    with open_lake(embedded, read_only=True) as lake:
        with pytest.raises(
            QueryError, match="earlier version.*view calls is made from; the next run, or `emolake m"
        ):
            lake.query("SELECT * FROM calls")
        assert lake.rows("SELECT count(*) FROM coverage") == [(0,)], "what it has the columns for is there"


def test_a_view_answers_under_any_name_that_the_lake_is_attached_by(embedded) -> None:
    """As in a session of DuckDB's own that `emolake connect` describes."""
    with open_lake(embedded):
        pass
    with connected(embedded) as connection:
        target = f"ducklake:{embedded.parsed_catalog}"
        connection.execute(f"ATTACH '{target}' AS other (DATA_PATH '{embedded.data}', READ_ONLY)")
        for view in VIEWS:
            assert connection.execute(f"SELECT count(*) FROM other.{view.name}").fetchall() == [(0,)]
