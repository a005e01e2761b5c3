"""Which of Ray's ways to keep a model warm hands shards out best: actors that pull, ActorPool, or Ray Data?

python -m bench.ray_engine

Shards only wait, so that the figures are those of handing out, on however few cores; but workers are started, which a
loaded machine takes long for.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Thread
from typing import Any

from bench.common import main, table
from emolake.engine_options import EngineOptions
from emolake.pipeline.dispatcher import Dispatcher, EndedShard
from emolake.pipeline.ray_cluster import connected

_WORKERS = 4
_SHARDS = {"short": 48, "full": 160}
_SECONDS_OF_ALL = {"short": 24.0, "full": 120.0}  # for each worker a quarter
_EMPTY = {"short": 200, "full": 1000}
_PATIENCE_S = 90.0


@dataclass(frozen=True)
class Waiting:
    """A shard whose recordings only wait; one of less than no time ends the process that is at it."""

    objects: Sequence[float]


class Waiter:
    """A worker."""

    def run(self, seconds: Sequence[float]) -> int:
        for each in seconds:
            if each < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(each)
        return len(seconds)

    def followed(self, seconds: Sequence[float]) -> Iterator[int]:
        yield self.run(seconds)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"done": [self.run(each) for each in batch["seconds"]]}


def pulled(ray: Any, shards: Sequence[Waiting]) -> int:
    """Hand shards out as the engine does; return how many recordings were done."""
    return asyncio.run(_pulled(ray, shards))


async def _pulled(ray: Any, shards: Sequence[Waiting]) -> int:
    from ray.exceptions import RayError

    dispatcher: Dispatcher[Waiting, int] = Dispatcher(seconds=_seconds, least_seconds=0.1)
    dispatcher.add(shards)
    ended: list[EndedShard[Waiting, int]] = []

    def note(one: EndedShard[Waiting, int] | None) -> None:
        if one is not None:
            ended.append(one)

    async def follow(worker: int) -> None:
        actor = ray.remote(Waiter).options(num_cpus=1, max_restarts=-1).remote()
        dispatcher.join(worker)
        while len(ended) < len(shards):
            portion = dispatcher.assign(worker, time.monotonic())
            if portion is None:
                await asyncio.sleep(0.01)
                continue
            try:
                async for each in actor.followed.remote(portion.shard.objects[portion.first : portion.stop]):
                    note(dispatcher.done(worker, await each))
            except RayError:
                if (found := dispatcher.died(worker)) is not None:
                    note(dispatcher.condemned(found))
                await _started_again(actor)

    await asyncio.gather(*(follow(worker) for worker in range(_WORKERS)))
    return sum(sum(each.results) for each in ended)


async def _started_again(actor: Any) -> None:
    from ray.exceptions import RayError

    while True:
        try:
            await actor.run.remote([])
            return
        except RayError:
            await asyncio.sleep(0.1)


def pooled(ray: Any, shards: Sequence[Waiting]) -> int:
    """Hand shards out by ActorPool, the largest first."""
    actors = [ray.remote(Waiter).options(num_cpus=1, max_restarts=-1).remote() for _ in range(_WORKERS)]
    pool = ray.util.ActorPool(actors)
    largest_first = sorted((list(each.objects) for each in shards), key=lambda one: -sum(map(_seconds, one)))
    done = 0
    for each in pool.map_unordered(lambda actor, one: actor.run.remote(one), largest_first):
        done += each
    return done


def mapped(ray: Any, shards: Sequence[Waiting]) -> int:
    """Hand shards out by Ray Data, the largest first."""
    from ray import data

    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    largest_first = sorted((list(each.objects) for each in shards), key=lambda one: -sum(map(_seconds, one)))
    rows = data.from_items([{"seconds": one} for one in largest_first], override_num_blocks=len(shards))
    found = rows.map_batches(Waiter, batch_size=1, concurrency=_WORKERS, num_cpus=1)
    return sum(row["done"] for row in found.iter_rows())


WAYS: dict[str, Callable[[Any, Sequence[Waiting]], int]] = {
    "actors that pull (our dispatcher)": pulled,
    "ray.util.ActorPool": pooled,
    "Ray Data, map_batches": mapped,
}


def _seconds(item: object) -> float:
    assert isinstance(item, float)
    return abs(item)


def _night(size: str) -> list[Waiting]:
    """Return shards of ten recordings each, of very different lengths, as nights have them."""
    chance = random.Random(0)
    lengths = [[chance.lognormvariate(0, 1.2) for _ in range(10)] for _ in range(_SHARDS[size])]
    lengths[-1] = [each * 8 for each in lengths[-1]]
    factor = _SECONDS_OF_ALL[size] / sum(map(sum, lengths))
    return [Waiting([each * factor for each in one]) for one in lengths]


def measure(size: str) -> str:
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = (
        "0"  # or what does not end would start a cluster of its own behind it
    )

    def work() -> str:
        options = EngineOptions(kind="ray", workers=_WORKERS, cpus=1)
        with connected(options) as cluster:
            return _measured(cluster.ray, size)

    with ThreadPoolExecutor(1) as pool:  # see `connected`
        return pool.submit(work).result()


def _measured(ray: Any, size: str) -> str:
    night = _night(size)
    ideal = sum(sum(shard.objects) for shard in night) / _WORKERS
    empty = [Waiting([0.0]) for _ in range(_EMPTY[size])]
    killer = [*night[:7], Waiting([0.01, 0.01, -0.01, 0.01])]
    recordings = sum(len(shard.objects) for shard in killer)
    rows = []
    for name, way in WAYS.items():
        way(ray, empty[:_WORKERS])  # which starts processes
        begun = time.perf_counter()
        way(ray, empty)
        each_ms = (time.perf_counter() - begun) / len(empty) * 1000
        begun = time.perf_counter()
        assert way(ray, night) == 10 * len(night)
        wall_s = time.perf_counter() - begun
        rows.append(
            (
                name,
                f"{wall_s:.1f}",
                f"{wall_s / ideal:.2f}",
                f"{each_ms:.1f}",
                _with_killer(ray, way, killer, recordings),
            )
        )
    columns = (
        "",
        "seconds",
        "of the ideal",
        "ms a shard without work",
        "with a recording that kills its worker",
    )
    return (
        f"{len(night)} shards that wait for {_WORKERS * ideal:.0f} s together, one of them eight times the usual, on "
        f"{_WORKERS} workers; the ideal is {ideal:.1f} s. Workers are started each time, which is in the seconds.\n\n"
        f"{table(columns, rows)}"
    )


def _with_killer(
    ray: Any, way: Callable[[Any, Sequence[Waiting]], int], shards: Sequence[Waiting], recordings: int
) -> str:
    """Say how many recordings are done where one kills whoever is at it."""
    ended: list[str] = []

    def attempt() -> None:
        try:
            ended.append(f"{way(ray, shards)} of {recordings - 1} others done")
        except Exception as error:  # noqa: BLE001 - what comes of it is the figure
            ended.append(f"ends with {type(error).__name__}")

    thread = Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return ended[0] if ended else f"does not end within {_PATIENCE_S:.0f} s"


if __name__ == "__main__":
    main(measure)
