"""Fault 6: a cluster loses a worker, its head, the run itself, or what all of them read and write."""

import os
import random
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from emolake.demo.s3_server import serve_s3
from emolake.lake.unopened import NoLakeError
from emolake.pipeline.ray_remains import MARK

from chaos.outcomes import BrokenPromiseError, Outcome, log, skipped
from chaos.processes import Command, clear_failure, started
from chaos.proxy import Fault, Proxy, Reset, Stall, faulty
from chaos.servers import ACCESS_KEY, SECRET_KEY, new_database, postgres_server
from chaos.site import LAST, Content, Site, content, difference, hold_against, rows, served_site

PROMISE = "exactly once, on a cluster"
_DAYS = [LAST - timedelta(days=back) for back in range(5, -1, -1)]
_CALLS_A_DAY = 6
_BACKFILL = ("backfill", str(_DAYS[0]), str(LAST))
_RUN = {"heartbeat_s": 0.5, "heartbeat_timeout_s": 3.0, "shard_retry_delay_s": 1.0}
_ENGINE = {
    "kind": "ray",
    "heartbeat_s": 0.5,
    "silence_timeout_s": 60.0,
    "commit_shards": 2,
    "commit_wait_s": 0.2,
}
_A_LAKE = 5
"""Disturbances of one lake, one after another, each behind a commit that followed the last."""
_MOST_RUNS = 3
_MOST_COMMITS = 2
"""That may pass before the next disturbance."""
_JITTER_S = 1.0
_OUTAGE_S = (0.2, 4.0)
_POLL_S = 0.3
_GONE_S = 30.0
_START_S = 120.0


@dataclass(frozen=True)
class _Stage:
    """Servers of lakes that are tried one after another; what is killed of them is started again."""

    site: Site
    postgres: Any
    proxy: Proxy
    temporary: Path
    """Where runs have their temporary folders, Ray's among them."""
    servers: ExitStack

    @property
    def environment(self) -> Mapping[str, str | None]:
        """What differs for a run: no server of Prefect, for what a cluster does is the same without.

        And no death but those that are meant: Ray ends workers when anybody fills the machine's memory.
        """
        prefect = dict.fromkeys(name for name in os.environ if name.startswith("PREFECT_"))
        return {"TMPDIR": str(self.temporary), "RAY_memory_monitor_refresh_ms": "0", **prefect}

    def clean(self) -> Content:
        """Return what a local run without faults makes of the bucket."""
        config = self.site.lake("clean")
        with started(config, *_BACKFILL, environment=self.environment) as command:
            command.succeed()
        return content(config)


Disturb = Callable[[_Stage, Command, random.Random], None]


def cluster(seed: int, tries: int, folder: Path, lanes: int = 1) -> list[Outcome]:
    """Disturb a run on a cluster at any moment, run until the lake is complete, and compare it with a local run's.

    Args:
        seed: makes calls, moments and outages.
        tries: how many runs are disturbed.
        folder: for servers and lakes.
        lanes: how many are tried side by side, each lane with servers of its own.
    """
    if find_spec("ray") is None:
        return [skipped(PROMISE, "any", "skipped: ray is not installed")]
    generator = random.Random(seed)
    kinds = [_KINDS[number % len(_KINDS)] for number in range(tries)]
    if tries > _A_LAKE:
        generator.shuffle(kinds)
    lakes = [kinds[first : first + _A_LAKE] for first in range(0, tries, _A_LAKE)]
    with ExitStack() as servers:
        stages = [servers.enter_context(_staged(folder / f"lane-{lane}", seed)) for lane in range(lanes)]
        expected = stages[0].clean()

        # Made here, one after another: DuckDB's extensions are loaded through a connection that threads share.
        trials = [
            _Trial(stages[number % lanes], f"cluster-{number}", seed + number, expected)
            for number in range(len(lakes))
        ]

        def tried_in(lane: int) -> list[Outcome]:
            return [
                outcome
                for trial, wanted in list(zip(trials, lakes, strict=True))[lane::lanes]
                for outcome in trial.outcomes(wanted)
            ]

        with ThreadPoolExecutor(lanes) as pool:
            found = [outcome for lane in pool.map(tried_in, range(lanes)) for outcome in lane]
    return sorted(found, key=lambda outcome: list(_FAULTS).index(outcome.fault))


@contextmanager
def _staged(folder: Path, seed: int) -> Iterator[_Stage]:
    with ExitStack() as servers:
        # A path of a socket is short, and Ray makes a long one of it.
        temporary = servers.enter_context(
            tempfile.TemporaryDirectory(prefix="ec-", ignore_cleanup_errors=True)
        )
        site = servers.enter_context(served_site(folder, seed=seed, days=_DAYS, calls=_CALLS_A_DAY))
        proxy = servers.enter_context(faulty(site.endpoint, lambda _: None))
        postgres = servers.enter_context(postgres_server())
        yield _Stage(site, postgres, proxy, Path(temporary), servers)


class _Trial:
    """A lake over which runs are disturbed; each run takes up what the ones before have left."""

    def __init__(self, stage: _Stage, name: str, seed: int, expected: Content) -> None:
        self._stage, self._expected = stage, expected
        self._generator = random.Random(f"{seed} {name}")
        site = stage.site
        self._config = site.lake(
            name,
            catalog=f"postgres:{new_database(stage.postgres.get_uri(), name)}",
            data=site.bucket(f"{name}-data"),
            source={"endpoint_url": stage.proxy.url},
            warehouse={"endpoint_url": stage.proxy.url},
            run=_RUN,
            engine=_ENGINE | {"workers": self._generator.choice((2, 3))},
        )
        self._stored = site.buckets / f"{name}-data"
        self._command: Command | None = None

    def outcomes(self, kinds: Sequence[str]) -> list[Outcome]:
        """Disturb runs in such ways, then run until the lake is complete, and compare it with a clean run's."""
        came: list[tuple[str, str]] = []
        broken = None
        try:
            for kind in kinds:
                if not self._moment_came():
                    break  # the lake is complete
                came.append((kind, self._disturbed(kind)))
            self._complete()
        except BrokenPromiseError as error:
            broken = str(error)
        except Exception:  # noqa: BLE001 - one lake that breaks off must not take the figures of the others along
            broken = traceback.format_exc()
        finally:
            if self._command is not None and self._command.running:
                self._command.kill()
        left = [skipped(PROMISE, kind, "not tried: the lake was complete") for kind in kinds[len(came) :]]
        if broken is not None:
            log.info("BROKEN: %s", broken)
            return [Outcome(PROMISE, kind, "", broken) for kind in kinds]
        return [*(Outcome(PROMISE, kind, how) for kind, how in came), *left]

    def _started(self) -> Command:
        if self._command is None:
            self._command = Command(self._config, *_BACKFILL, environment=self._stage.environment)
        return self._command

    def _moment_came(self) -> bool:
        """Wait until a run has workers and some commits have passed, and a little; return False if all is done."""
        while True:
            is_new, command = self._command is None, self._started()
            due = _commits(self._stored) + self._generator.randint(0 if is_new else 1, _MOST_COMMITS)
            while command.running and not (_commits(self._stored) >= due and _workers(command)):
                time.sleep(_POLL_S)
            time.sleep(self._generator.uniform(0, _JITTER_S))
            if command.running and _workers(command):
                return True
            if self._ended_well():
                return False

    def _disturbed(self, kind: str) -> str:
        """Disturb the run, and return how it went on: until it ends, or has committed once more."""
        command = self._started()
        log.info("%s: after %d commits", kind, before := _commits(self._stored))
        _FAULTS[kind](self._stage, command, self._generator)
        if command.was_killed:
            self._command = None
            time.sleep(_RUN["heartbeat_timeout_s"])
            return "taken up by the next run"
        seen = max(before, _commits(self._stored))
        while command.running and _commits(self._stored) <= seen + 1:
            time.sleep(_POLL_S)
        if command.running or self._ended_well():
            return "the run went on"
        return "a clear failure, and taken up by the next run"

    def _ended_well(self) -> bool:
        """Wait for the end of the run; raises BrokenPromiseError where it failed otherwise than clearly."""
        ended = self._started().wait()
        self._command = None
        _check_nothing_is_left(self._stage)
        if ended.status:
            log.info("%s", clear_failure(ended))
        return not ended.status

    def _complete(self) -> None:
        for _ in range(_MOST_RUNS):
            if self._ended_well() and _is_complete(self._config, self._expected):
                break
        hold_against(self._config, self._expected)
        left = rows(self._config, "SELECT run_id FROM runs WHERE outcome = 'running'")
        if left:
            raise BrokenPromiseError(f"the runs {left} are still running for the lake")


def _is_complete(config: Path, expected: Content) -> bool:
    try:
        return difference(content(config), expected) is None
    except NoLakeError:
        return False


def _commits(stored: Path) -> int:
    return sum(1 for _ in stored.glob("data/main/segments/**/*.parquet"))


def _workers(command: Command) -> list[psutil.Process]:
    return command.family("ray::ShardWorker")


def _check_nothing_is_left(stage: _Stage) -> None:
    """Raise BrokenPromiseError where processes or folders of a cluster outlive its run."""
    deadline = time.monotonic() + _GONE_S
    mark = f"{MARK}={stage.temporary}/".encode()
    while left := [*stage.temporary.glob("emolake-ray-*"), *_marked(mark)]:
        if time.monotonic() > deadline:
            raise BrokenPromiseError(f"the run left {left} behind")
        time.sleep(0.1)


def _marked(mark: bytes) -> list[str]:
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environment.read_bytes():
                found.append(environment.with_name("comm").read_text().strip())
        except OSError:
            continue  # it has ended
    return found


def _worker_killed(stage: _Stage, command: Command, generator: random.Random) -> None:
    generator.choice(_workers(command)).kill()


def _worker_frozen(stage: _Stage, command: Command, generator: random.Random) -> None:
    generator.choice(_workers(command)).suspend()


def _run_killed(stage: _Stage, command: Command, generator: random.Random) -> None:
    command.kill()


def _killed(name: str, stage: _Stage, command: Command, generator: random.Random) -> None:
    for process in command.family(name):
        process.kill()


def _postgres_killed(stage: _Stage, command: Command, generator: random.Random) -> None:
    postmaster = psutil.Process(stage.postgres.get_pid())
    _killed_at_once([postmaster, *postmaster.children(recursive=True)])
    time.sleep(generator.uniform(*_OUTAGE_S))
    deadline = time.monotonic() + _START_S
    while True:
        try:
            stage.postgres.ensure_postgres_running()
        except (subprocess.SubprocessError, AssertionError):  # it recovers, and is not ready yet
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
        else:
            return


def _store_killed(stage: _Stage, command: Command, generator: random.Random) -> None:
    served = str(stage.site.buckets.resolve())
    _killed_at_once([each for each in psutil.Process().children() if served in each.cmdline()])
    time.sleep(generator.uniform(*_OUTAGE_S))
    port = urlsplit(stage.site.endpoint).port
    assert port is not None
    stage.servers.enter_context(
        serve_s3(stage.site.buckets, access_key=ACCESS_KEY, secret_key=SECRET_KEY, port=port)
    )


def _killed_at_once(processes: list[psutil.Process]) -> None:
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=_GONE_S)


def _network_cut(stage: _Stage, command: Command, generator: random.Random) -> None:
    fault: Fault = generator.choice((Reset(), Stall(1.0)))
    stage.proxy.fault_of = lambda _: fault
    time.sleep(generator.uniform(*_OUTAGE_S))
    stage.proxy.fault_of = lambda _: None


_FAULTS: Mapping[str, Disturb] = {
    "a worker is killed": _worker_killed,
    "the process of the run is killed": _run_killed,
    "PostgreSQL is killed, and started again": _postgres_killed,
    "the store is killed, and started again": _store_killed,
    "the head (gcs_server) is killed": partial(_killed, "gcs_server"),
    "a worker is frozen": _worker_frozen,
    "the network to the store is cut for a while": _network_cut,
    "the machine's raylet is killed": partial(_killed, "raylet"),
}
# Of fifty: what costs no new cluster is tried more often.
_SHARES = (6, 4, 4, 3, 2, 2, 3, 1)
_KINDS = [
    kind
    for number in range(max(_SHARES))
    for kind, share in zip(_FAULTS, _SHARES, strict=True)
    if share > number
]
