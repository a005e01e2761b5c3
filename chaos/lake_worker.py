"""One process beside others on a lake of made calls: `python lake_worker.py OPTIONS_JSON`, until its input ends.

It writes, reads or maintains, and what it did and what was wrong goes to standard output as JSON.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from select import select
from typing import Any

import duckdb

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.settings import MaintainOptions, Settings
from emolake.tasks.commit import commit_shard
from emolake.upkeep.maintain import maintain

from made_lake import DAY, KEY, Call, shard_rows, tiled

DAYS = (DAY - timedelta(days=1), DAY)
CALLS_A_DAY = 8
_TOTALS = (
    "SELECT count(DISTINCT recording_id), sum(size_bytes)::INTEGER FROM recordings",
    "SELECT count(DISTINCT recording_id), sum(end_s - start_s)::INTEGER FROM segments",
    "SELECT count(DISTINCT recording_id), sum(segments)::INTEGER FROM analyses",
)
_CALLS = CALLS_A_DAY * len(DAYS)
_EXPECTED = [(_CALLS, 1000 * _CALLS), (_CALLS, 20 * _CALLS), (_CALLS, 2 * _CALLS)]


def call_of(day: date, number: int, version: str) -> Call:
    """Return a call of 20 s and two segments."""
    return Call(
        f"{day}/{number}.wav", day=day, pieces=tiled(["anger", None]), duration_s=20.0, version=version
    )


def replace(lake: Lake, day: date, number: int, version: str) -> None:
    """Commit a call of a day in another version, which replaces its older rows."""
    rows = shard_rows([call_of(day, number, version)], run_id=f"writer-{version}")
    commit_shard(lake, rows, key=KEY, run_id=f"writer-{version}", message="made")


def wrong_in(lake: Lake) -> str | None:
    """Return what does not fit in the totals of one snapshot; None where all fit."""
    found = [lake.rows(sql)[0] for sql in _TOTALS]
    return None if found == _EXPECTED else f"{found}, expected {_EXPECTED}"


def _until_input_ends() -> Iterator[int]:
    turn = 0
    while not select([sys.stdin], [], [], 0)[0]:
        yield turn
        turn += 1


def write(warehouse: WarehouseOptions, day: str, **_: Any) -> dict[str, Any]:
    """Replace one call after the other, each in a commit."""
    longest, turn = 0.0, 0
    with open_lake(warehouse) as lake:
        for turn in _until_input_ends():
            begun = time.monotonic()
            replace(lake, date.fromisoformat(day), turn % CALLS_A_DAY, f"v{turn + 1}")
            longest = max(longest, time.monotonic() - begun)
    return {"commits": turn + 1, "longest_s": round(longest, 1)}


def read(warehouse: WarehouseOptions, checked: bool, pause_s: float = 0.0, **_: Any) -> dict[str, Any]:
    """Sum up the tables again and again, each time in one snapshot."""
    wrong, turn = [], 0
    with open_lake(warehouse, read_only=True) as lake:
        for turn in _until_input_ends():
            try:
                found = lake.answer(lambda: wrong_in(lake)) if checked else _unchecked(lake, pause_s)
            except duckdb.Error as error:
                found = str(error)
            if found:
                wrong.append(found)
    return {"readings": turn + 1, "wrong": len(wrong), "first": wrong[:1]}


def _unchecked(lake: Lake, pause_s: float) -> str | None:
    """Read as an analyst's own DuckDB does, without asking whether the snapshot was there to the end."""
    lake.connection.execute("BEGIN")
    try:
        return wrong_in(lake)
    finally:
        lake.connection.execute("ROLLBACK")


def keep(warehouse: WarehouseOptions, age_s: float, **_: Any) -> dict[str, Any]:
    """Maintain again and again, with a small age."""
    age = MaintainOptions.model_construct(
        **dict(MaintainOptions()) | {"snapshot_days": age_s / 86400, "file_hours": age_s / 3600, "rewrite_share": 0.0}
    )
    expired, turn = 0, 0
    settings = Settings(warehouse=warehouse).model_copy(update={"maintain": age})
    for turn in _until_input_ends():
        expired += maintain(settings).snapshots_expired
    return {"passes": turn + 1, "expired": expired}


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    work = {"write": write, "read": read, "maintain": keep}[options.pop("role")]
    warehouse = WarehouseOptions(**options.pop("warehouse"))
    print(json.dumps(work(warehouse, **options)))
