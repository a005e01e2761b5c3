"""Shards in the workers of a cluster of Ray: actors, each with its model loaded once, that pull what is to be done.

One thread of this process follows all workers. What it decides is in `emolake.pipeline.dispatcher`; placement, and
starting a worker again that died, are Ray's. A worker's call yields signs of life and at last figures: a call that
breaks off is a worker that died.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from threading import Event, Thread
from time import monotonic

from emolake import telemetry
from emolake.errors import BadRecordingError, Reason
from emolake.messages import counted, redacted
from emolake.output import logs
from emolake.pipeline.cluster_shard import ClusterShard, audio_seconds, failure, portion_name
from emolake.pipeline.cluster_worker import SeenWorker
from emolake.pipeline.dispatcher import KILLS, Dispatcher, EndedShard, Portion
from emolake.pipeline.group_commit import GroupCommitter
from emolake.pipeline.interrupts import is_stopping
from emolake.pipeline.ray_cluster import (
    SHUTDOWN_S,
    Cluster,
    EngineError,
    cause_of_death,
    check_shared,
    connected,
    last_line,
)
from emolake.pipeline.ray_worker import Beat, Failed, Message, Ready, ShardWorker, WorkerTask
from emolake.pipeline.run_progress import Advanced
from emolake.pipeline.runs import Run
from emolake.pipeline.scheduling import ShardFuture, Submit, Wave
from emolake.pipeline.shard import AnalysedShard, quarantined_alone
from emolake.schemas.records import Counts

_log = logging.getLogger(__name__)

# A shard is halved for the sake of an even end down to this share of `run.shard_seconds`.
_LEAST_SHARE = 1 / 8
_TICK_S = 0.2
_HEAD_ASKED_S = 3.0
# Refused so often, the head is gone.
_HEAD_REFUSALS = 3
# What Ray takes to notice that a whole machine is gone.
_NODE_NOTICED_S = 1.0


@contextmanager
def submitted_to_ray(run: Run) -> Iterator[Submit]:
    """Give what hands waves of shards to the workers of a cluster, which is connected to with the first.

    Raises:
        ConfigurationError: Ray is not installed; raised with the first wave.
        EngineError: the cluster cannot be reached; likewise.
    """
    engine = _Engine(run)
    try:
        yield engine.submit
    finally:
        engine.close()


class _Engine:
    """See the module. All but `submit` and `close` runs in the engine's own thread."""

    def __init__(self, run: Run) -> None:
        self._run, self._options = run, run.settings.engine
        options = run.settings.run
        self._dispatcher: Dispatcher[ClusterShard, Counts] = Dispatcher(
            seconds=audio_seconds,
            least_seconds=options.shard_seconds * _LEAST_SHARE,
            retries=options.shard_retries,
            retry_delay_s=options.shard_retry_delay_s,
            silence_s=self._options.silence_timeout_s,
        )
        self._committer = GroupCommitter.of(run, expects_more=lambda: self._dispatcher.at_work > 0)
        # So that handing the committer one more never holds this loop.
        self._room = asyncio.Semaphore(self._committer.most_waiting)
        self._commits: set[asyncio.Task[None]] = set()
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handed: set[ClusterShard] = set()
        self._started: Future[None] = Future()
        self._closing = Event()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._workers: dict[Hashable, SeenWorker] = {}
        self._broken: EngineError | None = None
        self._deaths = 0

    def submit(self, wave: Wave) -> Sequence[ShardFuture]:
        """Hand shards over; see `emolake.pipeline.scheduling.Submit`."""
        if self._thread is None:
            self._thread = Thread(target=copy_context().run, args=(self._main,), name="ray", daemon=True)
            self._thread.start()
        self._started.result()
        assert self._loop is not None
        shards = [ClusterShard(shard) for shard in wave]
        for each in shards:
            self._handed.add(each)
            each.add_done_callback(self._handed.discard)
        try:
            self._loop.call_soon_threadsafe(self._add, shards)
        except RuntimeError:  # the loop has ended, which only a fault does before `close`
            self._end_handed()
        return shards

    def close(self) -> None:
        """End the workers, and leave the cluster."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _main(self) -> None:
        try:
            with connected(self._options) as cluster, self._committer:
                check_shared(self._run.settings, cluster)
                asyncio.run(self._served(cluster))
        except BaseException as error:  # noqa: BLE001 - it is raised where the shards are handed over
            if self._started.done():
                _log.error("the engine ended: %r", error)
            else:
                self._started.set_exception(error)
        finally:
            self._end_handed()

    def _end_handed(self) -> None:
        """Let no shard wait for an engine that has ended."""
        error = self._broken or EngineError(
            "the engine of the cluster ended; what was committed stays; run again"
        )
        for each in list(self._handed):
            each.end(EndedShard(each, errors=[error]))

    async def _served(self, cluster: Cluster) -> None:
        self._loop, self._cluster = asyncio.get_running_loop(), cluster
        task = WorkerTask.of(self._run.settings, self._run.key, self._run.run_id)
        made = cluster.ray.remote(ShardWorker).options(
            num_cpus=self._options.cpus,
            num_gpus=self._options.gpus,
            memory=None if self._options.memory_mb is None else self._options.memory_mb * 1_000_000,
            max_restarts=self._options.max_restarts,
        )
        actors = await cluster.asked(
            lambda: [made.remote(task) for _ in range(self._options.workers)], self._options.start_timeout_s
        )
        self._workers = {number: SeenWorker(number, actor) for number, actor in enumerate(actors)}
        following = [asyncio.create_task(self._follow(each)) for each in self._workers.values()]
        watching = [asyncio.create_task(self._watch()), asyncio.create_task(self._watch_head())]
        self._started.set_result(None)
        while not self._closing.is_set():
            await asyncio.sleep(_TICK_S / 4)
        for each in (*following, *watching):
            each.cancel()
        await asyncio.gather(*following, *watching, *self._commits, return_exceptions=True)
        if self._broken is None:
            await cluster.asked(
                lambda: [cluster.ray.kill(worker.actor) for worker in self._workers.values()], SHUTDOWN_S
            )

    def _add(self, shards: Sequence[ClusterShard]) -> None:
        self._dispatcher.add(shards)
        if self._broken is not None:
            self._drop(self._broken)
        self._wake(len(shards))

    def _wake(self, number: int) -> None:
        """Let so many workers that wait look for work."""
        while number and self._idle:
            waiting = self._idle.popleft()
            if not waiting.done():
                waiting.set_result(None)
                number -= 1

    async def _follow(self, worker: SeenWorker) -> None:
        """Give a worker its portions, until it is gone for good."""
        try:
            while await self._is_ready(worker):
                self._dispatcher.join(worker.number)
                while True:
                    portion = await self._next(worker)
                    if not await self._at(worker, portion):
                        break
                self._dispatcher.leave(worker.number)
        except Exception as error:  # noqa: BLE001 - of whatever kind: no shard is to wait for ever
            _log.exception("the worker %s is not followed any more", worker.name or worker.number)
            self._break(EngineError(f"a worker could not be followed: {redacted(str(error))}"))

    async def _is_ready(self, worker: SeenWorker) -> bool:
        """Wait until a worker has its model, over however many of its restarts; return False if it is gone for good."""
        from ray.exceptions import ActorUnavailableError, RayError

        while True:
            try:
                worker.name, worker.node = await worker.actor.where.remote()
                loading = worker.actor.load.remote()
                answer: Ready | Failed = await asyncio.wait_for(loading, self._options.start_timeout_s)
            except TimeoutError:
                _log.warning("the worker %s was killed: its model took too long to load", worker.name)
                await self._restart(worker)
            except ActorUnavailableError:
                await asyncio.sleep(_TICK_S)  # it is being started again
            except RayError as error:
                self._lost_for_good(worker, error)
                return False
            else:
                if isinstance(answer, Failed):
                    self._break(
                        EngineError(f"the worker {worker.name} could not load the model: {answer.message}")
                    )
                    return False
                worker.killed_for = None
                self._run.device = answer.device
                return True

    def _lost_for_good(self, worker: SeenWorker, error: Exception) -> None:
        said = last_line(error)
        _log.warning("the worker %s is gone for good: %s", worker.name or worker.number, said)
        del self._workers[worker.number]
        if not self._workers:
            died = f" after {counted(self._deaths, 'death')}" if self._deaths else ""
            self._break(
                EngineError(
                    f"no worker is left{died}, and the last one said: {said}; what was committed stays; look into the "
                    "lines of the workers for the reason, or raise engine.max_restarts"
                )
            )

    async def _restart(self, worker: SeenWorker) -> None:
        """End the process of a worker, which Ray starts again as often as it may."""
        await self._cluster.asked(lambda: self._cluster.ray.kill(worker.actor, no_restart=False))

    async def _next(self, worker: SeenWorker) -> Portion[ClusterShard]:
        """Wait for a worker's next portion."""
        while (portion := self._dispatcher.assign(worker.number, monotonic())) is None:
            self._idle.append(waiting := asyncio.get_running_loop().create_future())
            await waiting
        return portion

    async def _at(self, worker: SeenWorker, portion: Portion[ClusterShard]) -> bool:
        """Follow a worker at a portion; return whether it is of use for another one."""
        from ray.exceptions import RayError

        worker.signs, worker.progress = -1, Advanced()
        name = portion_name(portion)
        traced = telemetry.span("shard", run=self._run.run_id, shard=name, recordings=portion.recordings)
        with traced:
            try:
                objects = portion.shard.objects[portion.first : portion.stop]
                async for reference in worker.actor.run.remote(objects, name):
                    message: Message = await reference
                    if isinstance(message, Beat):
                        if worker.note(message):
                            self._dispatcher.sign(worker.number, monotonic())
                    elif isinstance(message, Failed) and message.fatal is not None:
                        worker.killed_for = message.fatal, message.message
                        await self._restart(worker)
                        break
                    else:
                        await self._ended(worker, portion, message)
                        return True
                await self._died(worker, portion, None)
            except RayError as error:
                await self._died(worker, portion, error)
        return False

    async def _ended(
        self, worker: SeenWorker, portion: Portion[ClusterShard], message: AnalysedShard | Failed
    ) -> None:
        if self._dispatcher.at(worker.number) is None:
            return  # given up meanwhile
        if isinstance(message, AnalysedShard):
            await self._commit(self._dispatcher.release(worker.number), message, worker.progress)
            return
        error = failure(portion, message.message)
        again = message.again and not is_stopping()
        self._end(self._dispatcher.failed(worker.number, error, monotonic(), again=again))

    async def _died(
        self, worker: SeenWorker, portion: Portion[ClusterShard], error: Exception | None
    ) -> None:
        """Let others have the portion of a worker that died, or quarantine what it died of."""
        self._deaths += 1
        worker.progress.take_back()
        reason, said = worker.killed_for or cause_of_death(error)
        gone = False
        if worker.killed_for is None:
            await asyncio.sleep(_NODE_NOTICED_S)
            gone = not await self._cluster.asked(lambda: self._cluster.is_alive(worker.node))
        where = "its machine is gone" if gone else said
        with logs.about(worker=worker.name, day=portion.shard.shard.day, shard=portion_name(portion)):
            _log.warning("a worker died (%s); %s to another", where, counted(portion.recordings, "recording"))
        if self._dispatcher.at(worker.number) is None:
            return  # given up meanwhile
        condemned = self._dispatcher.died(worker.number, blamed=not gone)
        self._dispatcher.leave(worker.number)
        if condemned is None:
            self._wake(2)
        else:
            await self._quarantine(condemned, reason, said)

    async def _commit(
        self, portion: Portion[ClusterShard], analysed: AnalysedShard, progress: Advanced
    ) -> None:
        """Let what a portion came to be committed; wait where too much waits for that already."""
        await self._room.acquire()
        task = asyncio.create_task(self._committed(portion, analysed, progress))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)

    async def _committed(
        self, portion: Portion[ClusterShard], analysed: AnalysedShard, progress: Advanced
    ) -> None:
        """Have a portion committed, and note its end."""
        name, begun = portion_name(portion), monotonic()
        try:
            with logs.about(day=portion.shard.shard.day, shard=name):
                committed = await asyncio.wrap_future(self._committer.submit(name, analysed.rows))
                counts = analysed.counts(committed, monotonic() - begun)
        except Exception as error:  # noqa: BLE001 - of whatever kind: the shard fails by it
            progress.take_back()
            said = redacted(str(error)) or type(error).__name__
            self._end(self._dispatcher.condemned(portion, error=failure(portion, said)))
        else:
            self._end(self._dispatcher.condemned(portion, counts))
        finally:
            self._room.release()

    async def _quarantine(self, portion: Portion[ClusterShard], reason: Reason, said: str) -> None:
        """Commit a recording that killed workers, alone, as bad."""
        run, message = self._run, f"{said}, {KILLS} times with nothing beside this recording"
        bad = quarantined_alone(
            portion.shard.objects[portion.first],
            BadRecordingError(reason, message, stage="shard"),
            settings=run.settings,
            entry=run.settings.registry.entry(run.key.model),
            key=run.key,
            run_id=run.run_id,
        )
        await self._commit(portion, bad, Advanced())

    def _end(self, ended: EndedShard[ClusterShard, Counts] | None) -> None:
        if ended is not None:
            ended.shard.end(ended)

    async def _watch(self) -> None:
        """Kill workers that are silent, and give up what nobody is to begin any more."""
        with_workers_at = monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            now = monotonic()
            for worker in [self._workers[number] for number in self._dispatcher.silent(now)]:
                worker.killed_for = (
                    Reason.TIMED_OUT,
                    f"the worker got no further for {self._options.silence_timeout_s:g} s",
                )
                await self._restart(worker)
            if is_stopping():
                self._drop(None)
            turn = self._dispatcher.next_turn
            if turn is not None and turn <= now:
                self._wake(1)
            if self._dispatcher.workers or not self._dispatcher.waiting:
                with_workers_at = now
            elif now - with_workers_at > self._options.start_timeout_s:
                self._break(await self._cluster.asked(lambda: self._cluster.lacks_workers(self._options)))

    async def _watch_head(self) -> None:
        """Give the shards up when the head of the cluster is gone."""
        refused = 0
        while refused < _HEAD_REFUSALS:
            await asyncio.sleep(_HEAD_ASKED_S)
            refused = 0 if await asyncio.to_thread(self._cluster.is_answering) else refused + 1
        self._break(self._cluster.lacks_a_head())

    def _drop(self, error: EngineError | None) -> None:
        for ended in self._dispatcher.drop(error):
            self._end(ended)

    def _break(self, error: EngineError) -> None:
        """Let all shards fail, those at work too, and those that are still to come."""
        if self._broken is not None:
            return
        self._broken = error
        _log.error("%s", error)
        for number in self._dispatcher.busy:
            self._end(self._dispatcher.failed(number, error, monotonic(), again=False))
        self._drop(error)
