"""A worker of a cluster: a process with its model loaded once, which analyses the shards it is given.

Keys and settings come in; rows and figures go out, and beside them what the process logs, counts and how far it is.
Only modules that need no Ray are used here: the class is made an actor by whoever starts it.
"""

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

from emolake import telemetry
from emolake.errors import Reason
from emolake.models.runtimes.devices import resolve_device
from emolake.output import logs
from emolake.pipeline import run_progress
from emolake.pipeline.device_thread import DeviceLostError
from emolake.pipeline.loaded_models import planned_model
from emolake.pipeline.scheduling import may_succeed_later
from emolake.pipeline.shard import AnalysedShard, analyse_shard
from emolake.schemas.records import AnalysisKey, SourceObject
from emolake.settings import Settings

_log = logging.getLogger(__name__)

# Lines of a worker between two signs of life that are passed on; a recording that fails says few.
_MOST_LINES = 1000
_MEMORY_LOOKED_AT_S = 0.5


@dataclass(frozen=True)
class WorkerTask:
    """What all shards of a run have in common, as a worker gets it once."""

    settings: Mapping[str, Any]
    """As JSON."""
    key: AnalysisKey
    run_id: str
    cpus: int
    """That the worker may use."""
    memory_mb: int | None
    heartbeat_s: float

    @classmethod
    def of(cls, settings: Settings, key: AnalysisKey, run_id: str) -> "WorkerTask":
        """Return the task of a run; nothing in it names whom alerts go to."""
        engine = settings.engine
        without = settings.model_dump(mode="json", exclude={"alerts": True, "telemetry": True})
        cpus = max(1, int(engine.cpus))
        return cls(without, key, run_id, cpus, engine.memory_mb, engine.heartbeat_s)

    def settled(self) -> Settings:
        """Return the settings of the run, with what `auto` means in a worker."""
        settings = Settings.model_validate(self.settings)
        if settings.decode.processes != "auto":
            return settings
        return settings.model_copy(
            update={"decode": settings.decode.model_copy(update={"processes": self.cpus})}
        )


@dataclass(frozen=True)
class Ready:
    """A worker that has its model."""

    device: str


@dataclass(frozen=True)
class Failed:
    """A shard that failed, or a model that could not be loaded, in words: errors of others need not cross processes."""

    message: str
    again: bool = False
    """Whether another try may succeed."""
    fatal: Reason | None = None
    """Why the worker is of no more use, and what its shard would be quarantined for."""


@dataclass(frozen=True)
class Beat:
    """A sign of life, and all that became known since the last one."""

    signs: int
    """Grows with the work."""
    progress: Mapping[str, tuple[float, int]]
    """By day the seconds of audio, and the recordings."""
    lines: Sequence[logs.Line] = ()
    counted: Sequence[tuple[str, float, Mapping[str, str]]] = ()


Message = Beat | AnalysedShard | Failed


class ShardWorker:
    """See the module. Its methods are called one at a time, by Ray."""

    def __init__(self, task: WorkerTask) -> None:
        import torch

        torch.set_num_threads(
            task.cpus
        )  # and onnxruntime's with it; Ray's own setting yields to the environment's
        self._task, self._settings = task, task.settled()
        self._progress = run_progress.collect()
        self._lock = Lock()
        self._lines: list[logs.Line] = []
        self._counted: list[tuple[str, float, Mapping[str, str]]] = []
        logs.collect(self._take_line)
        telemetry.collect(self._take_count)

    def where(self) -> tuple[str, str]:
        """Return host and process, as lines have them, and the identifier of the machine in the cluster."""
        from ray import get_runtime_context

        return f"{socket.gethostname()}:{os.getpid()}", get_runtime_context().get_node_id()

    def load(self) -> Ready | Failed:
        """Load the model, unless it is loaded."""
        try:
            planned_model(self._settings, self._task.key)
        except Exception as error:  # noqa: BLE001 - it ends the run, in whose process it is reported
            return _failed(error)
        return Ready(resolve_device(self._settings.inference.device))

    def run(self, objects: Sequence[SourceObject], message: str) -> Iterator[Message]:
        """Analyse a shard; yield signs of life, and at last what it came to or why it failed."""
        ended: SimpleQueue[AnalysedShard | Failed] = SimpleQueue()
        thread = Thread(
            target=copy_context().run, args=(self._run, objects, message, ended), name="shard", daemon=True
        )
        thread.start()
        while True:
            try:
                result = ended.get(timeout=self._task.heartbeat_s)
            except Empty:
                yield self._beat()
                continue
            yield self._beat()
            yield result
            return

    def _run(
        self, objects: Sequence[SourceObject], message: str, ended: "SimpleQueue[AnalysedShard | Failed]"
    ) -> None:
        watch = _MemoryWatch(self._task.memory_mb, ended)
        try:
            analysed = analyse_shard(
                objects,
                settings=self._settings,
                entry=planned_model(self._settings, self._task.key),
                key=self._task.key,
                run_id=self._task.run_id,
                message=message,
            )
        except BaseException as error:  # noqa: BLE001 - it is reported in the process of the run
            ended.put(_failed(error))
        else:
            ended.put(analysed)
        finally:
            watch.end()

    def _beat(self) -> Beat:
        with self._lock:
            lines, self._lines = self._lines, []
            counted, self._counted = self._counted, []
        return Beat(self._progress.signs, self._progress.take(), lines, counted)

    def _take_line(self, line: logs.Line) -> None:
        with self._lock:
            if len(self._lines) < _MOST_LINES:
                self._lines.append(line)

    def _take_count(self, name: str, amount: float, labels: Mapping[str, str]) -> None:
        with self._lock:
            self._counted.append((name, amount, dict(labels)))


def _failed(error: BaseException) -> Failed:
    fatal = None
    if isinstance(error, DeviceLostError):
        fatal = Reason.CRASHED
    elif isinstance(error, MemoryError):
        fatal = Reason.OUT_OF_MEMORY
    return Failed(str(error) or type(error).__name__, may_succeed_later(error), fatal)


class _MemoryWatch:
    """Ends the shard of a worker that takes more memory than it may, before the machine ends something else."""

    def __init__(self, most_mb: int | None, ended: "SimpleQueue[AnalysedShard | Failed]") -> None:
        self._most_mb, self._ended = most_mb, ended
        self._stop: SimpleQueue[None] = SimpleQueue()
        self._thread: Thread | None = None
        if most_mb is not None and Path("/proc/self/statm").is_file():
            self._thread = Thread(target=self._watch, args=(most_mb,), name="memory", daemon=True)
            self._thread.start()

    def _watch(self, most_mb: int) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while True:
            held_mb = int(Path("/proc/self/statm").read_text().split()[1]) * page / 1e6
            if held_mb > most_mb:
                said = f"the worker took {held_mb:.0f} MB, and engine.memory_mb is {most_mb}"
                self._ended.put(Failed(said, fatal=Reason.OUT_OF_MEMORY))
                return
            try:
                self._stop.get(timeout=_MEMORY_LOOKED_AT_S)
            except Empty:
                continue
            return

    def end(self) -> None:
        self._stop.put(None)
