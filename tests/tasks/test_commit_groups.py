"""Several shards in one transaction leave what one transaction a shard leaves, whichever are grouped."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.lake.connect import open_lake
from emolake.lake.schema import SchemaError, append
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import ANALYSES, ERASURES, RECORDING_DYNAMICS, RECORDINGS, SEGMENTS
from emolake.tasks.commit import commit_shards

from made_lake import DAY, KEY, Call, Piece, shard_rows, sqlite_warehouse, tiled

TABLES = (RECORDINGS, ANALYSES, SEGMENTS, RECORDING_DYNAMICS)
BEFORE = (KEY, AnalysisKey("other", "e" * 32, "d" * 16), replace(KEY, config_id="b" * 16))

CALL = st.builds(
    Call,
    key=st.sampled_from(["a.wav", "b.wav", "c.wav", "d.wav"]),
    day=st.sampled_from([DAY, DAY + timedelta(days=1), DAY + timedelta(days=16)]),
    version=st.sampled_from(["v1", "v2"]),
    pieces=st.sampled_from([tiled(["anger", None]), (Piece(),), ()]),
    analysed=st.sampled_from([True, True, False]),
    talk_s=st.sampled_from([None, 4.0]),
)
SHARD = st.lists(CALL, min_size=1, max_size=3, unique_by=lambda call: call.key)


@pytest.fixture(scope="module")
def lakes(tmp_path_factory):
    """A lake that takes one shard a transaction, and one that takes several."""
    place = tmp_path_factory.mktemp("lakes")
    with (
        open_lake(sqlite_warehouse(place / "single")) as single,
        open_lake(sqlite_warehouse(place / "grouped")) as grouped,
    ):
        yield single, grouped


def empty(lake):
    lake.connection.execute("BEGIN")
    for table in (*(table.name for table in TABLES), "erasures"):
        lake.connection.execute(f"DELETE FROM lake.{table}")
    lake.connection.execute("COMMIT")


def erase(lake, key):
    receipt = {
        "recording_hash": hashlib.sha256(Call(key).recording_id.encode()).hexdigest(),
        "erased_at": datetime.now(UTC),
        "analyses": 0,
        "segments": 0,
        "requested_by": "somebody",
    }
    append(lake.connection, ERASURES, pa.Table.from_pylist([receipt], schema=ERASURES.schema))


def content(lake):
    return {
        table.name: sorted(map(repr, lake.rows(f"SELECT {', '.join(table.schema.names)} FROM {table.name}")))
        for table in TABLES
    }


def commit(lake, shards, *, key=KEY, force=False):
    return commit_shards(lake, shards, key=key, run_id="run", message="made", force=force)


@settings(max_examples=4)
@given(data=st.data())
def test_any_grouping_leaves_what_one_transaction_a_shard_leaves(lakes, data):
    """Recordings that several shards have, that moved to another day, that other models know or that were erased."""
    before = data.draw(st.lists(st.tuples(SHARD, st.sampled_from(BEFORE)), max_size=1))
    shards = [shard_rows(calls) for calls in data.draw(st.lists(SHARD, min_size=2, max_size=4))]
    cuts = data.draw(st.sets(st.integers(1, len(shards) - 1), max_size=1))
    force, erased = data.draw(st.booleans()), data.draw(st.sampled_from([None, None, "a.wav"]))
    for lake in lakes:
        empty(lake)
    for calls, key in before:
        rows = shard_rows(calls, key=key, run_id="earlier")
        for lake in lakes:
            commit(lake, [rows], key=key)
    if erased is not None:
        for lake in lakes:
            erase(lake, erased)
    single, grouped = lakes
    one_by_one = [found for rows in shards for found in commit(single, [rows], force=force)]
    bounds = [0, *sorted(cuts), len(shards)]
    together = [
        found for first, end in pairwise(bounds) for found in commit(grouped, shards[first:end], force=force)
    ]
    assert together == one_by_one
    assert content(grouped) == content(single)


def test_a_group_is_one_snapshot_and_takes_each_guard_once(lakes):
    lake, _ = lakes
    empty(lake)
    before, guards = lake.latest_snapshot(), dict(lake.rows("SELECT guard, commits FROM guards"))
    shards = [shard_rows([Call(f"{n}.wav", DAY + timedelta(days=n % 2))]) for n in range(4)]
    assert [len(found.written) for found in commit(lake, shards)] == [1] * 4
    assert lake.latest_snapshot() == before + 1
    after = dict(lake.rows("SELECT guard, commits FROM guards"))
    assert sum(after.values()) - sum(guards.values()) == 2


def test_rows_that_do_not_fit_keep_their_whole_group_out(lakes):
    lake, _ = lakes
    empty(lake)
    bad = shard_rows([Call("bad.wav")])
    bad = replace(bad, analyses=bad.analyses.drop_columns("config_id"))
    before = lake.latest_snapshot()
    with pytest.raises(SchemaError, match="config_id is missing"):
        commit(lake, [shard_rows([Call("good.wav")]), bad])
    assert lake.latest_snapshot() == before


def test_runs_that_group_alike_recordings_differently_leave_one_set_of_rows(warehouse):
    """Each of three runs at once has all shards, in another order and other groups."""
    shards = [[Call(f"{n}.wav", DAY + timedelta(days=n % 3), tiled(["anger", None]))] for n in range(6)]
    with open_lake(warehouse):
        pass  # made

    def one_run(run: int) -> int:
        written = 0
        with open_lake(warehouse) as lake:
            order = shards[run:] + shards[:run]
            for first in range(0, len(order), run + 1):
                group = [shard_rows(calls, run_id=f"run-{run}") for calls in order[first : first + run + 1]]
                found = commit_shards(lake, group, key=KEY, run_id=f"run-{run}", message="made")
                written += sum(len(each.written) for each in found)
        return written

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(one_run, range(3))) == 6
    with open_lake(warehouse, read_only=True) as lake:
        for table, rows in (("recordings", 6), ("analyses", 6), ("segments", 12)):
            assert lake.rows(f"SELECT count(*), count(DISTINCT recording_id) FROM {table}") == [(rows, 6)]
