"""The cluster that a run's workers are on: one that is there, or one of this machine for the run alone."""

import logging
import math
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from emolake.engine_options import EngineOptions
from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import redacted
from emolake.pipeline.interrupts import stop_signals_blocked

_log = logging.getLogger(__name__)

# What the shards hand on are keys and figures: Ray's store of objects has next to nothing to hold.
_OBJECT_STORE_BYTES = 80_000_000
# The path of a socket has 107 characters, and Ray's own part of it about 80.
_LONGEST_FOLDER = 24
_SHUTDOWN_S = 20.0
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
        if options.is_own_cluster:
            ending.enter_context(_environment(_of_own_cluster()))
        # Ray's own handler of SIGTERM would end this process in the middle of its run.
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1"}
        ending.enter_context(_environment(quiet))
        ray = imported_ray()
        if ray.is_initialized():
            raise EngineError("this process has a run on a cluster already; one at a time")
        ray_log = logging.getLogger("ray")
        before = ray_log.level
        ray_log.setLevel(logging.ERROR)
        ending.callback(ray_log.setLevel, before)
        # What befalls workers is reported by the engine; Ray writes it to standard output, where tables go.
        ray._private.worker._worker_logs_enabled = False
        try:
            # What stops the run comes to all processes of its group, or of its service: workers finish their shards.
            with stop_signals_blocked():
                context = _begun(ray, options, ending)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = f"no cluster of Ray answers at engine.address = {options.address!r}"
            what = where if options.address else "no cluster of Ray could be started on this machine"
            raise EngineError(f"{what}: {_first_line(error)}") from error
        ending.callback(_shut_down, ray)
        cluster = Cluster(ray, context.address_info["gcs_address"])
        _check_room(cluster, options)
        yield cluster


def _begun(ray: Any, options: EngineOptions, ending: ExitStack) -> Any:
    common = {"log_to_driver": False, "configure_logging": False, "namespace": "emolake"}
    if options.address:
        return ray.init(address=options.address, **common)
    folder = Path(tempfile.gettempdir())
    if len(str(folder)) > _LONGEST_FOLDER:
        folder = Path("/tmp")
    scratch = tempfile.mkdtemp(prefix="emolake-ray-", dir=folder)
    ending.callback(shutil.rmtree, scratch, ignore_errors=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ray.init(
        address="local",
        num_cpus=max(cores, math.ceil(options.workers * options.cpus)),
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        _temp_dir=scratch,
        **common,
    )


def _of_own_cluster() -> dict[str, str]:
    """Return the environment that lets a cluster of this machine listen on it alone, and only to this run."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # "a cluster of one machine", whatever the system: on 127.0.0.1
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),  # or one is written into the home folder
        "RAY_ADDRESS": "",
    }


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
    thread.join(_SHUTDOWN_S)
    if thread.is_alive():
        _log.warning("the cluster does not answer, and was left as it is")


def _first_line(error: BaseException) -> str:
    return redacted(str(error).strip().split("\n")[0]) or type(error).__name__
