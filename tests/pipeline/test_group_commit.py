"""One committer for many workers: groups, the shard at fault alone, trouble that passes, and an end without a loss."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest

from emolake.lake.connect import open_lake
from emolake.lake.schema import SchemaError
from emolake.lake.transact import LakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.group_commit import GroupCommitter

from made_lake import KEY, Call, shard_rows


@pytest.fixture
def lake(embedded):
    with open_lake(embedded) as lake:
        yield lake


def committer(warehouse, **options):
    return GroupCommitter(warehouse, key=KEY, run_id="run-1", **{"retry_delay_s": 0.1, **options})


def rows(name: str):
    return shard_rows([Call(f"{name}.wav")])


@contextmanager
def locked(warehouse: WarehouseOptions) -> Iterator[Callable[[], object]]:
    """Let no transaction through until it is released; by a process of its own, as SQLite's locks are a process'."""
    program = (
        "import sqlite3, sys\n"
        "catalog = sqlite3.connect(sys.argv[1])\n"
        "catalog.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    target = warehouse.parsed_catalog.target
    with subprocess.Popen(
        [sys.executable, "-c", program, target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        yield holder.stdin.close


def recordings(lake) -> list[str]:
    return [key for (key,) in lake.rows("SELECT parse_filename(uri, true) FROM recordings ORDER BY ALL")]


def test_what_comes_together_is_one_transaction_with_every_shards_name(embedded, lake):
    before = lake.latest_snapshot()
    with committer(embedded, wait_s=5.0, most=3) as group:
        futures = [group.submit(f"shard {name}", rows(name)) for name in "abc"]
        again = group.submit("shard a", rows("a"))
    assert [len(future.result().written) for future in futures] == [1, 1, 1]
    assert (len(again.result().written), len(again.result().already_done)) == (0, 1)
    assert recordings(lake) == ["a", "b", "c"]
    tagged = lake.rows(
        "SELECT commit_message FROM ducklake_snapshots('lake') WHERE snapshot_id > $before ORDER BY snapshot_id",
        {"before": before},
    )
    assert tagged == [("shard a; shard b; shard c",), ("shard a",)]


@pytest.mark.parametrize("bad", [[0], [2], [1, 2], [0, 1, 2, 3]])
def test_a_shard_whose_rows_do_not_fit_fails_alone(embedded, lake, bad):
    shards = [rows(str(number)) for number in range(4)]
    for number in bad:
        shards[number] = replace(shards[number], analyses=shards[number].analyses.drop_columns(["config_id"]))
    with committer(embedded, wait_s=5.0, most=4) as group:
        futures = [group.submit(str(number), shard) for number, shard in enumerate(shards)]
    for number, future in enumerate(futures):
        if number in bad:
            assert isinstance(future.exception(), SchemaError)
        else:
            assert len(future.result().written) == 1
    assert recordings(lake) == [str(number) for number in range(4) if number not in bad]


def test_a_disk_that_comes_back_costs_a_try_and_one_that_does_not_fails_what_was_there(embedded, lake):
    data = Path(embedded.data)
    whole = data.rename(data.with_name("aside")) if data.exists() else None
    data.touch()  # no folder: nothing can be written

    def come_back() -> None:
        data.unlink()
        if whole:
            whole.rename(data)

    with committer(embedded, retries=0) as group:
        lost = group.submit("lost", rows("lost"))
        assert isinstance(lost.exception(), LakeError)
        timer = Timer(0.5, come_back)
        timer.start()
    with committer(embedded, retries=30) as group:
        assert len(group.submit("found", rows("found")).result().written) == 1
    timer.join()
    assert recordings(lake) == ["found"]


def test_workers_wait_while_too_much_waits_and_the_end_commits_all(embedded, lake):
    with locked(embedded) as release, committer(embedded, most=2) as group, ThreadPoolExecutor(1) as pool:
        # two at most are in a transaction, and four wait
        under_way = [group.submit(str(number), rows(str(number))) for number in range(5)]
        more = [pool.submit(group.submit, str(number), rows(str(number))) for number in (5, 6, 7, 8)]
        assert len(wait(more, timeout=0.5).done) <= 1
        assert group.waiting == 4
        release()
        under_way += [future.result() for future in more]
    assert [len(future.result(timeout=0).written) for future in under_way] == [1] * 9
    assert recordings(lake) == [str(number) for number in range(9)]
