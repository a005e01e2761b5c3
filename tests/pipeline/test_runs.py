"""Runs: one that is alive refreshes its row, one that was killed is marked by the next, and no live one ever is."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.runs import Run, mark_died, mark_ended
from emolake.pipeline.scheduling import ShardOutcome
from emolake.run_options import RunOptions
from emolake.schemas.records import Counts
from emolake.schemas.tables import RUNS
from emolake.settings import Settings
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, run_row, shard_rows, tiled

pytestmark = pytest.mark.slow

OPTIONS = RunOptions(heartbeat_s=0.3, heartbeat_timeout_s=3.0)
HANG = """
import sys, time
from emolake.lake.connect import open_lake
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.runs import Run
from emolake.settings import Settings
from made_lake import DAY, KEY
settings = Settings.model_validate_json(sys.argv[1])
run = Run(RunRequest("nightly", (DAY,)), KEY, settings)
with open_lake(settings.warehouse) as lake, run.alive():
    run.record(lake)
    print(run.run_id, flush=True)
    time.sleep(120)
"""


def outcomes(lake: Lake) -> dict[str, str]:
    return dict(lake.rows("SELECT run_id, outcome FROM runs"))


def test_a_run_that_is_alive_is_never_marked_and_a_killed_one_is(warehouse: WarehouseOptions) -> None:
    settings = Settings(warehouse=warehouse, run=OPTIONS)
    with open_lake(warehouse) as lake:
        process = subprocess.Popen(
            [sys.executable, "-c", HANG, settings.model_dump_json()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout
            run_id = process.stdout.readline().strip()
            (first,) = lake.rows("SELECT heartbeat_at FROM runs")
            deadline = time.monotonic() + 4.5
            while time.monotonic() < deadline:
                assert mark_died(lake, OPTIONS, run_id="next") == []
                time.sleep(0.2)
            (later,) = lake.rows("SELECT heartbeat_at FROM runs")
            assert later > first
            assert outcomes(lake) == {run_id: "running"}
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
        time.sleep(3.1)
        before = lake.latest_snapshot()
        assert mark_died(lake, OPTIONS, run_id="next") == [run_id]
        ((outcome, finished_at, heartbeat_at, error),) = lake.rows(
            "SELECT outcome, finished_at, heartbeat_at, error FROM runs"
        )
        assert (outcome, finished_at) == ("died", heartbeat_at)
        assert "ended without a word" in error
        assert lake.latest_snapshot() == before + 1
        assert mark_died(lake, OPTIONS, run_id="next") == []  # and nothing is committed where none died
        assert lake.latest_snapshot() == before + 1


@pytest.mark.parametrize("known", [False, True], ids=["by the next run", "by its watch"])
def test_what_a_killed_run_committed_is_counted(warehouse: WarehouseOptions, known: bool) -> None:
    calls = [
        Call("a.wav", pieces=tiled(["anger", None], speech_ratio=0.5)),
        Call("b.wav", status="truncated", error="truncated: x", duration_s=4.0),
        Call("c.wav", status="quarantined", error="empty: x", pieces=(), duration_s=None, analysed=False),
    ]
    figures = "done, quarantined, truncated, segments, audio_seconds, speech_seconds"
    counted: dict[str, object] = dict.fromkeys(figures.split(", "), 0)
    with open_lake(warehouse) as lake:
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        values = counted | {"outcome": "running", "heartbeat_at": long_ago, "finished_at": None}
        append(lake.connection, RUNS, run_row("killed", **values))
        append(lake.connection, RUNS, run_row("other", done=7))
        commit_shard(lake, shard_rows(calls, run_id="killed"), key=KEY, run_id="killed", message="shard 1")
        if known:
            mark_ended(lake, "killed")
        else:
            mark_died(lake, OPTIONS, run_id="next")
        assert lake.rows(f"SELECT outcome, {figures} FROM runs WHERE run_id = 'killed'") == [
            ("died", 3, 1, 1, 3, 14.0, 20.0)
        ]
        assert lake.rows("SELECT outcome, done FROM runs WHERE run_id = 'other'") == [("completed", 7)]


def test_a_run_that_was_killed_while_it_stopped_stays_failed(embedded: WarehouseOptions) -> None:
    run = Run(RunRequest("nightly", (DAY,)), KEY, Settings(warehouse=embedded, run=OPTIONS))
    with open_lake(embedded) as lake:
        run.stop("SIGTERM")
        run.record(lake)
        (row,) = lake.rows("SELECT outcome, finished_at, error FROM runs")
        assert (row[0], row[2].startswith("stopped by SIGTERM")) == ("failed", True)
        commit_shard(
            lake, shard_rows([Call("a.wav")], run_id=run.run_id), key=KEY, run_id=run.run_id, message="1"
        )
        mark_ended(lake, run.run_id)
        assert lake.rows("SELECT outcome, finished_at, error FROM runs") == [row]
        assert lake.rows("SELECT done, segments FROM runs") == [(1, 1)]


def test_a_run_of_an_earlier_version_is_judged_by_its_start(embedded: WarehouseOptions) -> None:
    with open_lake(embedded) as lake:
        for run_id, minutes in (("old", 20), ("young", 10)):
            started_at = datetime.now(UTC) - timedelta(minutes=minutes)
            row = run_row(run_id, outcome="running", started_at=started_at, finished_at=None)
            append(lake.connection, RUNS, row)
        append(lake.connection, RUNS, run_row("done"))
        assert mark_died(lake, RunOptions(), run_id="next") == ["old"]
        assert outcomes(lake) == {"old": "died", "young": "running", "done": "completed"}


def test_a_run_that_was_taken_for_dead_takes_its_row_back(embedded: WarehouseOptions) -> None:
    """A machine that slept for an hour: the run goes on, and its row says so."""
    settings = Settings(warehouse=embedded, run=OPTIONS)
    run = Run(RunRequest("nightly", (DAY,)), KEY, settings)
    with open_lake(embedded) as lake:
        run.record(lake)
        lake.connection.execute("UPDATE lake.runs SET heartbeat_at = heartbeat_at - INTERVAL 1 HOUR")
        assert mark_died(lake, OPTIONS, run_id="next") == [run.run_id]
        run.record(lake)
        assert outcomes(lake) == {run.run_id: "running"}
        run.record(lake, "completed")
        assert outcomes(lake) == {run.run_id: "completed"}


def test_the_row_of_a_run_at_work_shows_how_far_it_is(embedded: WarehouseOptions) -> None:
    settings = Settings(warehouse=embedded, run=OPTIONS)
    run = Run(RunRequest("nightly", (DAY,)), KEY, settings)
    with open_lake(embedded) as lake, run.alive():
        run.record(lake)
        run.add(ShardOutcome(counts=Counts(done=7, timings={"decode": 1.5})))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and lake.rows("SELECT done FROM runs") != [(7,)]:
            time.sleep(0.1)
        assert lake.rows("SELECT run_id, outcome, done FROM runs") == [(run.run_id, "running", 7)]


def test_a_run_without_work_leaves_no_row(embedded: WarehouseOptions) -> None:
    run = Run(RunRequest("nightly", (DAY,)), KEY, Settings(warehouse=embedded, run=OPTIONS))
    with open_lake(embedded) as lake:
        before = lake.latest_snapshot()
        with run.alive():
            time.sleep(0.8)
        assert lake.latest_snapshot() == before
