"""How does a run grow with its workers, where the model only waits?

python -m bench.growth

Workers are threads that the dispatcher of a cluster gives its shards, as `emolake.pipeline.ray_engine` does; one
committer writes their rows to a lake whose catalog is a PostgreSQL. What is left to measure is all that workers share.
"""

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic, perf_counter, sleep

from bench.commits import RECORDINGS, made_shards, processor_s
from bench.common import at_once, by_itself, folder, main, table
from bench.made_rows import KEY
from emolake.lake.connect import open_lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.dispatcher import Dispatcher
from emolake.pipeline.group_commit import GroupCommitter
from emolake.schemas.shard_rows import ShardRows

from chaos.servers import new_database, postgres_server

WORKERS = {"short": (1, 2, 4, 8, 16, 32), "full": (1, 2, 4, 8, 16, 32, 64, 128, 256)}
SHARDS_EACH = 8
MODEL_S = 2.0  # on average; a shard takes from a half to one and a half of it


@dataclass(frozen=True)
class Waiting:
    """A shard of one recording, which takes so many seconds."""

    objects: Sequence[float]


def measure(size: str) -> str:
    rows = []
    for workers in WORKERS[size]:
        found = by_itself("bench.growth", "alone", str(workers))
        rate = found["model_s"] / found["worked_s"]
        rows.append(
            (
                workers,
                f"{found['shards'] / found['worked_s']:.2f}",
                f"{rate:.2f}",
                f"{rate / workers:.2f}",
                f"{found['longest_wait_s']:.2f}",
                f"{found['committed_s']:.2f}",
                f"{1000 * found['cpu_s'] / found['shards']:.0f}",
                f"{found['cpu_s'] / found['worked_s']:.2f}",
            )
        )  # fmt: skip
    columns = (
        "workers", "shards a second", "workers' worth", "share of N", "longest wait for a shard, s",
        "last commit after the last shard, s", "processor time a shard, ms", "cores busy",
    )  # fmt: skip
    return (
        f"{SHARDS_EACH} shards for each worker, which take {MODEL_S / 2:g} to {1.5 * MODEL_S:g} s, of 10 recordings "
        f"and 360 segments. A worker's worth is a worker that never waits. Processor time is all that is not the "
        f"model: handing out, committing, PostgreSQL.\n\n{table(columns, rows)}"
    )


def alone(workers: int) -> dict[str, float]:
    """Let so many workers do their shards, in this process."""
    draw = random.Random(workers)
    number = workers * SHARDS_EACH
    shards = [Waiting((draw.uniform(0.5, 1.5) * MODEL_S,)) for _ in range(number)]
    with folder() as place, postgres_server() as server:
        catalog = f"postgres:{new_database(server.get_uri(), 'bench')}"
        warehouse = WarehouseOptions(catalog=catalog, data=str(place / "data"))
        with open_lake(warehouse):
            pass  # made
        rows = list(made_shards(number))
        before, begun = processor_s(server), perf_counter()
        dispatcher: Dispatcher[Waiting, None] = Dispatcher(seconds=_seconds, least_seconds=MODEL_S)
        dispatcher.add(shards)
        with GroupCommitter(
            warehouse, key=KEY, run_id="bench", wait_s=2.0, expects_more=lambda: dispatcher.at_work > 0
        ) as committer:
            waits = run_workers(dispatcher, committer, rows, workers)
            worked_s = perf_counter() - begun
        took, used = perf_counter() - begun, processor_s(server) - before
        with open_lake(warehouse, read_only=True) as lake:
            ((written,),) = lake.rows("SELECT count(*) FROM recordings")
    assert written == number * RECORDINGS
    return {
        "shards": number,
        "model_s": sum(shard.objects[0] for shard in shards),
        "worked_s": worked_s,
        "committed_s": took - worked_s,
        "longest_wait_s": max(waits),
        "cpu_s": used,
    }


def run_workers(
    dispatcher: Dispatcher[Waiting, None],
    committer: GroupCommitter,
    rows: list[ShardRows],
    workers: int,
) -> list[float]:
    """Let workers pull shards until none is left; return how long they waited between two."""
    waits: list[float] = []
    lock = Lock()

    def work(worker: int) -> None:
        while True:
            asked = perf_counter()
            with lock:
                portion = dispatcher.assign(worker, monotonic())
                own = rows.pop() if portion else None
            if portion is None or own is None:
                return
            waits.append(perf_counter() - asked)
            sleep(portion.seconds)
            with lock:
                portion = dispatcher.release(worker)
            asked = perf_counter()
            committer.submit("bench", own)
            waits.append(perf_counter() - asked)
            with lock:
                dispatcher.condemned(portion)

    for worker in range(workers):
        dispatcher.join(worker)
    at_once(work, workers)
    return waits


def _seconds(item: object) -> float:
    assert isinstance(item, float)
    return item


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        print(json.dumps(alone(int(sys.argv[2]))))
    else:
        main(measure)
