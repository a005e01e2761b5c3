"""Fault 4: the disk fills, the catalog is locked or its server restarts, credentials expire, all in mid-run."""

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from chaos.outcomes import BrokenPromiseError, Outcome, skipped, tried
from chaos.processes import Command, clear_failure, started
from chaos.proxy import Refuse, Request, faulty
from chaos.servers import new_database, postgres_server
from chaos.site import BUCKET, DAYS, LAST, Content, Site, hold_against, served_site

PROMISE = "a clear failure or a wait, and a clean resume"
_BACKFILL = ("backfill", str(DAYS[0]), str(LAST))
_ENOUGH = "64m"
_PAGE = 4096
_POLL_S = 0.01
_SLOW_SHARE = 0.1
# In a process of its own: two SQLite libraries in one process take each other's locks away.
_LOCK_SQLITE = (
    "import sqlite3, sys, time\n"
    "catalog = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n"
    "catalog.execute('BEGIN EXCLUSIVE')\n"
    "time.sleep(float(sys.argv[2]))\n"
    "catalog.execute('ROLLBACK')\n"
)
Tried = Callable[[Site, str, random.Random, Content], str]


def bad_warehouse(seed: int, tries: int, folder: Path, lock_s: float = 30.0) -> list[Outcome]:
    """Bring one kind of fault about in mid-run, then run again; compare the lake with a clean run's."""
    generator = random.Random(seed)
    outcomes: list[Outcome] = []
    with served_site(folder, seed=seed) as site, ExitStack() as servers:
        expected = site.clean()
        postgres = servers.enter_context(postgres_server())
        faults: dict[str, Tried] = {
            "PostgreSQL restarts": partial(_restarted, postgres),
            "the disk of the data is full": partial(_disk_full, "lake/data"),
            "credentials of the data's bucket expire": partial(_expired, "data"),
            f"the SQLite catalog is locked for {lock_s:g} s": partial(_locked_sqlite, lock_s),
            "credentials of the source expire": partial(_expired, BUCKET),
            f"the PostgreSQL catalog is locked for {lock_s:g} s": partial(_locked_postgres, postgres, lock_s),
            "the disk of data and catalog is full": partial(_disk_full, "lake"),
            "the data's server answers 503 SlowDown now and then": _slowed_down,
        }
        for number in range(tries):
            fault = list(faults)[number % len(faults)]
            if "disk" in fault and not _can_mount(folder):
                outcomes.append(skipped(PROMISE, fault, "skipped: only root can mount a small disk here"))
                continue
            work = partial(faults[fault], site, f"warehouse-{number}", generator, expected)
            outcomes.append(tried(PROMISE, fault, work))
    return outcomes


def _resumed(config: Path, failure: str | None, expected: Content) -> str:
    """Run to the end after a fault, and compare the lake with a clean run's; return what the fault came to."""
    if failure is not None:
        with started(config, *_BACKFILL) as command:
            command.succeed()
    hold_against(config, expected)
    return "waited, and done in the same run" if failure is None else "failed clearly, done by the next run"


def _failure(command: Command, *needed: str) -> str | None:
    """Wait for a command that may succeed or fail clearly; return what it said, None where it succeeded."""
    ended = command.wait()
    return clear_failure(ended, *needed) if ended.status else None


def _in_mid_run(config: Path, generator: random.Random, command: Command) -> None:
    """Wait until a run has begun to write: the empty tables, or the rows of a few shards."""
    stored, shards = config.parent / "lake" / "data", generator.randint(0, 4)
    while command.running and (
        next(stored.rglob("*.parquet"), None) is None
        or sum(1 for _ in stored.glob("main/segments/**/*.parquet")) < shards
    ):
        time.sleep(_POLL_S)
    if not command.running:
        raise BrokenPromiseError(f"the run ended before anything could happen to it: {command.wait()}")


def _expired(bucket: str, site: Site, name: str, generator: random.Random, expected: Content) -> str:
    last = generator.randint(5, 15) if bucket == BUCKET else generator.randint(5, 150)

    def refuse(request: Request) -> Refuse | None:
        return Refuse(400, "ExpiredToken") if request.number > last and f"/{bucket}" in request.path else None

    with faulty(site.endpoint, refuse) as proxy:
        data = site.bucket(f"data-{name}") if bucket == "data" else None
        through = {"endpoint_url": proxy.url}
        config = site.lake(
            name, data=data, source=None if data else through, warehouse=through if data else None
        )
        with started(config, *_BACKFILL) as command:
            failure = clear_failure(command.wait(), "credentials")
        proxy.fault_of = lambda _: None
        return _resumed(config, failure, expected)


def _slowed_down(site: Site, name: str, generator: random.Random, expected: Content) -> str:
    def refuse(request: Request) -> Refuse | None:
        slow = "/data" in request.path and generator.random() < _SLOW_SHARE
        return Refuse(503, "SlowDown") if slow else None

    with faulty(site.endpoint, refuse) as proxy:
        config = site.lake(name, data=site.bucket(f"data-{name}"), warehouse={"endpoint_url": proxy.url})
        with started(config, *_BACKFILL) as command:
            failure = _failure(command, "warehouse.data")
        if not proxy.faults:
            raise BrokenPromiseError("no request was refused, so nothing was tried")
        proxy.fault_of = lambda _: None
        return _resumed(config, failure, expected)


def _locked_sqlite(lock_s: float, site: Site, name: str, generator: random.Random, expected: Content) -> str:
    config = site.lake(name)
    with started(config, *_BACKFILL) as command:
        _in_mid_run(config, generator, command)
        catalog = config.parent / "lake" / "catalog.sqlite"
        subprocess.run(
            [sys.executable, "-c", _LOCK_SQLITE, catalog, str(lock_s)], check=True, stdout=subprocess.DEVNULL
        )
        failure = _failure(command, "catalog")
    return _resumed(config, failure, expected)


def _locked_postgres(
    server: Any, lock_s: float, site: Site, name: str, generator: random.Random, expected: Content
) -> str:
    config = site.lake(name, catalog=f"postgres:{new_database(server.get_uri(), name)}")
    with started(config, *_BACKFILL) as command:
        _in_mid_run(config, generator, command)
        lock = f"BEGIN; LOCK TABLE ducklake_snapshot; SELECT pg_sleep({lock_s}); COMMIT;"
        server.psql(f"\\c {name}\n{lock}")
        failure = _failure(command, "catalog")
    return _resumed(config, failure, expected)


def _restarted(server: Any, site: Site, name: str, generator: random.Random, expected: Content) -> str:
    config = site.lake(name, catalog=f"postgres:{new_database(server.get_uri(), name)}")
    with started(config, *_BACKFILL) as command:
        _in_mid_run(config, generator, command)
        server.stop()  # ends every connection, as an upgrade does
        server.ensure_postgres_running()
        failure = _failure(command, "catalog")
    return _resumed(config, failure, expected)


def _disk_full(below: str, site: Site, name: str, _: random.Random, expected: Content) -> str:
    config = site.lake(name)
    needed = sum(
        math.ceil(path.stat().st_size / _PAGE) for path in (site.folder / "clean" / below).rglob("*.*")
    )
    with _small_disk(config.parent / below, f"{needed * _PAGE // 2}") as disk:
        with started(config, *_BACKFILL) as command:
            failure = clear_failure(command.wait(), "make room")
        subprocess.run(["mount", "-o", f"remount,size={_ENOUGH}", disk], check=True)
        return _resumed(config, failure, expected)


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "emolake-chaos", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def _can_mount(folder: Path) -> bool:
    if os.geteuid():
        return False
    probe = folder / "probe"
    probe.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "emolake-chaos", probe], check=False, capture_output=True
    )
    if mounted.returncode == 0:
        subprocess.run(["umount", probe], check=True)
    return mounted.returncode == 0
