"""A process on a lake of made calls: `python lake_worker.py OPTIONS_JSON` begins at the first line of its input.

It writes, reads or maintains until its input ends. What it did, and what was wrong, goes to standard output as JSON.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
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
_CALLS = CALLS_A_DAY * len(DAYS)
_TOTALS = {
    "SELECT count(DISTINCT recording_id), sum(size_bytes)::INTEGER FROM recordings": (_CALLS, 1000 * _CALLS),
    "SELECT count(DISTINCT recording_id), sum(end_s - start_s)::INTEGER FROM segments": (_CALLS, 20 * _CALLS),
    "SELECT count(DISTINCT recording_id), sum(segments)::INTEGER FROM analyses": (_CALLS, 2 * _CALLS),
}


def replace(lake: Lake, day: date, numbers: list[int], version: str) -> None:
    """Commit calls of a day, of 20 s and two segments each, which replace those of other versions."""
    calls = [
        Call(f"{day}/{number}.wav", day, tiled(["anger", None]), duration_s=20.0, version=version)
        for number in numbers
    ]
    rows = shard_rows(calls, run_id=f"writer-{version}")
    commit_shard(lake, rows, key=KEY, run_id=f"writer-{version}", message="made")


def wrong_in(lake: Lake) -> str | None:
    """Return the first total that is wrong in the snapshot that is read; None where all are right."""
    for sql, expected in _TOTALS.items():
        (found,) = lake.rows(sql)
        if found != expected:
            return f"{found} of {sql}, expected {expected}"
    return None


def write_once(warehouse: WarehouseOptions, **_: Any) -> dict[str, Any]:
    """Commit all calls, as every other writer does at this moment."""
    with open_lake(warehouse) as lake:
        _wait_for_a_line()
        for day in DAYS:
            replace(lake, day, list(range(CALLS_A_DAY)), "v0")
    return {"commits": len(DAYS)}


def write(warehouse: WarehouseOptions, *, day: str, numbers: list[int]) -> dict[str, Any]:
    """Replace one call after the other, each in a commit of its own."""
    commits, longest_s = 0, 0.0
    with open_lake(warehouse) as lake:
        for turn in _until_input_ends():
            begun = time.monotonic()
            version = f"v{turn + 1}-{numbers[0]}"
            replace(lake, date.fromisoformat(day), [numbers[turn % len(numbers)]], version)
            commits, longest_s = turn + 1, max(longest_s, time.monotonic() - begun)
    return {"commits": commits, "longest_s": round(longest_s, 1)}


def read(warehouse: WarehouseOptions, *, longest_s: float | None = None) -> dict[str, Any]:
    """Sum up the tables again and again, each time in one snapshot.

    Args:
        warehouse: where the lake lies.
        longest_s: read as an analyst's own DuckDB does, which does not ask whether its snapshot has expired, and count
            only what took no longer than this; `Lake.answer` is used when left out.
    """
    readings, wrong = 0, None
    with open_lake(warehouse, read_only=True) as lake:
        for _ in _until_input_ends():
            begun = time.monotonic()
            found = lake.answer(lambda: wrong_in(lake)) if longest_s is None else _read_by_hand(lake)
            if longest_s is None or time.monotonic() - begun <= longest_s:
                readings, wrong = readings + 1, wrong or found
    return {"readings": readings, "wrong": wrong}


def _read_by_hand(lake: Lake) -> str | None:
    lake.connection.execute("BEGIN")
    try:
        return wrong_in(lake)
    except duckdb.Error as error:
        return str(error)
    finally:
        lake.connection.execute("ROLLBACK")


def keep_small(warehouse: WarehouseOptions, *, age_s: float) -> dict[str, Any]:
    """Maintain again and again, with a smaller age of snapshots and files than a configuration may have."""
    options = MaintainOptions(file_hours=age_s / 3600, rewrite_share=0.0).model_copy(
        update={"snapshot_days": age_s / 86400}
    )
    settings = Settings(warehouse=warehouse).model_copy(update={"maintain": options})
    passes, expired = 0, 0
    for _ in _until_input_ends():
        expired += maintain(settings).snapshots_expired
        passes += 1
    return {"passes": passes, "expired": expired}


ROLES: dict[str, Callable[..., dict[str, Any]]] = {
    "write once": write_once,
    "write": write,
    "read": read,
    "maintain": keep_small,
}


def _wait_for_a_line() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def _until_input_ends() -> Iterator[int]:
    _wait_for_a_line()
    for turn in itertools.count():
        if select([sys.stdin], [], [], 0)[0]:
            return
        yield turn


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    role, warehouse = ROLES[options.pop("role")], WarehouseOptions(**options.pop("warehouse"))
    print(json.dumps(role(warehouse, **options)))
