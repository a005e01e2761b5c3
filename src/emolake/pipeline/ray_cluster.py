"""The cluster that a run's workers are on: one that is there, or one of this machine for the run alone."""

import asyncio
import logging
import math
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from emolake.engine_options import EngineOptions
from emolake.errors import ConfigurationError, EmolakeError, Reason
from emolake.messages import counted, redacted
from emolake.pipeline.interrupts import stop_signals_blocked
from emolake.pipeline.ray_remains import MARK, remains_ended
from emolake.settings import Settings

_log = logging.getLogger(__name__)
_Returned = TypeVar("_Returned")

# What the shards hand on are keys and figures: Ray's store of objects has next to nothing to hold.
_OBJECT_STORE_BYTES = 80_000_000
# The path of a socket has 107 characters, and Ray's own part of it about 80.
_LONGEST_FOLDER = 24
SHUTDOWN_S = 20.0
# Without its head Ray ends the process after a minute, in the middle of what follows the shards: the days' aggregates.
_RECONNECT_S = 600
_ANSWER_S = 3.0


class EngineError(EmolakeError):
    """The cluster cannot be reached, has no workers, or is gone; what was committed stays."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to."""

    ray: Any
    """The module."""
    address: str
    """HOST:PORT of its head."""

    def is_answering(self) -> bool:
        """Return whether somebody listens where the head does."""
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=_ANSWER_S):
                return True
        except OSError:
            return False

    @property
    def described(self) -> str:
        """How many machines, CPUs and GPUs there are, in words."""
        there = self.ray.cluster_resources()
        return f"{counted(self.nodes, 'machine')} with {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"

    def is_alive(self, node: str) -> bool:
        """Return whether a machine is a part of the cluster; it is taken for one while nobody can tell."""
        try:
            return any(each["NodeID"] == node and each["Alive"] for each in self.ray.nodes())
        except Exception:  # noqa: BLE001 - Ray raises what it likes when its head is gone
            return True

    @property
    def nodes(self) -> int:
        """How many machines there are."""
        return sum(bool(each["Alive"]) for each in self.ray.nodes())

    async def asked(self, call: Callable[[], _Returned], timeout_s: float | None = None) -> _Returned:
        """Return what a call to the cluster returns. Nothing waits for its thread: without a head it never ends.

        Raises:
            EngineError: `timeout_s` are over.
        """
        found: Future[_Returned] = Future()

        def run() -> None:
            try:
                found.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is raised where the call is awaited
                found.set_exception(error)

        found.set_running_or_notify_cancel()  # or a wait that is cancelled would cancel it before it has its result
        Thread(target=run, name="ray-call", daemon=True).start()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(found), timeout_s)
        except TimeoutError:
            raise self.lacks_a_head() from None

    def lacks_workers(self, options: EngineOptions) -> EngineError:
        """Return the error of a cluster that had no worker for too long."""
        asked = f"{options.cpus:g} CPUs" + (f" and {options.gpus:g} GPUs" if options.gpus else "")
        return EngineError(
            f"no worker was there for {options.start_timeout_s:g} s: each of {options.workers} asks for {asked}, and "
            f"the cluster at {self.address} has {self.described}; lower engine.cpus, engine.gpus or engine.memory_mb, "
            "or let the cluster grow"
        )

    def lacks_a_head(self) -> EngineError:
        """Return the error of a cluster whose head is gone."""
        return EngineError(
            f"the head of the cluster at {self.address} does not answer any more; what was committed stays, and the "
            "next run takes up the rest"
        )


def imported_ray() -> Any:
    """Import Ray.

    Raises:
        ConfigurationError: it is not installed.
    """
    if find_spec("ray") is None:
        raise ConfigurationError(
            'engine.kind is "ray", and ray is not installed: pip install \'emolake[ray]\', or set it to "local"'
        )
    import ray

    return ray


@contextmanager
def connected(options: EngineOptions) -> Iterator[Cluster]:
    """Connect this process to the cluster, or start one of this machine that ends with the block.

    To be called in a thread that lives as long as the block, and not in the main one: what Ray starts ends with its
    thread, and in the main one Ray would take over signals.

    Raises:
        ConfigurationError: Ray is not installed.
        EngineError: there is no such cluster, or it has no room for a single worker and does not grow.
    """
    with ExitStack() as ending:
        # Ray's own handler of SIGTERM would end this process in the middle of its run.
        variables = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
            "RAY_gcs_rpc_server_reconnect_timeout_s": str(_RECONNECT_S),
        }
        folder = None
        if options.is_own_cluster:
            _check_secret_in_time()
            folder = _new_folder()
            ending.enter_context(remains_ended(folder))
            variables |= _of_own_cluster(folder)
        with _environment(variables):
            ray = imported_ray()
            if ray.is_initialized():
                raise EngineError("this process has a run on a cluster already; one at a time")
            ending.enter_context(_quiet(ray))
            try:
                # What stops the run comes to all processes of its group; workers are to finish their shards.
                with stop_signals_blocked():
                    context = _begun(ray, options, folder)
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                where = f"no cluster of Ray answers at engine.address = {options.address!r}"
                what = where if options.address else "no cluster of Ray could be started on this machine"
                raise EngineError(f"{what}: {_first_line(error)}") from error
        ending.callback(_shut_down, ray)
        cluster = Cluster(ray, context.address_info["gcs_address"])
        _check_room(cluster, options)
        yield cluster


def _begun(ray: Any, options: EngineOptions, folder: Path | None) -> Any:
    common = {"log_to_driver": False, "configure_logging": False, "namespace": "emolake"}
    if folder is None:
        return ray.init(address=options.address, **common)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ray.init(
        address="local",
        num_cpus=max(cores, math.ceil(options.workers * options.cpus)),
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=str(folder),
        **common,
    )


def _new_folder() -> Path:
    folder = Path(tempfile.gettempdir())
    if len(str(folder)) > _LONGEST_FOLDER:
        folder = Path("/tmp")
    return Path(tempfile.mkdtemp(prefix="emolake-ray-", dir=folder))


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Keep Ray's own lines from the outputs: what befalls workers is reported by the engine, and tables are on one."""
    log = logging.getLogger("ray")
    before = log.level
    log.setLevel(logging.ERROR)
    ray._private.worker._worker_logs_enabled = False
    try:
        yield
    finally:
        log.setLevel(before)


def _of_own_cluster(folder: Path) -> dict[str, str]:
    """Return the environment that lets a cluster of this machine listen on it alone, and only to this run."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # "a cluster of one machine", whatever the system: on 127.0.0.1
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),  # or one is written into the home folder
        "RAY_ADDRESS": "",
        MARK: str(folder),
    }


def _check_secret_in_time() -> None:
    """Refuse a cluster of its own where Ray was loaded before it could be told the secret, which it reads once."""
    if "ray" in sys.modules and not _token.cache_info().currsize:
        raise EngineError(
            "ray was imported in this process before its first run, so that a cluster of the run's own cannot be kept "
            "to itself; leave `import ray` to after the run, start emolake in a process of its own, or name a cluster "
            "in engine.address"
        )


@cache
def _token() -> str:
    """Return the secret of this process' clusters: Ray reads it once."""
    return secrets.token_hex(32)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check_room(cluster: Cluster, options: EngineOptions) -> None:
    """Raise EngineError where a cluster of this machine lacks the GPUs that its workers ask for."""
    there = cluster.ray.cluster_resources()
    gpus = there.get("GPU", 0.0)
    if options.is_own_cluster and gpus < options.workers * options.gpus:
        raise EngineError(
            f"engine.workers = {options.workers} with engine.gpus = {options.gpus:g} each, and this machine has "
            f"{gpus:g}; lower one of them"
        )


def _shut_down(ray: Any) -> None:
    """Leave the cluster; one whose head is gone may never answer, and is not waited for."""
    thread = Thread(target=ray.shutdown, name="ray-shutdown", daemon=True)
    thread.start()
    thread.join(SHUTDOWN_S)
    if thread.is_alive():
        _log.warning("the cluster does not answer, and was left as it is")


def check_shared(settings: Settings, cluster: Cluster) -> None:
    """Make sure that workers on several machines can reach what the run reads and writes.

    Raises:
        ConfigurationError: the catalog is a file, which only one machine may write.
    """
    machines = cluster.nodes
    if machines == 1:
        return
    if settings.warehouse.parsed_catalog.kind == "sqlite":
        raise ConfigurationError(
            f"the cluster has {machines} machines, and warehouse.catalog is a file of one; set it to "
            '"postgres:dbname=… host=…"'
        )
    folders = [each for each in (settings.source.uri, settings.warehouse.data) if "://" not in each]
    if folders:
        _log.warning(
            "the cluster has %d machines: %s must be the same folder on all of them",
            machines,
            " and ".join(folders),
        )


def describe_cluster(options: EngineOptions) -> str:
    """Connect to the cluster that is configured, and say what it has; one for the run alone is not started for that.

    Raises:
        ConfigurationError: Ray is not installed.
        EngineError: no such cluster answers.
    """
    asked = f"{counted(options.workers, 'worker')} of {options.cpus:g} CPUs and {options.gpus:g} GPUs"
    if options.is_own_cluster:
        return f"ray {imported_ray().__version__}: each run starts a cluster on this machine, with {asked}"

    def look() -> str:
        with connected(options) as cluster:
            return f"the cluster at {cluster.address} has {cluster.described}; runs ask for {asked}"

    with ThreadPoolExecutor(1, thread_name_prefix="ray") as pool:  # see `connected`
        return pool.submit(look).result()


def cause_of_death(error: Exception | None) -> tuple[Reason, str]:
    """Return what a worker died of, as far as Ray knows."""
    text = str(error)
    if "OutOfMemory" in type(error).__name__ or "low on memory" in text:
        return Reason.OUT_OF_MEMORY, "the worker's machine ran out of memory"
    return Reason.CRASHED, "the worker's process ended"


def last_line(error: Exception) -> str:
    """Return the last line of what Ray says of an error; the ones before are of its own processes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return redacted(lines[-1]) if lines else type(error).__name__


def _first_line(error: BaseException) -> str:
    return redacted(str(error).strip().split("\n")[0]) or type(error).__name__
