"""Verify: a sound lake has no breach, and a lake corrupted in one way has exactly that one."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from emolake.cli.arguments import TableFormat
from emolake.cli.presenting import show_verdict
from emolake.lake.connect import open_lake
from emolake.lake.questions import ask
from emolake.lake.schema import append
from emolake.lake.transact import Lake, LakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import RUNS
from emolake.settings import Settings
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard
from emolake.upkeep.verify import Verdict, verify, verify_rows

from made_lake import DAY, KEY, Call, Piece, run_row, shard_rows, sqlite_warehouse, tiled

pytestmark = pytest.mark.slow

EARLIER = DAY - timedelta(days=1)
OTHER = AnalysisKey("other", "e" * 32, "d" * 16)
STEREO = (*tiled(["anger", "fear"]), *(Piece(0, 20, 1.0, "fear", channel=1),))
CALLS = [
    Call(
        "a.wav",
        pieces=(
            Piece(0, 10, 1.0, "anger"),
            Piece(10, 20, 0.0, None, index=1),
            Piece(20, 30, 1.0, "neutral", index=2),
        ),
        duration_s=30.0,
    ),
    Call("b.wav", pieces=STEREO, duration_s=20.0, site="berlin"),
    Call("c.wav", day=EARLIER),
    Call("d.wav", status="quarantined", error="empty: decode: no bytes", pieces=(), duration_s=None),
    Call("e.wav", status="quarantined", error="fetch_failed: fetch: 503", pieces=(), analysed=False),
]
A = CALLS[0].recording_id


def fill(warehouse: WarehouseOptions) -> None:
    options = '{"segmentation": {"method": "window", "window_s": 10.0, "hop_s": 10.0}}'
    with open_lake(warehouse) as lake:
        append(lake.connection, RUNS, run_row("run-1", options=options))
        for key in (KEY, OTHER):
            commit_shard(lake, shard_rows(CALLS, key=key), key=key, run_id="run-1", message="made")
        list(aggregate_days(lake, DayRange(EARLIER, DAY), dimensions=["site"], run_id="run-1"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "lake"
    folder.mkdir()
    fill(sqlite_warehouse(folder))
    return folder


@pytest.fixture
def settings(sound: Path) -> Settings:
    """A sound lake of its own: the catalog holds the data's absolute path, so the copy takes its place."""
    kept = sound.with_name("kept")
    if not kept.exists():
        shutil.copytree(sound, kept)
    shutil.rmtree(sound)
    shutil.copytree(kept, sound)
    return Settings(warehouse=sqlite_warehouse(sound))


def checks(settings: Settings, days: DayRange | None = None) -> Counter[str]:
    return Counter(each.check for each in verify(settings, days).breaches)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def test_a_sound_lake_has_no_breach(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    warehouse = sqlite_warehouse(tmp_path)
    if kind == "postgres":
        from chaos.servers import new_database

        uri = request.getfixturevalue("postgres")
        warehouse = warehouse.model_copy(update={"catalog": f"postgres:{new_database(uri, tmp_path.name)}"})
    fill(warehouse)
    verdict = verify(Settings(warehouse=warehouse))
    assert (verdict.breaches, verdict.notices, verdict.days) == ([], [], 2)
    assert verdict.files > 10


SEGMENT = f"recording_id = '{A}' AND model = 'm' AND segment_index = 1"
OF_M = f"date = '{EARLIER}' AND model = 'm'"
CORRUPTIONS: dict[str, tuple[str, dict[str, int]]] = {
    "recording twice": (
        f"INSERT INTO lake.recordings SELECT * FROM lake.recordings WHERE recording_id = '{A}'",
        {"recordings_twice": 1},
    ),
    "recording on two days": (
        f"INSERT INTO lake.recordings SELECT * REPLACE (DATE '{EARLIER}' AS date) FROM lake.recordings "
        f"WHERE recording_id = '{CALLS[4].recording_id}'",
        {"recordings_twice": 1},
    ),
    "analysis twice": (
        f"INSERT INTO lake.analyses SELECT * FROM lake.analyses WHERE recording_id = '{A}' AND model = 'm'",
        {"analyses_twice": 1},
    ),
    "segment twice": (
        f"INSERT INTO lake.segments SELECT * FROM lake.segments WHERE {SEGMENT}",
        {"segments_twice": 1},
    ),
    "segment lost": (
        f"DELETE FROM lake.segments WHERE {SEGMENT}",
        {"tiling": 1, "segments_against_ledger": 1},
    ),
    "gap": (f"UPDATE lake.segments SET start_s = 11 WHERE {SEGMENT}", {"tiling": 1}),
    "backwards": (f"UPDATE lake.segments SET start_s = 21 WHERE {SEGMENT}", {"tiling": 1}),
    "overlap": (  # the window before owns a second less
        f"UPDATE lake.segments SET start_s = 9 WHERE {SEGMENT}",
        {"tiling": 1, "segments_against_ledger": 1},
    ),
    "end before the recording's": (
        f"UPDATE lake.recordings SET duration_s = 31 WHERE recording_id = '{A}'",
        {"tiling": 2},  # of both models
    ),
    "wrong number": (
        f"UPDATE lake.segments SET segment_index = 7 "
        f"WHERE recording_id = '{A}' AND model = 'm' AND segment_index = 2",
        {"tiling": 1},
    ),
    "no segments": (
        f"DELETE FROM lake.segments WHERE recording_id = '{A}' AND model = 'm'",
        {"tiling": 1, "segments_against_ledger": 1},
    ),
    "segments without an analysis": (
        f"DELETE FROM lake.analyses WHERE recording_id = '{A}' AND model = 'm'",
        {"segments_against_ledger": 1},
    ),
    "another configuration": (
        f"UPDATE lake.segments SET config_id = 'x' WHERE {SEGMENT}",
        {"segments_against_ledger": 1},
    ),
    "another version": (
        f"UPDATE lake.recordings SET version = 'v9' WHERE recording_id = '{A}'",
        {"rows_against_ledger": 2},
    ),
    "recording lost": (
        f"DELETE FROM lake.recordings WHERE recording_id = '{A}'",
        {"rows_against_ledger": 2},
    ),
    "no reason": (
        f"UPDATE lake.recordings SET error = NULL WHERE recording_id = '{CALLS[3].recording_id}'",
        {"rows_against_ledger": 1},
    ),
    "aggregate lost": (
        f"DELETE FROM lake.daily_emotions WHERE date = '{DAY}' AND model = 'm' AND emotion = 'neutral'",
        {"aggregates": 1},
    ),
    "aggregate left over": (
        f"INSERT INTO lake.daily_emotions SELECT * REPLACE ('calm' AS emotion) FROM lake.daily_emotions "
        f"WHERE {OF_M}",
        {"aggregates": 1},
    ),
    "aggregate twice": (
        f"INSERT INTO lake.daily_emotions SELECT * FROM lake.daily_emotions WHERE {OF_M}",
        {"aggregates": 1},
    ),
    "aggregates of a day without recordings": (
        f"INSERT INTO lake.daily_emotions SELECT * REPLACE (date - 7 AS date) FROM lake.daily_emotions WHERE {OF_M}",
        {"aggregates": 1},
    ),
    **{
        f"aggregate of another {column}": (
            f"UPDATE lake.daily_emotions SET {column} = {column} * 1.1 + 1 WHERE {OF_M}",
            {"aggregates": 1},
        )
        for column in (
            "segments",
            "speech_seconds",
            "uncertain_seconds",
            "share",
            "mean_probability",
            "recordings",
        )
    },
    "ledger changed after the aggregation": (
        f"UPDATE lake.analyses SET committed_at = now() WHERE recording_id = '{A}' AND model = 'm'",
        {"aggregates": 1},
    ),
}


@pytest.fixture(scope="module")
def open_sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, Settings]]:
    """A sound lake that is open to write."""
    warehouse = sqlite_warehouse(tmp_path_factory.mktemp("open"))
    fill(warehouse)
    with open_lake(warehouse) as lake:
        yield lake, Settings(warehouse=warehouse)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_rows_that_are_corrupted_are_found_by_the_query_too(
    open_sound: tuple[Lake, Settings], name: str
) -> None:
    lake, settings = open_sound
    sql, expected = CORRUPTIONS[name]

    def corrupted() -> tuple[Verdict, list[list[tuple[Any, ...]]]]:
        lake.connection.execute(sql)
        verdict = verify_rows(lake, settings, DayRange(DAY - timedelta(days=30), DAY))
        return verdict, [ask(lake.connection, each.query or "").fetchall() for each in verdict.breaches]

    verdict, shown = lake.answer(corrupted)  # which is undone
    assert Counter(each.check for each in verdict.breaches) == expected, verdict.breaches
    assert all(shown), verdict.breaches


def live_file(lake: Lake, table: str = "segments") -> Path:
    return Path(lake.rows(f"SELECT data_file FROM ducklake_list_files('lake', '{table}') ORDER BY ALL")[0][0])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def spoil_footer(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-4:] = b"JUNK"
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (Path.unlink, "is missing"),
        (truncate, "bytes, and the catalog says"),
        (spoil_footer, "cannot be read"),
    ],
)
def test_files_that_are_lost_or_spoilt_are_found(
    settings: Settings, spoil: Callable[[Path], None], found: str
) -> None:
    with open_lake(settings.warehouse, read_only=True) as lake:
        path = live_file(lake, "aggregations")
    spoil(path)
    verdict = verify(settings)
    assert any(found in each.finding for each in verdict.breaches), verdict
    assert all(path.name in each.finding and each.check == "files" for each in verdict.breaches)
    assert "while files are lost or broken" in verdict.notices[-1].finding


def test_a_file_of_other_rows_is_found(settings: Settings) -> None:
    with open_lake(settings.warehouse) as lake:
        path = live_file(lake, "runs")
        lake.connection.execute(
            "UPDATE __ducklake_metadata_lake.ducklake_data_file SET record_count = 7 WHERE ends_with(path, $name)",
            {"name": path.name},
        )
    (breach,) = verify(settings).breaches
    assert f"{path.name} of runs has 1 rows, and the catalog says 7" in breach.finding


def test_files_that_the_catalog_does_not_know_are_notices(settings: Settings) -> None:
    stray = Path(settings.warehouse.data) / "main" / "segments" / "stray.parquet"
    stray.write_bytes(b"left by a run that was killed")
    verdict = verify(settings)
    assert verdict.breaches == []
    assert [each.check for each in verdict.notices] == ["orphans"]
    assert "main/segments/stray.parquet" in verdict.notices[0].finding


def test_a_day_that_a_live_run_is_making_is_no_breach(settings: Settings) -> None:
    with open_lake(settings.warehouse) as lake:
        late = shard_rows([Call("late.wav")], run_id="run-2")
        commit_shard(lake, late, key=KEY, run_id="run-2", message="made")
        assert checks(settings) == {"aggregates": 1}
        lake.connection.execute(
            "INSERT INTO lake.runs SELECT * REPLACE ('run-2' AS run_id, 'running' AS outcome, now() AS heartbeat_at) "
            "FROM lake.runs"
        )
    verdict = verify(settings)
    assert (verdict.breaches, [each.date for each in verdict.notices]) == ([], [DAY])


def test_only_the_range_is_looked_at(settings: Settings) -> None:
    with open_lake(settings.warehouse) as lake:
        lake.connection.execute(CORRUPTIONS["segment lost"][0])
    assert checks(settings, DayRange.between(None, EARLIER)) == {}
    assert checks(settings, DayRange(DAY, DAY))["tiling"] == 1


def test_json_has_one_object_a_finding(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with open_lake(settings.warehouse) as lake:
        lake.connection.execute(CORRUPTIONS["no reason"][0])
    show_verdict(verify(settings), TableFormat.json)
    found, notice = json.loads(capsys.readouterr().out)
    assert found.keys() == {"kind", "check", "date", "finding", "query"}
    assert (found["kind"], found["check"], found["date"]) == ("breach", "rows_against_ledger", str(DAY))
    assert (notice["kind"], notice["check"]) == ("notice", "aggregates")


def test_without_a_lake_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="emolake nightly"):
        verify(Settings(warehouse=sqlite_warehouse(tmp_path)))
    assert list(tmp_path.iterdir()) == []
