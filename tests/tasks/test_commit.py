"""Commit: twice equals once, a newer version replaces, and what another run has done is left alone."""

import re
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emolake.lake.connect import open_lake
from emolake.lake.registration import registered
from emolake.lake.schema import SchemaError
from emolake.schemas.records import AnalysisKey
from emolake.sql import statement
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, Piece, shard_rows, sqlite_warehouse, tiled

OTHER_MODEL = AnalysisKey("other", "e" * 32, "d" * 16)
OTHER_CONFIG = replace(KEY, config_id="b" * 16)


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory):
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("lake"))) as lake:
        yield lake


@pytest.fixture
def lake(shared_lake):
    """An empty lake."""
    return emptied(shared_lake)


def emptied(lake):
    for table in ("recordings", "analyses", "segments"):
        lake.connection.execute(f"DELETE FROM lake.{table}")
    return lake


def commit(lake, calls, *, key=KEY, run_id="run-1", force=False):
    return commit_shard(
        lake, shard_rows(calls, key=key, run_id=run_id), key=key, run_id=run_id, message="made", force=force
    )


def counts(lake) -> tuple[int, ...]:
    return tuple(
        lake.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("recordings", "analyses", "segments")
    )


CALLS = [Call("a.wav", pieces=tiled(["anger", None])), Call("b.wav", day=DAY - timedelta(days=1))]


def test_rows_stand_as_they_were_given(lake):
    committed = commit(lake, CALLS)
    assert committed.written == {call.recording_id for call in CALLS}
    assert committed.already_done == frozenset()
    assert committed.days == {DAY, DAY - timedelta(days=1)}
    assert counts(lake) == (2, 2, 3)
    assert lake.rows("SELECT segments, speech_seconds, run_id FROM analyses ORDER BY date DESC") == [
        (2, 20.0, "run-1"),
        (1, 10.0, "run-1"),
    ]


def test_twice_equals_once(lake):
    commit(lake, CALLS)
    again = commit(lake, CALLS, run_id="run-2")
    assert (again.written, again.already_done) == (frozenset(), {call.recording_id for call in CALLS})
    assert counts(lake) == (2, 2, 3)
    assert lake.rows("SELECT DISTINCT run_id FROM segments") == [("run-1",)]


def test_only_what_is_missing_is_written(lake):
    commit(lake, CALLS[:1])
    again = commit(lake, CALLS, run_id="run-2")
    assert again.written == {CALLS[1].recording_id}
    assert again.already_done == {CALLS[0].recording_id}
    assert counts(lake) == (2, 2, 3)


def test_force_replaces_what_is_done(lake):
    commit(lake, CALLS)
    again = commit(lake, CALLS, run_id="run-2", force=True)
    assert again.already_done == frozenset()
    assert counts(lake) == (2, 2, 3)
    assert lake.rows("SELECT DISTINCT run_id FROM segments") == [("run-2",)]


def test_another_configuration_replaces_the_models_rows(lake):
    commit(lake, CALLS)
    commit(lake, [replace(CALLS[0], pieces=tiled(["fear"] * 4))], key=OTHER_CONFIG)
    assert counts(lake) == (2, 2, 5)
    assert lake.rows("SELECT DISTINCT config_id FROM segments WHERE date = $day", {"day": DAY}) == [
        (OTHER_CONFIG.config_id,)
    ]


def test_another_model_stands_beside(lake):
    commit(lake, CALLS)
    commit(lake, CALLS, key=OTHER_MODEL)
    assert counts(lake) == (2, 4, 6)
    assert lake.rows("SELECT model, count(*) FROM segments GROUP BY ALL ORDER BY ALL") == [
        ("m", 3),
        ("other", 3),
    ]


def test_a_changed_object_takes_every_models_rows_with_it(lake):
    commit(lake, CALLS)
    commit(lake, CALLS, key=OTHER_MODEL)
    changed = replace(CALLS[0], version="v2", pieces=(Piece(),))
    commit(lake, [changed])
    assert lake.rows("SELECT version FROM recordings WHERE date = $day", {"day": DAY}) == [("v2",)]
    assert lake.rows("SELECT model, count(*) FROM segments WHERE date = $day GROUP BY ALL", {"day": DAY}) == [
        ("m", 1)
    ]
    assert counts(lake) == (2, 3, 3)


def test_a_recording_that_moved_to_another_day_leaves_the_first(lake):
    commit(lake, [CALLS[0]])
    committed = commit(lake, [replace(CALLS[0], day=DAY + timedelta(days=3), version="v2")])
    assert committed.days == {DAY, DAY + timedelta(days=3)}
    assert counts(lake) == (1, 1, 2)
    assert lake.rows("SELECT DISTINCT date FROM segments") == [(DAY + timedelta(days=3),)]


def test_a_recording_that_is_read_as_of_another_day_moves_although_it_is_unchanged(lake):
    """A corrected zone or pattern gives it another day; what other models said of it lies on the wrong one too."""
    other = DAY + timedelta(days=1)
    commit(lake, [CALLS[0]])
    commit(lake, [CALLS[0]], key=OTHER_MODEL)
    committed = commit(lake, [replace(CALLS[0], day=other)])
    assert (len(committed.written), committed.already_done, committed.days) == (1, frozenset(), {DAY, other})
    for table in ("recordings", "analyses", "segments"):
        assert lake.rows(f"SELECT DISTINCT date FROM {table}") == [(other,)]
    assert commit(lake, [replace(CALLS[0], day=other)]).written == frozenset()


def test_a_quarantined_recording_replaces_and_is_replaced(lake):
    bad = replace(CALLS[0], status="quarantined", error="fetch_failed: fetch: x", pieces=(), analysed=False)
    commit(lake, [bad])
    assert counts(lake) == (1, 0, 0)
    assert commit(lake, [CALLS[0]]).written == {CALLS[0].recording_id}
    assert lake.rows("SELECT status, error FROM recordings") == [("ok", None)]
    assert counts(lake) == (1, 1, 2)


def test_every_commit_takes_the_guards_of_its_days(lake):
    before = dict(lake.rows("SELECT guard, commits FROM guards"))
    commit(lake, CALLS)
    after = dict(lake.rows("SELECT guard, commits FROM guards"))
    taken = {slot for slot in after if after[slot] == before[slot] + 1}
    assert taken == {DAY.toordinal() % 16, (DAY.toordinal() - 1) % 16}


def test_rows_that_do_not_fit_write_nothing(lake):
    rows = shard_rows(CALLS)
    unknown = rows.segments.set_column(
        rows.segments.schema.get_field_index("emotion"),
        rows.segments.schema.field("emotion"),
        [pa.array(["glee"] * rows.segments.num_rows)],
    )
    before = lake.latest_snapshot()
    with pytest.raises(SchemaError, match="emotion holds glee"):
        commit_shard(lake, replace(rows, segments=unknown), key=KEY, run_id="r", message="m")
    assert counts(lake) == (0, 0, 0)
    assert lake.latest_snapshot() == before


def test_both_catalogs_commit_and_replace(warehouse):
    with open_lake(warehouse) as lake:
        commit(lake, CALLS)
        commit(lake, CALLS)
        commit(lake, [replace(CALLS[0], version="v2")], run_id="run-2")
        assert counts(lake) == (2, 2, 3)
        assert lake.rows("SELECT run_id, count(*) FROM segments GROUP BY ALL ORDER BY ALL") == [
            ("run-1", 1),
            ("run-2", 2),
        ]


def test_what_a_commit_asks_of_the_lake_does_not_grow_with_the_days_in_it(lake):
    """Of the files of twenty days it reads that of the shard's own day alone, of recordings as of analyses."""
    days = [DAY - timedelta(days=back) for back in range(20)]
    for day in days:
        commit(lake, [Call(f"{day:%Y/%m/%d}/{name}.wav", day=day) for name in "ab"])
    again = shard_rows([Call(f"{DAY:%Y/%m/%d}/{name}.wav") for name in "ab"]).recordings
    uris = again.column("uri").to_pylist()
    with registered(lake.connection, new_recordings=again):
        plan = lake.rows(
            "EXPLAIN ANALYZE " + statement("known_of_new"), {"first": min(uris), "last": max(uris)}
        )[0][1]
    assert re.findall(r"Total Files Read: (\d+)", plan) == ["1", "1"]
    assert commit(lake, [Call(f"{DAY:%Y/%m/%d}/a.wav")]).already_done == {
        Call(f"{DAY:%Y/%m/%d}/a.wav").recording_id
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            lambda prefix, text: f"{prefix * 60}{text}.wav",
            st.sampled_from(["", "a", "Ä", "Zürich "]),
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
        ),
        min_size=1, max_size=6, unique=True,
    ),
    st.data(),
)  # fmt: skip
def test_whatever_keys_are_called_a_recording_is_known_again(lake, names, data):
    """Files are passed over by the bounds of their URIs: none that holds a recording of the commit may be."""
    commit(emptied(lake), [Call(name) for name in names])
    again = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    assert commit(lake, [Call(name) for name in again]).already_done == {
        Call(name).recording_id for name in again
    }
    assert counts(lake)[0] == len(names)
