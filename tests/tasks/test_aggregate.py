"""The daily table: sums of the segments, every second once, and no work where nothing changed."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.lake.connect import open_lake
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, Piece, shard_rows, sqlite_warehouse, tiled

EARLIER = DAY - timedelta(days=1)


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory):
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("lake"))) as lake:
        yield lake


def emptied(lake):
    for table in ("recordings", "analyses", "segments", "daily_emotions", "aggregations"):
        lake.connection.execute(f"DELETE FROM lake.{table}")
    return lake


@pytest.fixture
def lake(shared_lake):
    """An empty lake."""
    return emptied(shared_lake)


def fill(lake, calls, key=KEY):
    commit_shard(lake, shard_rows(calls, key=key), key=key, run_id="run-1", message="made")


def aggregate(lake, *, by=("site",), first=EARLIER, last=DAY):
    return list(aggregate_days(lake, DayRange(first, last), dimensions=by, run_id="run-1"))


def daily(lake, columns="emotion, segments, speech_seconds, share"):
    return lake.rows(f"SELECT {columns} FROM daily_emotions ORDER BY ALL")


def test_shares_are_weighted_by_seconds_of_speech(lake):
    fill(lake, [Call("a.wav", pieces=(
        Piece(0, 10, 1.0, "anger", 0.9), Piece(10, 20, 0.5, "anger", 0.6, index=1),
        Piece(20, 25, 1.0, "fear", index=2), Piece(25, 30, 0.05, None, index=3),
    ))])  # fmt: skip
    assert aggregate(lake) == [(DAY, 3)]
    # A window without a label has its part of the speech in its own row, and none in the shares.
    assert daily(lake) == [
        ("anger", 2, 15.0, 0.75),
        ("fear", 1, 5.0, 0.25),
        (None, 1, pytest.approx(0.25), None),
    ]
    ((mean,),) = lake.rows("SELECT mean_probability FROM daily_emotions WHERE emotion = 'anger'")
    assert mean == pytest.approx((0.9 * 10 + 0.6 * 5) / 15, abs=1e-6)


def test_overlapping_windows_count_no_second_twice(lake):
    fill(lake, [Call("a.wav", pieces=(
        Piece(0, 10, 1.0, "anger"), Piece(5, 15, 1.0, "fear", index=1), Piece(10, 18, 1.0, "anger", index=2)
    ))])  # fmt: skip
    aggregate(lake)
    assert daily(lake) == [("anger", 2, 13.0, 13 / 18), ("fear", 1, 5.0, 5 / 18)]


def test_uncertain_seconds_are_those_of_the_labels_that_are_marked(lake):
    fill(lake, [Call("a.wav", pieces=(
        Piece(0, 10, 1.0, "anger", 0.4), Piece(5, 15, 0.5, "anger", 0.6, index=1), Piece(15, 20, 1.0, "fear", index=2),
        Piece(20, 30, 0.5, None, index=3),
    ))])  # fmt: skip
    aggregate(lake)
    expected = [("anger", 10.0, 5.0), ("fear", 5.0, 0.0), (None, 5.0, 0.0)]
    assert daily(lake, "emotion, speech_seconds, uncertain_seconds") == expected
    ((shares,),) = lake.rows("SELECT sum(share) FROM daily_emotions")
    assert shares == pytest.approx(1)  # uncertain labels count like the rest


def test_channels_do_not_overlap_one_another(lake):
    fill(
        lake, [Call("a.wav", pieces=(Piece(0, 10, emotion="anger"), Piece(0, 10, emotion="fear", channel=1)))]
    )
    aggregate(lake)
    assert daily(lake) == [("anger", 1, 10.0, 0.5), ("fear", 1, 10.0, 0.5)]


def test_models_and_dimensions_are_kept_apart(lake):
    calls = [Call("a.wav"), Call("b.wav", site="berlin"), Call("c.wav", site=None)]
    fill(lake, calls)
    fill(lake, calls[:1], AnalysisKey("other", "e" * 32, "d" * 16))
    aggregate(lake)
    assert daily(lake, "model, dimensions['site'], share, recordings") == [
        ("m", "", 1.0, 1),
        ("m", "berlin", 1.0, 1),
        ("m", "oslo", 1.0, 1),
        ("other", "oslo", 1.0, 1),
    ]


def test_without_dimensions_there_is_one_breakdown(lake):
    fill(lake, [Call("a.wav"), Call("b.wav", site="berlin")])
    aggregate(lake, by=())
    assert daily(lake, "dimensions, emotion, recordings") == [({}, "neutral", 2)]


def test_several_dimensions_combine(lake):
    fill(lake, [Call("a.wav")])
    aggregate(lake, by=("site", "agent"))
    assert daily(lake, "dimensions") == [({"site": "oslo", "agent": ""},)]


def test_what_did_not_change_costs_no_snapshot(lake):
    fill(lake, [Call("a.wav"), Call("b.wav", day=EARLIER)])
    assert [day for day, _ in aggregate(lake)] == [EARLIER, DAY]
    before = lake.latest_snapshot()
    assert aggregate(lake) == []
    assert lake.latest_snapshot() == before


def test_only_a_changed_day_is_aggregated_again(lake):
    fill(lake, [Call("a.wav"), Call("b.wav", day=EARLIER)])
    aggregate(lake)
    fill(lake, [Call("c.wav", pieces=tiled(["fear"]))])
    assert aggregate(lake) == [(DAY, 2)]
    assert daily(lake, "date, emotion, segments") == [
        (EARLIER, "neutral", 1),
        (DAY, "fear", 1),
        (DAY, "neutral", 1),
    ]


def test_other_dimensions_make_days_stale(lake):
    fill(lake, [Call("a.wav")])
    aggregate(lake, by=("site",))
    assert aggregate(lake, by=("site", "agent")) == [(DAY, 1)]


def test_days_out_of_the_range_are_left_alone(lake):
    fill(lake, [Call("a.wav"), Call("b.wav", day=EARLIER)])
    assert aggregate(lake, first=DAY) == [(DAY, 1)]


def test_a_day_of_quarantined_recordings_has_no_rows(lake):
    fill(lake, [Call("a.wav", status="quarantined", error="empty: fetch: none", pieces=())])
    assert aggregate(lake) == [(DAY, 0)]
    assert aggregate(lake) == []


def test_a_day_that_lost_its_last_recording_loses_its_rows(lake):
    fill(lake, [Call("a.wav")])
    aggregate(lake)
    fill(lake, [replace(Call("a.wav"), day=EARLIER, version="v2")])
    assert aggregate(lake) == [(EARLIER, 1), (DAY, 0)]
    assert daily(lake, "date") == [(EARLIER,)]
    assert aggregate(lake) == []


pieces = st.lists(
    st.tuples(
        st.integers(1, 200),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        st.sampled_from(["anger", "fear", "calm", None]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=5, deadline=None)
@given(recordings=st.lists(st.tuples(st.sampled_from(["oslo", "berlin"]), pieces), min_size=1, max_size=4))
def test_sums_over_the_days_rows_are_sums_over_the_segments(shared_lake, recordings):
    lake = emptied(shared_lake)
    calls = []
    for number, (site, cut) in enumerate(recordings):
        start, windows = 0.0, []
        for index, (tenths, speech, emotion) in enumerate(cut):
            windows.append(Piece(start, start + tenths / 10, speech, emotion, index=index))
            start += tenths / 10
        calls.append(Call(f"{number}.wav", site=site, pieces=tuple(windows)))
    fill(lake, calls)
    aggregate(lake)
    ((segments, seconds),) = lake.rows("SELECT count(*), sum(speech_ratio * (end_s - start_s)) FROM segments")
    ((rows, summed),) = lake.rows("SELECT sum(segments)::INTEGER, sum(speech_seconds) FROM daily_emotions")
    assert rows == segments
    assert summed == pytest.approx(seconds, abs=1e-6)
    for (total,) in lake.rows(
        "SELECT sum(share) FROM daily_emotions WHERE share IS NOT NULL GROUP BY dimensions"
    ):
        assert total == pytest.approx(1)


def test_both_catalogs_aggregate(warehouse):
    with open_lake(warehouse) as lake:
        fill(lake, [Call("a.wav", pieces=tiled(["anger", "fear", None]))])
        assert aggregate(lake) == [(DAY, 3)]
        assert aggregate(lake) == []
        assert daily(lake) == [("anger", 1, 10.0, 0.5), ("fear", 1, 10.0, 0.5), (None, 1, 10.0, None)]


@pytest.mark.parametrize("together", [2, 8])
def test_days_of_one_transaction_have_the_rows_of_one_each(lake, together):
    days = [DAY - timedelta(days=number) for number in (0, 1, 2, 5, 20)]
    for number, day in enumerate(days):
        fill(lake, [Call(f"{day}/{n}.wav", day, tiled(["anger", "fear", None][: n + 1])) for n in range(2)])
        fill(lake, [Call(f"{day}/0.wav", day)], key=replace(KEY, model=f"model {number % 2}"))

    def made(at_once: int) -> tuple[list, list, int]:
        for table in ("daily_emotions", "aggregations"):
            lake.connection.execute(f"DELETE FROM lake.{table}")
        before = lake.latest_snapshot()
        asked = DayRange(min(days), max(days))
        found = list(aggregate_days(lake, asked, dimensions=["site"], run_id="run-1", together=at_once))
        assert [day for day, _ in found] == sorted(days)
        states = lake.rows("SELECT date, ledger_state FROM aggregations ORDER BY date")
        return daily(lake, "*"), states, lake.latest_snapshot() - before

    *alone, snapshots = made(1)
    assert snapshots == 5
    *grouped, snapshots = made(together)
    assert grouped == alone
    assert snapshots == -(-5 // together)
    assert aggregate(lake, first=min(days)) == []
