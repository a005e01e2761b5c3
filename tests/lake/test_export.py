"""Exports: the lake's rows of some days in files that are there whole or not at all."""

import csv
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emolake.atomic import move_whole
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.disclosure import ALL_DAYS, Disclosure, grain, selections
from emolake.lake.export import ExportError, export, plan_export
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.schemas.days import DayRange
from emolake.schemas.tables import DRIFT, RUNS, TABLES, Grain
from emolake.schemas.views import RELATIONS
from emolake.sql import quoted
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, run_row, shard_rows, sqlite_warehouse, tiled

MARK = "Rumpelstilzchen"
DAYS = [DAY + timedelta(days=number) for number in range(5)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    warehouse = sqlite_warehouse(tmp_path_factory.mktemp("lake"))
    calls = [
        Call(
            f"{MARK} {day}.wav",
            day=day,
            pieces=tiled(["anger", "neutral", None]),
            error=f"truncated: {MARK}",
            talk_s=5.0,
        )
        for day in DAYS
    ]
    with open_lake(warehouse) as writer:
        commit_shard(writer, shard_rows(calls), key=KEY, run_id="run-1", message="made")
        list(aggregate_days(writer, DayRange(DAYS[0], DAYS[-1]), dimensions=("site",), run_id="run-1"))
        for number, day in enumerate(DAYS):
            row = run_row(f"run-{number}", first_date=day - timedelta(days=1), last_date=day, error=MARK)
            append(writer.connection, RUNS, row)
    with open_lake(warehouse, read_only=True) as reader:
        yield reader


def disclosed(*include: Grain, personal: bool = False, days: DayRange = ALL_DAYS) -> Disclosure:
    return Disclosure(frozenset({"site"}), frozenset({"site", "agent"}), frozenset(include), personal, days)


def exported(lake: Lake, folder: Path, format="parquet", names=(), **options):
    disclosure = options.pop("disclosure", disclosed())
    return export(lake, folder, format, disclosure, names, memory_mb=512, **options)


def everything() -> list[str]:
    return [each.name for each in RELATIONS]


def test_without_names_it_is_the_summaries(lake, tmp_path):
    done = exported(lake, tmp_path / "new" / "folder")
    assert {"daily_emotions", "runs", "model_health"} <= {each.selection.name for each in done}
    assert not {"recordings", "segments", "guards"} & {each.selection.name for each in done}
    assert all(each.path.is_file() for each in done)
    with_more = exported(lake, tmp_path / "more", disclosure=disclosed(Grain.recordings, Grain.segments))
    assert {"recordings", "segments", "model_comparison"} <= {each.selection.name for each in with_more}


def test_every_row_and_column_comes_out_of_every_table(lake, tmp_path):
    names = everything()
    done = exported(lake, tmp_path, names=names, disclosure=disclosed(personal=True))
    assert [each.selection.name for each in done] == names
    for each in done:
        there = lake.answer(
            lambda name=each.selection.name: lake.connection.execute(f"FROM {name}").to_arrow_table()
        )
        found = pq.read_table(each.path)
        assert found.column_names == there.column_names
        assert found.num_rows == there.num_rows == each.rows
        assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, there.to_pylist()))


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_nothing_personal_comes_out_unless_it_is_asked_for(lake, tmp_path, format):
    def text(folder: Path) -> str:
        if format == "csv":
            return "".join(path.read_text("utf-8") for path in folder.glob("*.csv"))
        return "".join(repr(pq.read_table(path).to_pylist()) for path in folder.glob("*.parquet"))

    exported(lake, tmp_path / "without", format, everything())
    assert MARK not in text(tmp_path / "without")
    exported(lake, tmp_path / "with", format, everything(), disclosure=disclosed(personal=True))
    assert MARK in text(tmp_path / "with")


def test_a_csv_is_as_query_writes_it(lake, tmp_path):
    exported(lake, tmp_path, "csv", ["segments"])
    with (tmp_path / "segments.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * len(DAYS)
    assert {row["probabilities"] for row in rows} == {'{"anger": 0.75}', '{"neutral": 0.75}', ""}
    assert {row["date"] for row in rows} == set(map(str, DAYS))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(st.integers(-2, 6), st.integers(-2, 6)).map(sorted))
def test_a_range_takes_its_days_and_no_other(lake, tmp_path_factory, bounds):
    first, last = (DAY + timedelta(days=number) for number in bounds)
    folder = tmp_path_factory.mktemp("days")
    asked = ["segments", "recordings", "daily_emotions", "runs", "guards"]
    planned = plan_export(lake, folder, "parquet", disclosed(days=DayRange(first, last)), asked)
    rows = {each.selection.name: each.rows for each in planned}
    inside = [day for day in DAYS if first <= day <= last]
    assert rows["recordings"] == len(inside)
    assert rows["segments"] == 3 * len(inside)
    assert rows["daily_emotions"] == 3 * len(inside)
    # A run is of the day before too.
    assert rows["runs"] == sum(day >= first and day - timedelta(days=1) <= last for day in DAYS)
    assert rows["guards"] == 16
    assert [each.selection.name for each in planned if not each.selection.by_day] == ["guards"]


def test_one_end_of_a_range_may_be_left_out(lake, tmp_path):
    disclosure = disclosed(days=DayRange.between(None, DAY))
    (planned,) = plan_export(lake, tmp_path, "parquet", disclosure, ["recordings"])
    assert planned.rows == 1
    assert DayRange.between(None, None).first == date.min


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(lake, tmp_path):
    planned = plan_export(lake, tmp_path / "out", "csv", disclosed(), ["segments", "runs"])
    assert [(each.rows, each.replaces) for each in planned] == [(15, False), (5, False)]
    assert not (tmp_path / "out").exists()


def test_files_that_are_there_are_replaced_only_where_that_is_asked_for(lake, tmp_path):
    (tmp_path / "runs.csv").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"1 file would be replaced, .*runs\.csv for one.*--force"):
        exported(lake, tmp_path, "csv", ["segments", "runs"])
    assert (tmp_path / "runs.csv").read_text() == "mine"
    assert not (tmp_path / "segments.csv").exists()
    exported(lake, tmp_path, "csv", ["segments", "runs"], force=True)
    assert (tmp_path / "runs.csv").read_text().startswith("run_id,")


def test_a_table_that_there_is_not_is_named_with_those_that_there_are(lake, tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"no table or view nothing, ';; DROP; it has .*daily_emotions"
    ):
        exported(lake, tmp_path, names=["runs", "nothing", "';; DROP"])
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(lake, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        exported(lake, tmp_path / "file" / "below")
    for each in (exported, lambda lake, folder: plan_export(lake, folder, "csv", disclosed())):
        with pytest.raises(ConfigurationError, match="file is a file; give a folder with -o"):
            each(lake, tmp_path / "file")


@pytest.mark.parametrize("folder", ["recordings", "runs", "segments"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_any_file_is_replaced(lake, tmp_path, folder):
    names = ["recordings", "runs", "segments"]
    for name in names:
        (tmp_path / f"{name}.csv").write_text("mine")
    (tmp_path / f"{folder}.csv").unlink()
    (tmp_path / f"{folder}.csv").mkdir()
    with pytest.raises(ExportError, match=rf"{folder}\.csv is a folder.*as they were$"):
        exported(lake, tmp_path, "csv", names, force=True)
    assert {path.read_text() for path in tmp_path.glob("*.csv") if path.is_file()} == {"mine"}


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_a_move_that_fails_says_which_files_are_new(lake, tmp_path, monkeypatch, moves):
    names = ["recordings", "runs", "segments"]
    for name in names:
        (tmp_path / f"{name}.csv").write_text("mine")
    left = iter(range(moves))

    def move(source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise PermissionError(1, "Operation not permitted")
        move_whole(source, target)

    monkeypatch.setattr("emolake.lake.export.move_whole", move)
    with pytest.raises(ExportError) as raised:
        exported(lake, tmp_path, "csv", names, force=True)
    new = [name for name in names if (tmp_path / f"{name}.csv").read_text() != "mine"]
    assert len(new) == moves
    assert all((f"{name}.csv" in str(raised.value)) is (name in new) for name in names)
    assert ("files that were there are as they were" in str(raised.value)) is (moves == 0)


def test_killed_in_the_middle_no_file_is_there_and_the_next_removes_what_is_left(lake, tmp_path):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import emolake.lake.export as module\n"
        "from emolake.lake.connect import open_lake\n"
        "from emolake.lake.disclosure import Disclosure\n"
        "from made_lake import sqlite_warehouse\n"
        "module.move_whole = lambda *_: os.kill(os.getpid(), 9)\n"
        "warehouse = sqlite_warehouse(Path(sys.argv[2]))\n"
        "with open_lake(warehouse, read_only=False) as lake:\n"
        "    module.export(lake, Path(sys.argv[3]), 'csv', Disclosure(frozenset(), frozenset()), memory_mb=512)\n"
    )
    made = tmp_path / "made"
    made.mkdir()
    tests = str(Path(__file__).parents[1])
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", script, tests, made, out], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert not list(out.glob("*.csv"))
    assert list(out.glob(".*.partial"))
    exported(lake, out, "csv")
    assert not list(out.glob(".*.partial"))
    assert (out / "runs.csv").is_file()


def test_what_a_row_is_about_decides_whether_it_is_taken():
    assert grain("segments", ["recording_id"]) is Grain.segments
    assert grain("a view of segments", ["recording_id", "start_s"]) is Grain.segments
    assert grain("a view of calls", ["recording_id"]) is Grain.summary
    assert {table.name for table in TABLES if table.grain is Grain.summary} == {
        "daily_emotions",
        "runs",
        "model_health",
        "drift",
    }


OTHERS = {
    "renamed": "SELECT date, dimensions['site'] AS name, uri AS link FROM recordings",
    "by day": "SELECT date, count(*) AS calls FROM recordings GROUP BY date",
    'a "segment"': "SELECT recording_id, start_s FROM segments",
    "a_table": "SELECT uri AS start_s FROM recordings",
}


@pytest.fixture
def others(lake) -> Iterator[list[str]]:
    """Views and a table that emolake did not make."""
    for name, sql in OTHERS.items():
        kind = "TABLE" if "table" in name else "VIEW"
        lake.connection.execute(f"CREATE TEMP {kind} {quoted(name)} AS {sql}")
    yield list(OTHERS)
    for name in OTHERS:
        kind = "TABLE" if "table" in name else "VIEW"
        lake.connection.execute(f"DROP {kind} {quoted(name)}")


def test_what_emolake_did_not_make_is_taken_only_with_personal_data(lake, others):
    def taken(*include: Grain, personal: bool = False, names=()) -> set[str]:
        disclosure = disclosed(*include, personal=personal)
        return {each.name for each in lake.answer(lambda: selections(lake, disclosure, names))}

    for include in ((), tuple(Grain)):
        assert not set(others) & taken(*include)
    for name in others:
        for names in ([name], ["runs", name]):
            with pytest.raises(ConfigurationError, match=f"^{re.escape(name)} was not made by .*--personal"):
                taken(*Grain, names=names)
        assert taken(personal=True, names=[name]) == {name}
    assert set(others) <= taken(Grain.segments, personal=True)


def test_columns_that_somebody_added_are_left_out_with_what_is_personal(lake, tmp_path):
    lake.connection.execute("CREATE TEMP VIEW calls AS SELECT *, uri AS link FROM lake.calls")
    try:
        (each,) = plan_export(lake, tmp_path, "parquet", disclosed(), ["calls"])
        (whole,) = plan_export(lake, tmp_path, "parquet", disclosed(personal=True), ["calls"])
    finally:
        lake.connection.execute("DROP VIEW calls")
    assert {"uri", "link"} <= set(each.selection.left_out)
    assert "link" in whole.selection.columns


def test_drift_of_the_whole_day_comes_out_and_that_of_closed_dimensions_does_not(tmp_path):
    warehouse = sqlite_warehouse(tmp_path)
    by = [("", ""), ("site", "oslo"), ("agent", MARK), ("role", "agent")]
    rows = [
        {
            **dict.fromkeys(DRIFT.schema.names),
            "date": DAY, "model": "tiny", "config_id": "c", "dimension": dimension, "dimension_value": value,
            "measure": "confidence", "earlier_days": 0, "recordings": 1,
            "committed_at": datetime.now(UTC), "verdict": "too few", "run_id": "run-1",
        }
        for dimension, value in by
    ]  # fmt: skip
    with open_lake(warehouse) as writer:
        append(writer.connection, DRIFT, pa.Table.from_pylist(rows, schema=DRIFT.schema))
    with open_lake(warehouse, read_only=True) as reader:
        exported(reader, tmp_path / "out", names=["drift"])
    found = pq.read_table(tmp_path / "out" / "drift.parquet").to_pylist()
    assert {row["dimension"] for row in found} == {"", "site"}


def test_sums_of_integers_are_integers_in_files(lake, tmp_path):
    """DuckDB's sum() of integers has a type that Parquet does not have, and would come out as a float."""
    summed = "SELECT date, sum(segments) AS segments FROM daily_emotions GROUP BY date"
    lake.connection.execute(f"CREATE TEMP VIEW mine AS {summed}")
    try:
        (each,) = exported(lake, tmp_path, names=["mine"], disclosure=disclosed(personal=True))
    finally:
        lake.connection.execute("DROP VIEW mine")
    assert pq.read_table(each.path).column("segments").to_pylist() == [3] * len(DAYS)
    assert pq.read_schema(each.path).field("segments").type == pa.int64()
