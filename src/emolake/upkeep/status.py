"""How the lake and its runs are doing: what an operator looks at in the morning, and a monitor every minute."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from shutil import disk_usage
from typing import Any, Literal

import duckdb

from emolake.errors import EmolakeError
from emolake.lake.connect import lake_if_any
from emolake.lake.statement_rows import rows_of
from emolake.lake.transact import Lake
from emolake.messages import counted, redacted
from emolake.schemas.days import DayRange
from emolake.settings import Settings
from emolake.sql import statement
from emolake.tasks.measure_drift import measures_drifted
from emolake.upkeep.gaps import Gap, find_gaps, judged_days
from emolake.upkeep.schedule import Schedule, next_runs

_RUNS = 5
_LEAST_FREE_GB = 2.0

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `fail` needs somebody now, `warn` a look. No key, URI or dimension's value is in it."""

    kind: str
    state: State
    message: str


@dataclass
class Status:
    """What was found; a part that could not be read is empty, and `unknown` says why."""

    at: datetime
    problems: list[Problem] = field(default_factory=list)
    lake: str | None = None
    """Why there is nothing to tell of the lake; None where there is one."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """The newest runs that have ended, as rows of `runs`, the newest first."""
    running: list[dict[str, Any]] = field(default_factory=list)
    late: list[date] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    """Recordings by reason, of the days since `since`."""
    since: date | None = None
    gaps: list[Gap] = field(default_factory=list)
    storage: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    health: list[dict[str, Any]] = field(default_factory=list)
    drift: list[dict[str, Any]] = field(default_factory=list)
    """What has drifted in the days of the lookback, as rows of `drift`."""
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The worst of the problems."""
        states: list[State] = [problem.state for problem in self.problems]
        return "fail" if "fail" in states else "warn" if states else "ok"


def status_of(settings: Settings, *, now: datetime | None = None) -> Status:
    """Look at the lake and at the schedule; nothing is changed, and nothing that is missing or broken is an error.

    Args:
        settings: the configuration.
        now: the moment of the look; now when left out.
    """
    found = Status(now or datetime.now(UTC))
    try:
        with lake_if_any(settings.warehouse) as lake:
            if lake is None:
                found.lake = (
                    f"{settings.warehouse.parsed_catalog.where} is not there yet; the first run makes it"
                )
            else:
                look_at(lake, settings, found)
    except EmolakeError as error:
        found.lake = redacted(str(error))
        found.problems.append(Problem("lake", "fail", found.lake))
    found.schedule = next_runs()
    _judge_schedule(found, settings.source.zone)
    return found


def look_at(lake: Lake, settings: Settings, found: Status) -> Status:
    """Fill every part that the lake can answer; one of an earlier version lacks columns of some."""
    days = judged_days(settings, None, None)
    found.since = days.first
    looks: Mapping[str, Callable[[], None]] = {
        "runs": lambda: _runs(found, lake, settings),
        "late": lambda: _late(found, lake, settings),
        "quarantined": lambda: _quarantined(found, lake, days),
        "gaps": lambda: _gaps(found, lake, settings, days),
        "storage": lambda: _storage(found, lake, settings),
        "health": lambda: _health(found, lake),
        "drift": lambda: _drift(found, lake, settings, days),
    }
    for name, look in looks.items():
        try:
            look()
        except (duckdb.BinderException, duckdb.CatalogException):
            found.unknown[name] = "the lake was made by an earlier version; the next run adds what is missing"
    return found


def _runs(found: Status, lake: Lake, settings: Settings) -> None:
    rows = _dicts(lake, "status_runs", most_runs=_RUNS)
    found.running = [_with_progress(row, found.at) for row in rows if row["outcome"] == "running"]
    ended = [row for row in rows if row["outcome"] != "running"]
    found.runs = ended[:_RUNS]
    alive_after = found.at - timedelta(seconds=settings.run.heartbeat_timeout_s)
    for row in found.running:
        row["alive"] = (row.get("heartbeat_at") or row["started_at"]) > alive_after
        if not row["alive"]:
            message = f"the run {row['run_id']} gives no sign of life; the next run takes up its work"
            found.problems.append(Problem("failed", "fail", message))
    newest: dict[str, dict[str, Any]] = {}
    for row in ended:
        newest.setdefault(row["flow"], row)
    for row in newest.values():
        if row["outcome"] != "completed" and not _made_good(row, ended):
            asked = DayRange(row["first_date"], row["last_date"])
            found.problems.append(
                Problem(
                    "failed", "fail", f"the newest {row['flow']} {row['outcome']}: {row['run_id']} of {asked}"
                )
            )


def _made_good(failed: Mapping[str, Any], ended: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a later run completed that asked for all of the days of one that failed."""
    return any(
        row["outcome"] == "completed"
        and row["started_at"] > failed["started_at"]
        and row["first_date"] <= failed["first_date"]
        and row["last_date"] >= failed["last_date"]
        for row in ended
    )


def _with_progress(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Add how far a run at work is: of the recordings that it has found to do so far, at its last sign of life."""
    to_do = row["found"] - row["skipped"]
    return row | {
        "to_do": to_do,
        "progress": min(1.0, row["done"] / to_do) if to_do > 0 else None,
        "running_s": (now - row["started_at"]).total_seconds(),
    }


def _late(found: Status, lake: Lake, settings: Settings) -> None:
    """Find days that ended so long ago that a nightly should have been there, and that are not in the lake."""
    zone = settings.source.zone
    ended = (found.at - timedelta(hours=settings.status.late_hours)).astimezone(zone).date() - timedelta(
        days=1
    )
    first = ended - timedelta(days=settings.source.lookback_days)
    asked = {"first": first, "last": ended, "zone": settings.source.timezone}
    found.late = [day for (day,) in lake.answered_rows(statement("late_days"), asked)]
    if found.late:
        shown = ", ".join(map(str, found.late))
        hours = f"{settings.status.late_hours:g}"
        message = (
            f"nothing of {shown} is in the lake {hours} h after the end of the day: no nightly completed"
        )
        found.problems.append(Problem("late", "fail", message))


def _quarantined(found: Status, lake: Lake, days: DayRange) -> None:
    found.quarantined = _dicts(lake, "quarantined_by_reason", first=days.first, last=date.max)


def _gaps(found: Status, lake: Lake, settings: Settings, days: DayRange) -> None:
    found.gaps = find_gaps(lake, settings, days)
    recent = {
        gap.date
        for gap in found.gaps
        if gap.date >= days.last - timedelta(days=settings.source.lookback_days)
    }
    if recent:
        of = ", ".join(map(str, sorted(recent)))
        number = sum(gap.date in recent for gap in found.gaps)
        found.problems.append(Problem("gap", "warn", f"{counted(number, 'gap')} on {of}; see `emolake gaps`"))


def _storage(found: Status, lake: Lake, settings: Settings) -> None:
    (found.storage,) = _dicts(lake, "storage")
    folder = Path(settings.warehouse.data)
    if not settings.warehouse.is_on_s3 and folder.is_dir():
        free = disk_usage(folder).free
        found.storage["free_bytes"] = free
        if free < _LEAST_FREE_GB * 1e9:
            message = f"the disk of warehouse.data has {free / 1e9:.1f} GB free, expected {_LEAST_FREE_GB:g}"
            found.problems.append(Problem("storage", "warn", message))


def _health(found: Status, lake: Lake) -> None:
    found.health = _dicts(lake, "latest_health")
    for row in found.health:
        if row["verdict"] == "flat":
            message = (
                f"the model {row['model']} was degenerate in {row['run_id']}; its days are not aggregated"
            )
            found.problems.append(Problem("health", "fail", message))


def _drift(found: Status, lake: Lake, settings: Settings, days: DayRange) -> None:
    first = days.last - timedelta(days=settings.source.lookback_days)
    found.drift = _dicts(lake, "drifted", first=first, last=date.max)
    if found.drift:
        is_failure = any(row["verdict"] == "fail" for row in found.drift)
        of = ", ".join(sorted({str(row["date"]) for row in found.drift}))
        message = f"{measures_drifted(found.drift)} on {of}; see the table drift"
        found.problems.append(Problem("drift", "fail" if is_failure else "warn", message))


def _judge_schedule(found: Status, zone: tzinfo) -> None:
    if not found.schedule.reachable:
        found.problems.append(Problem("schedule", "warn", str(found.schedule.note)))
    if found.schedule.is_stuck:
        found.problems.append(Problem("schedule", "fail", str(found.schedule.note)))
    for run in found.schedule.runs:
        if run.state == "Late":
            due = f"{run.due_at.astimezone(zone):%Y-%m-%d %H:%M %Z}"
            message = f"the {run.flow} that was due at {due} has not begun: is a worker running?"
            found.problems.append(Problem("late", "fail", message))


def _dicts(lake: Lake, name: str, **parameters: object) -> list[dict[str, Any]]:
    return lake.answer(lambda: rows_of(lake, name, **parameters))
