"""How long does planning take, where a day has many objects and few are new, or a bucket a million keys?

python -m bench.planning

Each figure is of a process of its own; memory is its peak above what it held before the plan.
"""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from time import perf_counter, process_time
from unittest.mock import patch
from zoneinfo import ZoneInfo

from bench.common import by_itself, folder, main, table
from bench.made_rows import KEY, SITES, made_shard
from bench.peak import Peak
from emolake.demo.s3_server import serve_s3
from emolake.lake.connect import open_lake
from emolake.lake.memory import bound_memory
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.day_plan import waves_of_day
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.runs import Run
from emolake.run_options import RunOptions
from emolake.settings import Settings
from emolake.source.access import SourceOptions
from emolake.source.opening import open_source
from emolake.source.pattern import KeyPattern
from emolake.source.store import Listed
from emolake.tasks.commit import commit_shard
from emolake.tasks.plan import list_day

_USUAL_MB = RunOptions().memory_mb
# What the lake holds of the day, what it does not, and `run.memory_mb`.
_DAYS = {
    "short": ((2_000, 10, _USUAL_MB), (20_000, 10, _USUAL_MB), (0, 20_000, _USUAL_MB)),
    "full": (
        (10_000, 10, _USUAL_MB), (100_000, 10, _USUAL_MB), (1_000_000, 10, _USUAL_MB), (1_000_000, 10, 128),
        (0, 1_000_000, _USUAL_MB),
    ),
}  # fmt: skip
_BUCKETS = {"short": (10_000, 50_000), "full": (100_000, 1_000_000)}  # keys; a hundredth of them is the day's
_COMMITTED_AT_ONCE = 100_000
DAY = date(2026, 7, 3)
PATTERN = KeyPattern("{date:%Y/%m/%d}/{site}/{call_id}.{ext}", ZoneInfo("UTC"))
ACCESS_KEY, SECRET_KEY = "bench", "bench-secret"


class ManyObjects:
    """A listing of the day's recordings as the lake holds them, and some more, without a server between."""

    def __init__(self, held: int, new: int) -> None:
        self.count = held + new

    def list(self, prefix: str) -> Iterator[Listed]:
        for number in range(self.count):
            yield Listed(f"{DAY:%Y/%m/%d}/site{number % SITES}/{number:06d}.wav", "v1", 320_000)

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        yield prefix

    def object_uri(self, key: str) -> str:
        return f"s3://calls/{key}"


def measure(size: str) -> str:
    planned = []
    with folder() as place:
        for held, new, memory_mb in _DAYS[size]:
            warehouse = WarehouseOptions(catalog=f"sqlite:{place}/{held}.sqlite", data=f"{place}/{held}")
            if warehouse.parsed_catalog.is_absent:
                with open_lake(warehouse) as lake:
                    for first in range(0, held, _COMMITTED_AT_ONCE):
                        rows = made_shard(
                            DAY, first=first, recordings=min(held - first, _COMMITTED_AT_ONCE), segments=1
                        )
                        commit_shard(lake, rows, key=KEY, run_id="bench", message="bench")
            found = _alone("planned", warehouse.model_dump_json(), str(held), str(new), str(memory_mb))
            assert found["yielded"] == new
            bound = "" if memory_mb == _USUAL_MB else f", run.memory_mb = {memory_mb}"
            planned.append((f"{held:,} in the lake, {new:,} new{bound}", *_told(found)))
        listed = []
        for keys in _BUCKETS[size]:
            bucket = place / f"s3-{keys}" / "calls"
            own = _fill_bucket(bucket, keys)
            with serve_s3(bucket.parent, access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
                found = _alone("listed", url)
            assert found["yielded"] == own
            listed.append((f"{own:,} keys of the day, {keys:,} in the bucket", *_told(found)))
    columns = ("", "seconds", "objects a second", "memory, MB")
    return (
        f"Plans of a day, from a listing without a server:\n\n{table(columns, planned)}\n\n"
        f"The listing of a day, from rclone's S3 server over files:\n\n{table(columns, listed)}"
    )


def _fill_bucket(bucket: Path, keys: int) -> int:
    """Write empty objects on a hundred days, evenly; return the number of those of `DAY`."""
    for number in range(100):
        day = date.fromordinal(DAY.toordinal() - 50 + number)
        for site in range(SITES):
            place = bucket / f"{day:%Y/%m/%d}" / f"site{site}"
            place.mkdir(parents=True)
            for name in range(keys // 100 // SITES):
                (place / f"{name:06d}.wav").touch()
    return keys // 100 // SITES * SITES


def _alone(what: str, *arguments: str) -> dict[str, float]:
    access = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    found: dict[str, float] = by_itself("bench.planning", what, *arguments, environment=access)
    return found


def _told(found: dict[str, float]) -> tuple[str, ...]:
    return f"{found['seconds']:.2f}", f"{found['seen'] / found['seconds']:,.0f}", f"{found['megabytes']:.0f}"


def planned(warehouse: str, held: str, new: str, memory_mb: str) -> dict[str, float]:
    """Plan the day as a run does, in this process: what is absent is found, and what is new is cut into shards."""
    options = WarehouseOptions.model_validate_json(warehouse)
    settings = Settings(warehouse=options, source={"uri": "s3://calls", "pattern": PATTERN.text})
    run = Run(RunRequest("nightly", (DAY,)), KEY, settings, device="cpu", recorded=True)
    with open_lake(options) as lake:
        bound_memory(lake.connection, memory_mb=int(memory_mb))
        _waves(run, lake, ManyObjects(0, 0))  # what is loaded once
        peak, started, cpu = Peak(), perf_counter(), process_time()
        yielded = _waves(run, lake, ManyObjects(int(held), int(new)))
        seconds, used = perf_counter() - started, process_time() - cpu
    found = {"yielded": yielded, "seen": run.listing.found, "seconds": seconds, "cpu": used}
    return found | {"megabytes": peak.megabytes()}


def _waves(run: Run, lake: Lake, objects: ManyObjects) -> int:
    """Take up all shards of the day; return how many recordings are in them."""
    with patch("emolake.pipeline.day_plan.open_source", lambda *_: objects):  # a plan fetches nothing
        waves = waves_of_day(run, lake, DAY, logging.getLogger("bench"), lambda: None)
        return sum(len(shard.objects) for wave in waves for shard in wave)


def listed(url: str) -> dict[str, float]:
    """List the day, in this process."""
    settings = SourceOptions(uri="s3://calls", endpoint_url=url)
    source = open_source("s3://calls", settings.s3)
    peak, started, cpu = Peak(), perf_counter(), process_time()
    yielded = sum(1 for _ in list_day(source, PATTERN, DAY))
    seconds, used = perf_counter() - started, process_time() - cpu
    found = {"yielded": yielded, "seen": yielded, "seconds": seconds, "cpu": used}
    return found | {"megabytes": peak.megabytes()}


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("planned", "listed"):
        print(json.dumps(planned(*sys.argv[2:]) if sys.argv[1] == "planned" else listed(*sys.argv[2:])))
    else:
        main(measure)
