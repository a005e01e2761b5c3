"""Maintenance: fewer files and the same rows, beside writers and readers; nothing young is taken away."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from typer.testing import CliRunner

from emolake.cli.app import app
from emolake.flows.maintain_lake import maintain_lake
from emolake.lake.connect import open_lake
from emolake.lake.memory import bound_memory
from emolake.lake.rewrite import rewrite_day
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.schemas.tables import RUNS, SEGMENTS
from emolake.settings import MaintainOptions, Settings
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard
from emolake.upkeep.maintain import Maintained, maintain
from emolake.upkeep.verify import verify

from made_lake import DAY, KEY, Call, run_row, shard_rows, tiled

pytestmark = pytest.mark.slow

EARLIER = DAY - timedelta(days=1)
TABLES = ("recordings", "analyses", "segments", "daily_emotions", "runs")


def calls_of(number: int, version: str = "v1") -> list[Call]:
    return [
        Call(f"{day}/{number}.wav", day=day, pieces=tiled(["anger", None]), duration_s=20.0, version=version)
        for day in (EARLIER, DAY)
    ]


def commit(lake: Lake, calls: list[Call], run_id: str = "run-1") -> None:
    commit_shard(lake, shard_rows(calls, run_id=run_id), key=KEY, run_id=run_id, message="made", force=True)


def fill(warehouse: WarehouseOptions, shards: int = 4) -> None:
    with open_lake(warehouse) as lake:
        for number in range(shards):
            commit(lake, calls_of(number))
            append(lake.connection, RUNS, run_row(f"run-{number}"))
        list(aggregate_days(lake, DayRange(EARLIER, DAY), dimensions=["site"], run_id="run-1"))


def content(warehouse: WarehouseOptions) -> dict[str, list[tuple[object, ...]]]:
    with open_lake(warehouse, read_only=True) as lake:
        return {table: lake.rows(f"SELECT * FROM {table} ORDER BY ALL") for table in TABLES}


def live_files(warehouse: WarehouseOptions, table: str) -> int:
    with open_lake(warehouse, read_only=True) as lake:
        return len(lake.rows(f"FROM ducklake_list_files('lake', '{table}')"))


def test_a_day_becomes_one_file_with_the_same_rows(warehouse: WarehouseOptions) -> None:
    fill(warehouse)
    before, settings = content(warehouse), Settings(warehouse=warehouse)
    planned = maintain(settings, dry_run=True)
    assert planned == Maintained(6, 24, 0, 0, 0)
    assert live_files(warehouse, "segments") == 8
    assert maintain(settings) == planned
    assert [live_files(warehouse, table) for table in TABLES] == [2, 2, 2, 2, 1]
    assert content(warehouse) == before
    with open_lake(warehouse) as lake:
        commit(
            lake, [replace(call, version="v2") for call in calls_of(0)]
        )  # and a merged file can be replaced from
    assert maintain(settings).days_merged == 6
    assert content(warehouse)["segments"] == before["segments"]
    assert maintain(settings).days_merged == 0
    assert [each.check for each in verify(settings).breaches] == [
        "aggregates",
        "aggregates",
    ]  # not run since v2


def test_what_is_old_goes_and_what_is_young_stays(warehouse: WarehouseOptions) -> None:
    fill(warehouse, 2)
    data = Path(warehouse.data) / "main" / "segments"
    young, old = data / "young.parquet", data / "old.parquet"
    for orphan in (young, old):
        orphan.write_bytes(b"left by a run that was killed")
    os.utime(old, (time.time() - 80 * 3600,) * 2)
    at_once = MaintainOptions(file_hours=24, orphan_hours=72).model_copy(update={"snapshot_days": 1e-9})
    before = content(warehouse)
    done = maintain(Settings(warehouse=warehouse, maintain=at_once))
    assert done.snapshots_expired > 5
    assert (done.files_removed, done.orphans_removed) == (
        0,
        1,
    )  # queries that still read them keep their files
    assert (young.exists(), old.exists()) == (True, False)
    files = len(list(data.rglob("*.parquet")))
    with open_lake(warehouse) as lake:
        # The newest, and the one before: no commit has seen yet that it was followed.
        assert lake.rows("SELECT count(*) FROM lake.snapshots()") == [(2,)]
        lake.connection.execute(
            "UPDATE __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion SET schedule_start = $then",
            {"then": "2026-11-01 10:00:00+00"},
        )
    assert maintain(Settings(warehouse=warehouse)).files_removed > 10
    assert len(list(data.rglob("*.parquet"))) == 3 < files
    assert content(warehouse) == before
    assert verify(Settings(warehouse=warehouse)).breaches == []


def until(done: Event, work: Callable[[int], None]) -> int:
    turns = 0
    while not done.is_set():
        work(turns)
        turns += 1
    return turns


def test_writers_and_readers_go_on_beside_it(warehouse: WarehouseOptions) -> None:
    """Two writers replace rows, two readers sum them up, and maintenance merges and expires: none of them fails.

    The age is shorter than a commit or a reading may take here, so that snapshots do expire under readers.
    """
    fill(warehouse, 8)
    removes = warehouse.catalog.startswith("postgres:")  # on SQLite files stay for a day more
    age_s = 1.0
    often = MaintainOptions(file_hours=age_s / 3600, rewrite_share=0.0)
    settings = Settings(warehouse=warehouse).model_copy(
        update={"maintain": often.model_copy(update={"snapshot_days": age_s / 86400})}
    )
    done = Event()

    written = [0, 0]

    def write(day: int) -> int:
        def replace_one(turn: int) -> None:
            commit(lake, [calls_of(turn % 8, f"v{turn}")[day]], f"writer-{day}")
            written[day] += 1

        with open_lake(warehouse) as lake:
            return until(done, replace_one)

    def read(reader: int) -> int:
        # No bare count(*): in an open transaction DuckLake 1.0 answers it from the catalog's numbers of deleted rows,
        # those that others have deleted since included.
        def look(turn: int) -> None:
            def totals() -> list[tuple[object, ...]]:
                of_recordings = (
                    "SELECT count(DISTINCT recording_id), sum(size_bytes)::INTEGER FROM recordings"
                )
                return [
                    *lake.rows(of_recordings),
                    *lake.rows("SELECT sum(end_s - start_s)::INTEGER FROM segments"),
                    *lake.rows("SELECT sum(segments)::INTEGER FROM analyses"),
                ]

            assert lake.answer(totals) == [(16, 16_000), (320,), (32,)]

        with open_lake(warehouse, read_only=True) as lake:
            return until(done, look)

    with ThreadPoolExecutor() as threads:
        at_work = [
            threads.submit(write, 0),
            threads.submit(write, 1),
            *(threads.submit(read, n) for n in (0, 1)),
        ]
        removed, deadline, passes = 0, time.monotonic() + 90, 0
        try:
            while (
                time.monotonic() < deadline
                and not any(each.done() for each in at_work)
                and (passes < 2 or min(written) < 2 or (removes and not removed))
            ):
                removed += maintain(settings).files_removed
                passes += 1
        finally:
            done.set()
        turns = [each.result(timeout=60) for each in at_work]
    print(f"{passes} passes of maintenance beside {turns[:2]} commits and {turns[2:]} readings")
    assert passes >= 2
    assert min(turns) >= 2, turns
    assert removed > 0 or not removes
    with open_lake(warehouse) as lake:
        list(aggregate_days(lake, DayRange(EARLIER, DAY), dimensions=["site"], run_id="last"))
    verdict = verify(settings)
    assert verdict.breaches == []
    assert [row[0] for row in content(warehouse)["recordings"]] == sorted(
        call.recording_id for number in range(8) for call in calls_of(number)
    )


def test_memory_is_bounded_by_the_disk(embedded: WarehouseOptions) -> None:
    """A day of many times the memory that is allowed is rewritten."""
    with open_lake(embedded) as lake:
        rows = 300_000
        append(lake.connection, SEGMENTS, shard_rows([Call("a.wav")]).segments)
        lake.connection.execute(
            "INSERT INTO lake.segments SELECT segments.* REPLACE ("
            "sha256(n::VARCHAR) AS recording_id, sha256('r' || n) AS run_id, "
            f"sha256('c' || n) AS config_id) FROM lake.segments, range({rows}) AS numbers(n)"
        )
        bound_memory(lake.connection, memory_mb=128)
        kept = lake.transact(
            lambda connection: rewrite_day(connection, SEGMENTS, DAY), author="a", message="m", extra={}
        )
        assert kept == rows + 1
        assert lake.rows("SELECT count(*), count(DISTINCT recording_id) FROM segments") == [
            (rows + 1, rows + 1)
        ]


def test_the_flow_returns_the_figures(embedded: WarehouseOptions, tmp_path: Path) -> None:
    fill(embedded, 2)
    config = tmp_path / "emolake.toml"
    config.write_text(f'[warehouse]\ncatalog = "{embedded.catalog}"\ndata = "{embedded.data}"\n')
    assert maintain_lake.fn(config=config, dry_run=True)["files_before"] == 12
    assert maintain_lake.fn(config=config)["days_merged"] == 6


def test_an_age_shorter_than_queries_may_take_is_a_warning(
    embedded: WarehouseOptions, tmp_path: Path
) -> None:
    fill(embedded, 1)
    config = tmp_path / "emolake.toml"

    def said(days: float) -> tuple[int, bool]:
        config.write_text(
            f'[warehouse]\ncatalog = "{embedded.catalog}"\ndata = "{embedded.data}"\n'
            f"[maintain]\nsnapshot_days = {days!r}\n"
        )
        result = CliRunner().invoke(app, ["maintain", "--dry-run", "--config", str(config)])
        return result.exit_code, "raise maintain.snapshot_days" in result.stderr

    assert [said(days) for days in (7.0, 1 / 24, 5 / 86_400)] == [(0, False), (0, False), (0, True)]
