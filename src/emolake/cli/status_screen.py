"""The screen of `emolake status`, and the same as JSON."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from emolake.cli.arguments import TableFormat
from emolake.messages import counted, printable
from emolake.output.table import print_table, write_json_object
from emolake.schemas.days import DayRange

if TYPE_CHECKING:
    from emolake.settings import Settings
    from emolake.upkeep.status import Status

_SHOWN = 5
# The screen is looked at as one; its few wide tables may fold in a terminal of 80 columns.
_LEAST_WIDTH = 6
# Columns of `runs` that say nothing of how a run went, or hold keys of recordings.
_NOT_SHOWN = ("options", "versions", "named_keys", "config_id")


def show_status(status: "Status", settings: "Settings", format: TableFormat) -> None:
    """Show what was found."""
    if format is TableFormat.json:
        write_json_object(_as_object(status, settings), sys.stdout)
        return
    zone = settings.source.zone
    for line in _head(status, zone):
        print(printable(line))
    if status.running:
        _table("running", ("run", "days", "running", "recordings", "", "sign of life"), _running(status))
    if status.runs:
        columns = ("run", "days", "started", "outcome", "done", "quarantined", "audio h", "x real time")
        _table("last runs", columns, _runs(status, zone))
    if status.quarantined:
        rows = [(row["reason"], row["recordings"], row["last_date"]) for row in status.quarantined]
        _table(f"quarantined since {status.since}", ("reason", "recordings", "newest day"), rows)
    if status.gaps:
        by = settings.recording_breakdown
        gaps = [
            (gap.date, gap.weekday, *gap.dimensions, gap.recordings, gap.usual)
            for gap in status.gaps[-_SHOWN:]
        ]
        title = f"gaps since {status.since}: {len(status.gaps)}"
        _table(title, ("date", "weekday", *by, "recordings", "usual"), gaps)
        _say_cut(len(status.gaps), "emolake gaps")
    if status.health:
        health = [
            (row["model"], row["verdict"], row["segments"], row["logit_range_mean"], row["drift"])
            for row in status.health
        ]
        _table("health", ("model", "verdict", "segments", "logit range", "drift"), health)
    if status.drift:
        names = ("date", "model", "dimension", "dimension_value", "measure", "value", "usual", "verdict")
        drift = [[row[name] for name in names] for row in status.drift[:_SHOWN]]
        _table(f"drift: {len(status.drift)}", names, drift)
        _say_cut(len(status.drift), "emolake query 'FROM drift'")
    print()
    for line in _foot(status, zone):
        print(printable(line))


def _head(status: "Status", zone: tzinfo) -> Iterator[str]:
    words = {"ok": "all is well", "warn": "worth a look", "fail": "something is wrong"}
    yield f"{status.state.upper()}: {words[status.state]}, {_moment(status.at, zone)}"
    for problem in status.problems:
        yield f"  {problem.state:4}  {problem.kind}: {problem.message}"
    if status.lake and not status.problems:
        yield f"  {status.lake}"


def _running(status: "Status") -> Iterator[Sequence[Any]]:
    for row in status.running:
        share = "" if row["progress"] is None else f"{row['progress']:.0%}"
        beat = row.get("heartbeat_at")
        ago = "" if beat is None else f"{(status.at - beat).total_seconds():.0f} s ago"
        yield (
            row["run_id"], _days(row), _duration(row["running_s"]), f"{row['done']} of {row['to_do']}", share,
            ago if row["alive"] else f"{ago}: dead",
        )  # fmt: skip


def _runs(status: "Status", zone: tzinfo) -> Iterator[Sequence[Any]]:
    for row in status.runs:
        factor = row["real_time_factor"]
        started = _moment(row["started_at"], zone)
        yield (
            row["run_id"], _days(row), started, row["outcome"], row["done"],
            row["quarantined"], round(row["audio_seconds"] / 3600, 2), f"{1 / factor:.0f}" if factor else "",
        )  # fmt: skip


def _foot(status: "Status", zone: tzinfo) -> Iterator[str]:
    if status.storage:
        stored = status.storage
        free = f", {_bytes(stored['free_bytes'])} free on its disk" if "free_bytes" in stored else ""
        yield (
            f"storage: {counted(stored['files'], 'file')} of {_bytes(stored['bytes'])}, "
            f"{counted(stored['older_files'], 'file')} of {_bytes(stored['older_bytes'])} for older snapshots, "
            f"{counted(stored['snapshots'], 'snapshot')}{free}"
        )
    if status.lake is None:
        yield "late: " + (", ".join(map(str, status.late)) or "nothing")
    for run in status.schedule.runs:
        yield f"next {run.flow}: {_moment(run.due_at, zone)} ({run.state})"
    if status.schedule.note:
        yield f"next: {status.schedule.note}"
    for name, why in status.unknown.items():
        yield f"{name}: {why}"


def _as_object(status: "Status", settings: "Settings") -> dict[str, Any]:
    by = settings.recording_breakdown
    gaps = [
        {"date": gap.date, "weekday": gap.weekday, "dimensions": dict(zip(by, gap.dimensions, strict=True)),
         "recordings": gap.recordings, "usual": gap.usual}
        for gap in status.gaps
    ]  # fmt: skip
    return {
        "state": status.state,
        "at": status.at,
        "problems": [asdict(problem) for problem in status.problems],
        "lake": status.lake,
        "running": [_without_details(row) for row in status.running],
        "runs": [_without_details(row) for row in status.runs],
        "late": status.late,
        "quarantined": status.quarantined,
        "gaps": gaps,
        "storage": status.storage,
        "schedule": asdict(status.schedule),
        "health": status.health,
        "drift": status.drift,
        "unknown": status.unknown,
    }


def _without_details(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _NOT_SHOWN}


def _table(title: str, columns: Sequence[str], rows: Any) -> None:
    print(f"\n{title}")
    print_table(columns, rows, sys.stdout, least_width=_LEAST_WIDTH)


def _say_cut(found: int, command: str) -> None:
    """Say how many rows the table above leaves out, and what shows them."""
    if found > _SHOWN:
        print(f"and {found - _SHOWN} more: `{command}`")


def _moment(at: datetime, zone: tzinfo) -> str:
    """Return a time as the screen shows every one: in source.timezone, with its label."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}"


def _days(row: Mapping[str, Any]) -> str:
    return str(DayRange(row["first_date"], row["last_date"]))


def _duration(seconds: float) -> str:
    minutes = int(seconds) // 60
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def _bytes(number: int) -> str:
    """Return a number of bytes as people read it.

    >>> _bytes(1_500_000), _bytes(12)
    ('1.5 MB', '0.0 MB')
    """
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
