"""Fault 5: snapshots expire under readers and writers, and many commit at once, as DuckLake's tracker has it."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import Lake, take_guards
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.schemas.tables import RUNS
from emolake.settings import Settings
from emolake.sql import statement
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard
from emolake.upkeep.verify import verify

from chaos.lake_worker import CALLS_A_DAY, DAYS, replace, wrong_in
from chaos.outcomes import BrokenPromiseError, Outcome, tried
from chaos.servers import new_database, postgres_server
from made_lake import DAY, KEY, Call, run_row, shard_rows, tiled

PROMISE = "exactly once, readers see one snapshot"
_WRITERS = 6
_END_S = 180.0
# A writer may get so much less than another.
_FAIR = 4
_AGE_S = 4.0
_ALL = list(range(CALLS_A_DAY))
_THIRDS = (_ALL[::3], _ALL[1::3], _ALL[2::3])
_IDS = (
    "SELECT next_file_id, (SELECT max(data_file_id) FROM {0}.ducklake_data_file) FROM {0}.ducklake_snapshot"
)

Role = dict[str, Any]


def crowded_lake(seed: int, tries: int, folder: Path, seconds: float = 45.0) -> list[Outcome]:
    """Let one kind of crowd at a lake of made calls; it has to hold each call once afterwards, and for each reader."""
    generator = random.Random(seed)
    folder.mkdir(parents=True)
    outcomes: list[Outcome] = []
    with ExitStack() as servers:
        postgres = servers.enter_context(postgres_server()).get_uri() if tries > 1 else None
        faults: list[tuple[str, str, Callable[[WarehouseOptions], str]]] = [
            ("SQLite", "snapshots expire", partial(_expiring, seconds)),
            ("PostgreSQL", "snapshots expire", partial(_expiring, seconds)),
            ("PostgreSQL", "what a writer would conflict with expires (ducklake#1472)", _blinded),
            ("PostgreSQL", "an ALTER that a writer would conflict with expires", _altered),
            ("SQLite", f"{_WRITERS} first writers of the same days at once (ducklake#1393)", _first_writers),
            (
                "PostgreSQL",
                f"{_WRITERS} first writers of the same days at once (ducklake#1393)",
                _first_writers,
            ),
            (
                "PostgreSQL",
                f"{_WRITERS} writers commit at once (ducklake#1094, #1198, #1283)",
                partial(_colliding, seconds),
            ),
        ]
        for number in range(tries):
            catalog, what, work = faults[number % len(faults)]
            name = f"crowd-{number}-{generator.randrange(10**6)}"
            warehouse = WarehouseOptions(
                catalog=f"postgres:{new_database(postgres, name)}"
                if postgres and catalog == "PostgreSQL"
                else f"sqlite:{folder / name}.sqlite",
                data=str(folder / name),
            )
            outcomes.append(tried(PROMISE, f"{what}; {catalog}", partial(work, warehouse)))
    return outcomes


def _expiring(seconds: float, warehouse: WarehouseOptions) -> str:
    """Two writers replace calls, maintenance repeats with a small age, and readers sum up."""
    _filled(warehouse)
    found = _side_by_side(
        warehouse,
        [
            *({"role": "write", "day": str(day), "numbers": _ALL} for day in DAYS),
            {"role": "read"},
            # DuckDB shows no one state of an SQLite catalog to whoever does not check.
            {"role": "read"} | ({} if warehouse.parsed_catalog.file else {"longest_s": _AGE_S / 2}),
            {"role": "maintain", "age_s": _AGE_S},
        ],
        seconds,
    )
    _check_shares(found[:2])
    if not found[2]["readings"] or not found[4]["expired"]:
        raise BrokenPromiseError(f"nothing was read, or nothing expired: {found}")
    _check(warehouse)
    return "each call once, for each reader too"


def _blinded(warehouse: WarehouseOptions) -> str:
    """While a call is replaced, another version of it is committed, and the snapshot of that expires."""
    _filled(warehouse)

    def other(lake: Lake) -> None:
        replace(lake, DAY, [0], "theirs")

    _commit_beside(warehouse, other)
    _check(warehouse)
    return "made again, each call once"


def _altered(warehouse: WarehouseOptions) -> str:
    """While a call is replaced, a table is altered, and the snapshot of that expires: ids would be given twice."""
    _filled(warehouse)

    def other(lake: Lake) -> None:
        lake.connection.execute("COMMENT ON TABLE lake.segments IS 'altered'")

    _commit_beside(warehouse, other)
    with open_lake(warehouse) as lake:
        append(lake.connection, RUNS, run_row("after"))
    _check(warehouse)
    return "made again, and later commits succeed"


def _commit_beside(warehouse: WarehouseOptions, other: Callable[[Lake], None]) -> None:
    """Replace a call; the first attempt meets a commit of somebody else, all but the last of whose snapshots expire."""
    with open_lake(warehouse) as lake, open_lake(warehouse) as theirs:
        rows = shard_rows(
            [Call(f"{DAY}/0.wav", DAY, tiled(["anger", None]), duration_s=20.0, version="ours")]
        )
        struck: list[int] = []

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            if not struck:
                struck.append(lake.rows(statement("current_snapshot"))[0][0])
                other(theirs)
                append(theirs.connection, RUNS, run_row("theirs"))
                expired = list(range(struck[0], theirs.latest_snapshot()))
                theirs.rows(statement("expire_snapshots"), {"snapshots": expired})
            take_guards(connection, [DAY])

        lake.transact(work, author="ours", message="made", extra={})
        commit_shard(lake, rows, key=KEY, run_id="ours", message="made")


def _first_writers(warehouse: WarehouseOptions) -> str:
    """All commit the same calls to an empty lake: each finds nothing to delete."""
    with open_lake(warehouse):
        pass
    _side_by_side(warehouse, [{"role": "write once"}] * _WRITERS, seconds=0)
    _check(warehouse)
    return "each call once"


def _colliding(seconds: float, warehouse: WarehouseOptions) -> str:
    """Each replaces calls of its own, so that nothing but the ids of the catalog is contended for."""
    _filled(warehouse)
    roles = [{"role": "write", "day": str(day), "numbers": part} for day in DAYS for part in _THIRDS]
    found = _side_by_side(warehouse, roles, seconds)
    _check_shares(found)
    with open_lake(warehouse, read_only=True) as lake:
        catalog = "__ducklake_metadata_lake"
        ((next_id, last_id),) = lake.rows(f"{_IDS.format(catalog)} ORDER BY snapshot_id DESC LIMIT 1")
        if next_id <= last_id:
            raise BrokenPromiseError(f"the next file's id would be {next_id}, and {last_id} is taken")
    _check(warehouse)
    return "each call once, every id once"


def _filled(warehouse: WarehouseOptions) -> None:
    with open_lake(warehouse) as lake:
        for day in DAYS:
            replace(lake, day, _ALL, "v0")


def _side_by_side(warehouse: WarehouseOptions, roles: Sequence[Role], seconds: float) -> list[Role]:
    """Let processes begin at once, and end after some seconds; raises BrokenPromiseError for what they found wrong."""
    script = Path(__file__).with_name("lake_worker.py")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path)
    }  # the worker imports made calls of the tests
    where = {"warehouse": {"catalog": warehouse.catalog, "data": str(warehouse.data)}}
    with ExitStack() as killing:
        workers = []
        for role in roles:
            command = [sys.executable, str(script), json.dumps(role | where)]
            pipe = subprocess.PIPE
            worker = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
            )
            killing.callback(worker.wait)
            killing.callback(worker.kill)
            workers.append(worker)
        for worker in workers:
            assert worker.stdout
            worker.stdout.readline()
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("\n")
            worker.stdin.flush()
        time.sleep(seconds)
        found: list[Role] = []
        for worker in workers:
            assert worker.stdin
            worker.stdin.close()
            worker.stdin = None
        for role, worker in zip(roles, workers, strict=True):
            said, errors = worker.communicate(timeout=_END_S)
            if worker.returncode:
                raise BrokenPromiseError(f"{role} failed: {errors[-2000:]}")
            found.append(json.loads(said))
            if found[-1].get("wrong"):
                raise BrokenPromiseError(f"{role} found {found[-1]['wrong']}")
    return found


def _check_shares(writers: Sequence[Role]) -> None:
    commits = [writer["commits"] for writer in writers]
    if min(commits) * _FAIR < max(commits):
        raise BrokenPromiseError(f"some writers had to wait for the others: {writers}")


def _check(warehouse: WarehouseOptions) -> None:
    with open_lake(warehouse) as lake:
        wrong = wrong_in(lake)
        if wrong:
            raise BrokenPromiseError(wrong)
        list(aggregate_days(lake, DayRange(DAYS[0], DAYS[-1]), dimensions=["site"], run_id="last"))
    breaches = verify(Settings(warehouse=warehouse)).breaches
    if breaches:
        raise BrokenPromiseError(f"verify found {breaches[:3]}")
