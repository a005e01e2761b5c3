"""The status: what is found wrong and what is not, without a lake, with an old one, while a run writes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pyarrow as pa
import pytest

from emolake.cli.app import main
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.schemas.tables import MODEL_HEALTH, RECORDINGS, RUNS
from emolake.settings import Settings
from emolake.upkeep.status import Status, look_at, status_of

from made_lake import Call, run_row, shard_rows, sqlite_warehouse

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)  # a Friday; the 26th ended more than 12 h ago
NIGHT = datetime(2026, 11, 27, 2, 15, tzinfo=UTC)
YESTERDAY = date(2026, 11, 26)
DAYS = {"first_date": YESTERDAY - timedelta(days=3), "last_date": YESTERDAY}


pytestmark = pytest.mark.usefixtures("no_prefect")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(warehouse=sqlite_warehouse(tmp_path_factory.mktemp("lake")))


@pytest.fixture(scope="module")
def opened(settings: Settings) -> Iterator[Lake]:
    with open_lake(settings.warehouse) as lake:
        yield lake


def filled(lake: Lake) -> Lake:
    """A lake with a recording on most days of the last two weeks, yesterday included, and a nightly that completed."""
    for table in ("runs", "recordings", "model_health"):
        lake.connection.execute(f"DELETE FROM lake.{table}")
    calls = [
        Call(f"{back}.wav", day=YESTERDAY - timedelta(days=back))
        for back in (*range(5), *range(7, 12), 14, 15)
    ]
    append(lake.connection, RECORDINGS, shard_rows(calls).recordings)
    append(lake.connection, RUNS, run_row("nightly-1", started_at=NIGHT, heartbeat_at=NIGHT, **DAYS))
    return lake


@pytest.fixture
def lake(opened: Lake) -> Lake:
    return filled(opened)


def kinds(status: Status) -> list[tuple[str, str]]:
    return [(problem.kind, problem.state) for problem in status.problems]


def without(lake: Lake, *days: date) -> None:
    for day in days:
        lake.connection.execute("DELETE FROM lake.recordings WHERE date = $day", {"day": day})


def test_without_a_lake_all_is_well(tmp_path: Path) -> None:
    settings = Settings(warehouse=sqlite_warehouse(tmp_path))
    status = status_of(settings, now=NOW)
    assert (status.state, status.runs) == ("ok", [])
    assert "the first run makes it" in (status.lake or "")
    assert not (settings.warehouse.parsed_catalog.file or Path()).exists()


def test_a_lake_after_a_good_night_is_well(settings: Settings, lake: Lake) -> None:
    status = look_at(lake, settings, Status(NOW))
    assert (status.state, status.problems, status.unknown) == ("ok", [], {})
    assert [row["run_id"] for row in status.runs] == ["nightly-1"]
    assert status.storage["files"] > 10
    assert status.storage["snapshots"] > 3
    assert status.storage["free_bytes"] > 0


LATER = NIGHT + timedelta(hours=3)
# Runs after the good night (flow, outcome, when, days), and what is found wrong then.
RUNS_AFTER: dict[str, tuple[list[tuple[str, str, datetime, dict[str, date]]], list[tuple[str, str]]]] = {
    "a failed one": ([("nightly", "failed", LATER, DAYS)], [("failed", "fail")]),
    "a dead one": ([("nightly", "died", LATER, DAYS)], [("failed", "fail")]),
    "a failed one before": ([("nightly", "failed", NIGHT - timedelta(days=1), DAYS)], []),
    "a failed backfill": ([("backfill", "failed", LATER, DAYS)], [("failed", "fail")]),
    "a failed backfill made good": (
        [("backfill", "failed", LATER, DAYS), ("nightly", "completed", LATER + timedelta(hours=1), DAYS)], []
    ),
    "one made good in part": (
        [("backfill", "failed", LATER, DAYS),
         ("retry", "completed", LATER + timedelta(hours=1), {"first_date": YESTERDAY, "last_date": YESTERDAY})],
        [("failed", "fail")],
    ),
    "two flows": (
        [("backfill", "died", LATER, DAYS), ("retry", "failed", LATER, DAYS)], [("failed", "fail")] * 2
    ),
    "one that is at work": ([("nightly", "running", NOW - timedelta(minutes=5), DAYS)], []),
    "one without a sign of life": ([("nightly", "running", NOW - timedelta(hours=1), DAYS)], [("failed", "fail")]),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS_AFTER)
def test_what_runs_came_to(settings: Settings, lake: Lake, case: str) -> None:
    runs, expected = RUNS_AFTER[case]
    for number, (flow, outcome, started, days) in enumerate(runs):
        row = run_row(
            f"{flow}-after-{number}",
            flow=flow,
            outcome=outcome,
            started_at=started,
            heartbeat_at=started,
            **days,
        )
        append(lake.connection, RUNS, row)
    assert kinds(look_at(lake, settings, Status(NOW))) == expected


def test_a_run_at_work_shows_how_far_it_is(settings: Settings, lake: Lake) -> None:
    beat = NOW - timedelta(seconds=30)
    for name, figures in {"a": {"found": 120, "skipped": 20, "done": 25}, "b": {}}.items():
        started = NOW - timedelta(minutes=10)
        append(
            lake.connection,
            RUNS,
            run_row(name, outcome="running", started_at=started, heartbeat_at=beat, **figures, **DAYS),
        )
    running = {row["run_id"]: row for row in look_at(lake, settings, Status(NOW)).running}
    assert (running["a"]["progress"], running["a"]["to_do"], running["a"]["running_s"]) == (0.25, 100, 600.0)
    assert running["b"]["progress"] is None
    assert all(row["alive"] for row in running.values())


def after(day: date, hours: float) -> datetime:
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("missing", "now", "zone", "expected"),
    [
        ([YESTERDAY], NOW, "UTC", [YESTERDAY]),
        ([YESTERDAY], after(YESTERDAY, 11.9), "UTC", []),  # it may still come
        ([YESTERDAY], after(YESTERDAY, 12.1), "UTC", [YESTERDAY]),
        ([YESTERDAY], after(YESTERDAY, 12.1), "America/New_York", []),  # where the day ended five hours later
        ([YESTERDAY], after(YESTERDAY, 17.1), "America/New_York", [YESTERDAY]),
        ([YESTERDAY], after(YESTERDAY, 3.1), "Asia/Tokyo", [YESTERDAY]),  # nine hours earlier
        ([YESTERDAY, YESTERDAY - timedelta(days=1)], NOW, "UTC", [YESTERDAY - timedelta(days=1), YESTERDAY]),
        ([YESTERDAY - timedelta(days=4)], NOW, "UTC", []),  # beyond the lookback: `gaps` has it
        # a weekday on which nobody works, two weeks long
        ([YESTERDAY - timedelta(days=7 * week) for week in range(3)], NOW, "UTC", []),
        # only last week it was a holiday
        ([YESTERDAY, YESTERDAY - timedelta(days=7)], NOW, "UTC", [YESTERDAY]),
    ],
)
def test_days_are_late(
    settings: Settings, lake: Lake, missing: list[date], now: datetime, zone: str, expected: list[date]
) -> None:
    lake.connection.execute("DELETE FROM lake.runs")
    without(lake, *missing)
    zoned = settings.model_copy(update={"source": settings.source.model_copy(update={"timezone": zone})})
    status = look_at(lake, zoned, Status(now))
    assert status.late == expected
    assert ("late", "fail") in kinds(status) or not expected


@pytest.mark.parametrize(
    ("outcome", "started", "is_late"),
    [
        ("completed", NIGHT, False),
        ("failed", NIGHT, True),
        ("died", NIGHT, True),
        ("completed", datetime(2026, 11, 26, 23, 0, tzinfo=UTC), True),  # before the day had ended
    ],
)
def test_a_day_that_a_run_has_looked_for_is_not_late(
    settings: Settings, lake: Lake, outcome: str, started: datetime, is_late: bool
) -> None:
    lake.connection.execute("DELETE FROM lake.runs")
    without(lake, YESTERDAY)
    append(lake.connection, RUNS, run_row("one", outcome=outcome, started_at=started, **DAYS))
    assert look_at(lake, settings, Status(NOW)).late == ([YESTERDAY] if is_late else [])


def test_quarantine_gaps_and_health_are_shown(settings: Settings, lake: Lake) -> None:
    today = datetime.now(UTC).date()
    bad = [
        Call(f"bad{n}.wav", day=today, status="quarantined", error="empty: decode: no bytes")
        for n in range(3)
    ]
    bad.append(Call("cut.wav", day=today, status="quarantined", error="undecodable: decode: junk"))
    busy = [
        Call(f"{w}/{n}.wav", day=today - timedelta(days=1 + 7 * w)) for w in range(1, 5) for n in range(9)
    ]
    append(lake.connection, RECORDINGS, shard_rows([*bad, *busy]).recordings)
    for run, verdict, hour in (("old", "flat", 1), ("new", "healthy", 2), ("trial", "flat", 2)):
        health: dict[str, Any] = {
            "run_id": run, "model": "trial" if run == "trial" else "m", "model_fingerprint": "f", "segments": 9,
            "verdict": verdict, "committed_at": datetime(2026, 11, 27, hour, tzinfo=UTC),
        }  # fmt: skip
        append(lake.connection, MODEL_HEALTH, pa.Table.from_pylist([health], schema=MODEL_HEALTH.schema))
    status = look_at(lake, settings, Status(datetime.now(UTC)))
    assert [(row["reason"], row["recordings"]) for row in status.quarantined] == [
        ("empty", 3),
        ("undecodable", 1),
    ]
    assert status.gaps
    assert ("gap", "warn") in kinds(status)
    assert [(row["model"], row["verdict"]) for row in status.health] == [("m", "healthy"), ("trial", "flat")]
    assert [problem.message for problem in status.problems if problem.kind == "health"] == [
        "the model trial was degenerate in trial; its days are not aggregated"
    ]
    assert not any("oslo" in problem.message for problem in status.problems)


def test_a_lake_of_an_earlier_version_tells_what_it_can(tmp_path: Path) -> None:
    settings = Settings(warehouse=sqlite_warehouse(tmp_path))
    with open_lake(settings.warehouse) as own:
        filled(own)
        unknown: list[set[str]] = []
        for lost in (
            "runs DROP COLUMN heartbeat_at",
            "runs DROP COLUMN decoded",
            "recordings DROP COLUMN deleted_at",
            "",
        ):
            own.connection.execute(f"ALTER TABLE lake.{lost}" if lost else "DROP TABLE lake.model_health")
            status = look_at(own, settings, Status(NOW))
            assert status.state == "ok"
            assert [row["run_id"] for row in status.runs] == ["nightly-1"]
            unknown.append(set(status.unknown))
    assert unknown == [set(), set(), {"gaps"}, {"gaps", "health"}]


def test_a_status_while_a_run_writes(settings: Settings, lake: Lake) -> None:
    stop = Event()

    def write() -> None:
        with open_lake(settings.warehouse) as other:
            number = 0
            while not stop.is_set():
                number += 1
                row = run_row(
                    "beating", outcome="running", started_at=NOW, heartbeat_at=NOW, done=number, **DAYS
                )

                def work(connection: Any, row: pa.Table = row) -> None:
                    connection.execute("DELETE FROM lake.runs WHERE run_id = 'beating'")
                    append(connection, RUNS, row)

                other.transact(work, author="t", message="beat", extra={})

    thread = Thread(target=write)
    thread.start()
    try:
        seen = [status_of(settings, now=NOW) for _ in range(2)]
    finally:
        stop.set()
        thread.join()
    assert all(len(status.running) <= 1 and not status.unknown for status in seen)
    assert {status.state for status in seen} == {"ok"}


def called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["emolake", "status", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    output, errors = capsys.readouterr()
    return int(ended.value.code or 0), output, errors


def test_the_exit_status_is_for_a_monitor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "emolake.toml"
    config.write_text('[warehouse]\ncatalog = "sqlite:catalog.sqlite"\ndata = "data"\n')
    code, output, _ = called(capsys, monkeypatch)
    assert (code, output.splitlines()[0][:16]) == (0, "OK: all is well,")
    warehouse = sqlite_warehouse(tmp_path)
    with open_lake(warehouse) as lake:
        append(lake.connection, RUNS, run_row("nightly-1", outcome="failed", error="of s3://calls/a.wav"))
    code, output, errors = called(capsys, monkeypatch, "--format", "json")
    assert (code, errors) == (1, "emolake: 1 problem: failed\n")
    shown = json.loads(output)
    assert shown["state"] == "fail"
    assert shown["problems"] == [
        {"kind": "failed", "state": "fail", "message": "the newest nightly failed: nightly-1 of 2026-11-20"}
    ]
    code, output, _ = called(capsys, monkeypatch)
    assert code == 1
    assert output.startswith("FAIL: something is wrong")
    assert "nightly-1" in output
    (tmp_path / "catalog.sqlite").write_bytes(b"junk" * 2000)
    code, output, errors = called(capsys, monkeypatch, "--format", "json")
    assert (code, json.loads(output)["problems"][0]["kind"], errors) == (
        1,
        "lake",
        "emolake: 1 problem: lake\n",
    )
    config.write_text("[warehose]\n")
    assert called(capsys, monkeypatch)[0] == 2


def test_what_is_only_worth_a_look_fails_with_strict(tmp_path: Path) -> None:
    """In a process of its own: Prefect keeps the server that it was imported with."""
    (tmp_path / "emolake.toml").write_text('[warehouse]\ncatalog = "sqlite:catalog.sqlite"\ndata = "data"\n')
    command = (
        "import sys; sys.argv = ['emolake', 'status', '--strict']; from emolake.cli.app import main; main()"
    )
    nobody = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, env=nobody, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "emolake: 1 problem: schedule\n")
    assert "WARN: worth a look" in done.stdout
    assert "schedule: Prefect's server gives no answer" in done.stdout
