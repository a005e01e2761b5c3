"""Do workers commit quicker by themselves, or one committer for all of them?

python -m bench.commits

Workers are threads whose model only waits, and whose rows are made beforehand; the lake's catalog is a PostgreSQL.
By themselves they do what a shard does: open the lake and commit. One committer takes their rows from a queue.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from statistics import quantiles
from time import perf_counter, process_time, sleep
from typing import Any
from unittest.mock import patch

import psutil

from bench.common import at_once, by_itself, folder, main, table
from bench.made_rows import KEY, made_shard
from emolake.lake.connect import open_lake
from emolake.lake.transact import LakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.group_commit import GroupCommitter
from emolake.schemas.shard_rows import ShardRows
from emolake.tasks.commit import Committed, commit_shard

from chaos.servers import new_database, postgres_server

DAY = date(2026, 7, 3)
RECORDINGS, SEGMENTS = 10, 36  # of a shard: an hour in calls of six minutes
WORKERS = (16, 64)
# Seconds of a case; how long a model waits for a shard.
_PLAN = {"short": (10.0, 1.0), "full": (30.0, 1.0)}
# Most shards of a group, and how long others are waited for; None: every worker by itself.
WAYS: dict[str, tuple[int, float] | None] = {
    "each worker by itself": None,
    "one committer, up to 8": (8, 0.0),
    "one committer, up to 32": (32, 0.0),
    "one committer, up to 32, waits 2 s for more": (32, 2.0),
}

# Of a worker: a transaction, and what it reads beside; more than PostgreSQL takes by itself where there are many.
_CONNECTIONS = 6


@dataclass
class Course:
    """What the workers of a case have met."""

    committed: Counter[int] = field(default_factory=Counter)
    """Shards of each worker."""
    failed: int = 0
    waits: list[float] = field(default_factory=list)
    """Seconds that a worker could not go on for, once for each shard."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from a finished shard to its commit."""


def measure(size: str) -> str:
    rows = []
    for workers in WORKERS:
        for way in WAYS:
            rows.append((workers, way, *by_itself("bench.commits", "alone", size, str(workers), way)))
    seconds, model_s = _PLAN[size]
    columns = (
        "workers", "commits", "rows/s", "shards/s", "snapshots/s", "lost attempts", "failed shards",
        "worker waits p50 / p95 / longest, s", "until committed p50 / p95 / longest, s",
        "shards of a worker, least to most", "files, those of lost attempts", "processor time a shard, ms",
    )  # fmt: skip
    return (
        f"A model that waits {model_s:g} s a shard of {RECORDINGS} recordings and {RECORDINGS * SEGMENTS} segments, "
        f"all of one day; {seconds:g} s a case, until all that was finished is committed. Processor time is of emolake "
        f"and PostgreSQL together.\n\n{table(columns, rows)}"
    )


def alone(size: str, workers: int, way: str) -> list[str]:
    """Run one case in this process; return the cells of its row."""
    seconds, model_s = _PLAN[size]
    with folder() as place, postgres_server(most_connections=_CONNECTIONS * workers) as server:
        warehouse = WarehouseOptions(
            catalog=f"postgres:{new_database(server.get_uri(), 'bench')}", data=str(place / "data")
        )
        with open_lake(warehouse):
            pass  # made
        shards = list(made_shards(workers * (int(seconds / model_s) + 2)))
        lost: Counter[str] = Counter()
        with patch("emolake.telemetry.count", lambda name, amount=1.0, **_: lost.update({name: int(amount)})):
            before, begun = processor_s(server), perf_counter()
            course = run_workers(warehouse, shards, workers, seconds, model_s, WAYS[way])
            took, used = perf_counter() - begun, processor_s(server) - before
        with open_lake(warehouse, read_only=True) as lake:
            ((snapshots,),) = lake.rows(
                "SELECT count(*) FROM ducklake_snapshots('lake') WHERE author = 'bench'"
            )
            ((known,),) = lake.rows(
                "SELECT (SELECT count(*) FROM __ducklake_metadata_lake.ducklake_data_file) + "
                "(SELECT count(*) FROM __ducklake_metadata_lake.ducklake_delete_file)"
            )
            ((written,),) = lake.rows("SELECT count(*) FROM segments")
        there = len(list((place / "data").rglob("*.parquet")))
    number = course.committed.total()
    assert written == number * RECORDINGS * SEGMENTS
    of_worker = [course.committed[worker] for worker in range(workers)]
    return [
        f"{written / took:.0f}",
        f"{number / took:.1f}",
        f"{snapshots / took:.1f}",
        str(lost["emolake.commit.retries"]),
        str(course.failed),
        said(course.waits),
        said(course.latencies),
        f"{min(of_worker)} to {max(of_worker)}",
        f"{known}, {there - known}",
        f"{1000 * used / max(1, number):.0f}",
    ]


def run_workers(
    warehouse: WarehouseOptions,
    shards: list[ShardRows],
    workers: int,
    seconds: float,
    model_s: float,
    way: tuple[int, float] | None,
) -> Course:
    """Let workers analyse shards for some seconds, and return when all of these are committed."""
    course, remaining = Course(), iter(shards)
    until = perf_counter() + seconds
    with ExitStack() as stack:
        committer = None
        if way is not None:
            most, wait_s = way
            committer = stack.enter_context(
                GroupCommitter(warehouse, key=KEY, run_id="bench", most=most, wait_s=wait_s)
            )

        def work(worker: int) -> None:
            sleep(model_s * worker / workers)  # they do not begin together
            while perf_counter() < until:
                rows = next(remaining)
                sleep(model_s)
                begun = perf_counter()
                if committer is None:
                    try:
                        with open_lake(warehouse) as lake:
                            commit_shard(lake, rows, key=KEY, run_id="bench", message="bench")
                        course.committed[worker] += 1
                    except LakeError:
                        course.failed += 1
                    course.latencies.append(perf_counter() - begun)
                else:
                    committer.submit("bench", rows).add_done_callback(partial(note, worker, begun))
                course.waits.append(perf_counter() - begun)

        def note(worker: int, begun: float, ended: Future[Committed]) -> None:
            course.latencies.append(perf_counter() - begun)
            if ended.exception() is None:
                course.committed[worker] += 1
            else:
                course.failed += 1

        at_once(work, workers)
    return course


def made_shards(number: int, day: date = DAY, *, site_first: bool = False) -> Iterator[ShardRows]:
    """Yield shards of made recordings, each with rows of its own."""
    made = made_shard(day, recordings=number * RECORDINGS, segments=SEGMENTS, site_first=site_first)
    recordings = made.recordings.sort_by("recording_id")
    analyses = made.analyses.sort_by("recording_id")
    segments = made.segments.sort_by([("recording_id", "ascending"), ("segment_index", "ascending")])
    for place in range(0, number * RECORDINGS, RECORDINGS):
        yield ShardRows(
            recordings.slice(place, RECORDINGS),
            analyses.slice(place, RECORDINGS),
            segments.slice(place * SEGMENTS, RECORDINGS * SEGMENTS),
            made.dynamics,
        )


def processor_s(server: Any) -> float:
    """Return the processor seconds of this process and of a server of PostgreSQL, and of no other server here."""
    total = process_time()
    postmaster = psutil.Process(server.get_pid())
    for process in (postmaster, *postmaster.children()):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def said(seconds: list[float]) -> str:
    """Return the median, the 95th percentile and the longest."""
    cuts = quantiles(seconds, n=20, method="inclusive")
    return f"{cuts[9]:.2f} / {cuts[18]:.2f} / {max(seconds):.2f}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        print(json.dumps(alone(sys.argv[2], int(sys.argv[3]), sys.argv[4])))
    else:
        main(measure)
