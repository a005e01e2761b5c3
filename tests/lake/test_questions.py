"""`open_lake(…).query(…)`: one question, its answer as Arrow, pandas or polars, and the lake closed again."""

import sys
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import emolake
from emolake.errors import ConfigurationError
from emolake.lake import connect
from emolake.lake.questions import QueryError
from emolake.lake.unopened import NoLakeError
from emolake.settings import Settings
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, shard_rows, sqlite_warehouse, tiled

SQL = "SELECT date, uri, dimensions, shares, duration_s FROM calls ORDER BY uri"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    warehouse = sqlite_warehouse(tmp_path_factory.mktemp("asked"))
    calls = [Call("a.wav", pieces=tiled(["anger", "anger"])), Call("b.wav", pieces=tiled(["fear", None]))]
    with connect.open_lake(warehouse) as lake:
        commit_shard(lake, shard_rows(calls), key=KEY, run_id="run-1", message="made")
    return Settings(warehouse=warehouse)


def test_the_same_rows_in_each_form(settings: Settings) -> None:
    answer = emolake.open_lake(settings).query(SQL)
    rows = answer.arrow().to_pylist(maps_as_pydicts="strict")
    assert isinstance(answer.arrow(), pa.Table)
    assert [row["uri"] for row in rows] == ["s3://calls/a.wav", "s3://calls/b.wav"]
    assert rows[0]["shares"] == {"anger": 1.0}
    frame = answer.pandas()
    assert isinstance(frame, pd.DataFrame)
    assert str(frame["date"].dtype).startswith("datetime64")
    assert frame["date"].tolist() == [pd.Timestamp(DAY)] * 2
    assert frame["shares"].tolist() == [{"anger": 1.0}, {"fear": 1.0}]
    table = answer.polars()
    assert isinstance(table, pl.DataFrame)
    assert table["date"].to_list() == [date(2026, 11, 20)] * 2
    assert table["duration_s"].to_list() == [10.0, 10.0]


def test_the_lake_is_closed_when_the_answer_is_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    lake_of = connect.open_lake

    class Watched:
        def __init__(self, *given: object, **named: object) -> None:
            assert named["read_only"] is True
            self._opened = lake_of(*given, **named)  # type: ignore[arg-type]

        def __enter__(self) -> object:
            return self._opened.__enter__()

        def __exit__(self, *how: object) -> None:
            closed.append(how[0])
            self._opened.__exit__(*how)  # type: ignore[arg-type]

    monkeypatch.setattr(connect, "open_lake", Watched)
    answer = emolake.open_lake(settings, read_only=False).query("SELECT 1 AS one")
    assert closed == [None]
    assert answer.pandas()["one"].tolist() == [1]
    with pytest.raises(QueryError):
        emolake.open_lake(settings).query("SELECT nothing FROM calls")
    assert closed == [None, QueryError]


def test_several_questions_in_a_block(settings: Settings) -> None:
    with emolake.open_lake(settings) as lake:
        assert lake.query("SELECT count(*) AS n FROM calls").arrow()["n"].to_pylist() == [2]
        assert lake.query("SELECT count(*) AS n FROM timeline").polars()["n"].to_list() == [3]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM recordings", "the query holds DELETE; expected one SELECT"),
        ("SELECT 1; SELECT 2", "the query holds SELECT, SELECT; expected one"),
        ("", "the query holds nothing"),
        ("ATTACH ':memory:' AS other", "the query holds ATTACH"),
        ("COPY recordings TO 'x.csv'", "the query holds COPY"),
        ("SELECT shares FROM call", "(?s)does not exist.*calls"),
        ("SELECT error('as it is read')", "as it is read"),
    ],
)
def test_what_is_no_question_is_refused(settings: Settings, sql: str, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        emolake.open_lake(settings).query(sql)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_package_that_is_missing_is_named_with_its_extra(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    answer = emolake.open_lake(settings).query("SELECT 1 AS one")
    with pytest.raises(
        ConfigurationError, match=rf"{package} is not installed; install emolake\[{package}\]"
    ):
        getattr(answer, package)()
    assert answer.arrow().num_rows == 1


def test_without_a_lake_the_error_is_that_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NoLakeError):
        emolake.open_lake(Settings(warehouse=sqlite_warehouse(tmp_path))).query("SELECT 1")
