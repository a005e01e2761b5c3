"""The figures of the views are those that a slow reading of the same segments gives, whatever the lake holds."""

import math
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tools.cookbook_lake import plain_lake

from made_lake import DAY, KEY, Call, Piece, tiled
from made_views import EMOTIONS, MONDAY, emptied, fill, judge, made_calls, owned, part_within, rows, shares

# A call a day; the longest is angry, so that the interval is that of a ratio of sums.
ONE_WEEK = [
    Call(
        f"{number}.wav",
        MONDAY + timedelta(days=number),
        tiled(["anger" if number > 5 else "neutral"] * (1 + 3 * number)),
        duration_s=10.0 + 30 * number,
    )
    for number in range(7)
]


@pytest.fixture(scope="module")
def plain():
    with plain_lake() as connection:
        yield connection


@pytest.fixture
def lake(plain):
    return emptied(plain)


SETTINGS = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SETTINGS
@given(made_calls())
def test_a_call_has_the_figures_of_its_segments(lake, calls):
    fill(emptied(lake), calls)
    found = {(row["uri"], row["channel"]): row for row in rows(lake, "FROM calls")}
    assert set(found) == {(call.uri, piece.channel) for call in calls for piece in call.pieces}
    for call in calls:
        for channel in {piece.channel for piece in call.pieces}:
            row, pieces = found[call.uri, channel], owned(call, channel)
            labels = [piece.emotion for piece, _ in pieces if piece.emotion is not None]
            assert (row["segments"], row["labelled_segments"]) == (len(pieces), len(labels))
            assert row["speech_seconds"] == pytest.approx(sum(speech for _, speech in pieces))
            assert row["role"] == ["agent", "customer"][channel]
            expected = shares(pieces)
            assert row["shares"] == (None if expected is None else pytest.approx(expected))
            assert row["turning_points"] == (
                sum(one != other for one, other in pairwise(labels)) if labels else None
            )
            if expected is None:
                assert (row["dominant_emotion"], row["mixture"], row["uncertain_share"]) == (None, None, None)
                continue
            assert row["dominant_share"] == pytest.approx(max(expected.values()))
            assert expected[row["dominant_emotion"]] == pytest.approx(max(expected.values()))
            assert row["mixture"] == pytest.approx(1 - sum(share**2 for share in expected.values()))
            of_labels = [(piece, speech) for piece, speech in pieces if piece.emotion is not None]
            total = sum(speech for _, speech in of_labels)
            mean = sum(piece.confidence * speech for piece, speech in of_labels) / total
            assert row["mean_confidence"] == pytest.approx(mean)
            unsure = sum(speech for piece, speech in of_labels if piece.confidence < 0.5) / total
            assert row["uncertain_share"] == pytest.approx(unsure)
            length = call.duration_s
            first = shares(pieces, lambda piece, end=length / 4: part_within(piece, 0, end))
            last = shares(pieces, lambda piece, end=length: part_within(piece, end * 3 / 4, end))
            if len(labels) < 2 or first is None or last is None:
                assert row["change"] is None
                continue
            moved = {each: last.get(each, 0) - first.get(each, 0) for each in expected}
            assert row["change"] == pytest.approx(sum(map(abs, moved.values())) / 2)
            assert row["risen_by"] == pytest.approx(max(moved.values()), abs=1e-9)


@SETTINGS
@given(made_calls())
@example(ONE_WEEK)
def test_weeks_and_trends_add_up_what_the_daily_table_has(lake, calls):
    """And an interval over days is that of the daily table if all of it had been on one day."""
    fill(emptied(lake), calls, by=("site", "segments.role"))
    daily = rows(
        lake, "SELECT date, dimensions, emotion, speech_seconds FROM daily_emotions WHERE emotion IS NOT NULL"
    )
    weekly = rows(lake, "FROM weekly_emotions")
    sums: list[defaultdict[tuple[object, ...], float]] = [defaultdict(float) for _ in range(3)]
    seconds, totals, by_day = sums
    for row in daily:
        week = row["date"] - timedelta(days=row["date"].weekday())
        for key in ((None, None), *row["dimensions"].items()):
            seconds[week, *key, row["emotion"]] += row["speech_seconds"]
            totals[week, *key] += row["speech_seconds"]
            by_day[row["date"], *key, row["emotion"]] += row["speech_seconds"]
    for row in weekly:
        key = (row["week"], row["dimension"], row["value"])
        assert row["speech_seconds"] == pytest.approx(seconds.pop((*key, row["emotion"]), 0.0))
        expected = row["speech_seconds"] / totals[key] if totals[key] else None
        assert row["share"] == (expected if expected is None else pytest.approx(expected))
        assert (row["share_low"] is None) == (row["recordings"] < 2)
        if row["share_low"] is not None:
            assert 0 <= row["share_low"] <= row["share"] <= row["share_high"] <= 1
            assert row["share_low"] < row["share_high"], "a small group never has an interval without a width"
    assert not any(seconds.values()), "what the daily table has is in some week"
    by_week = {(each["week"], each["dimension"], each["value"], each["emotion"]): each for each in weekly}
    for row in rows(lake, "FROM trend"):
        dates = [row["date"] - timedelta(days=ago) for ago in range(row["days"])]
        summed = sum(by_day.get((day, row["dimension"], row["value"], row["emotion"]), 0.0) for day in dates)
        assert row["speech_seconds"] == pytest.approx(summed)
        if row["days"] == 7 and row["date"].weekday() == 6:
            same = by_week[row["date"] - timedelta(days=6), row["dimension"], row["value"], row["emotion"]]
            for name in ("share", "share_low", "share_high", "recordings"):
                assert row[name] == (None if same[name] is None else pytest.approx(same[name]))
        check_change(row)
    for monday in {each["week"] for each in weekly}:
        moved = [replace(call, day=monday) for call in calls if 0 <= (call.day - monday).days < 7]
        fill(emptied(lake), moved)
        for row in rows(lake, "FROM daily_emotions WHERE emotion IS NOT NULL"):
            same = by_week[monday, "site", row["dimensions"]["site"], row["emotion"]]
            for name in ("share", "share_low", "share_high", "mean_probability"):
                assert same[name] == (None if row[name] is None else pytest.approx(row[name]))


def check_change(row):
    """The difference of two shares, by Newcombe's method 10."""
    if row["share_before"] is None or row["share"] is None:
        assert row["change"] is None
        return
    assert row["change"] == pytest.approx(row["share"] - row["share_before"])
    if row["share_low"] is None or row["share_before_low"] is None:
        assert (row["change_low"], row["change_high"]) == (None, None)
        return
    below = math.hypot(row["share"] - row["share_low"], row["share_before_high"] - row["share_before"])
    above = math.hypot(row["share_high"] - row["share"], row["share_before"] - row["share_before_low"])
    assert row["change_low"] == pytest.approx(row["change"] - below)
    assert row["change_high"] == pytest.approx(row["change"] + above)


@SETTINGS
@given(made_calls())
def test_a_timeline_holds_every_segment_and_each_stretch_differs_from_the_next(lake, calls):
    fill(emptied(lake), calls)
    stretches = defaultdict(list)
    for row in rows(lake, "FROM timeline ORDER BY uri, channel, stretch"):
        stretches[row["uri"], row["channel"]].append(row)
    for call in calls:
        for channel in {piece.channel for piece in call.pieces}:
            found, pieces = stretches[call.uri, channel], owned(call, channel)
            labels = [label for row in found for label in [row["emotion"]] * row["segments"]]
            assert labels == [piece.emotion for piece, _ in pieces]
            assert all(one["emotion"] != other["emotion"] for one, other in pairwise(found))
            assert all(one["end_s"] == other["start_s"] for one, other in pairwise(found))
            assert [row["stretch"] for row in found] == [*range(1, len(found) + 1)]
            assert sum(row["speech_s"] for row in found) == pytest.approx(sum(speech for _, speech in pieces))


@SETTINGS
@given(
    st.lists(st.tuples(st.sampled_from(EMOTIONS), st.sampled_from(EMOTIONS)), min_size=1, max_size=30),
    st.sampled_from([("a", "b"), ("b", "a"), ("z", "B")]),
)
def test_two_models_agree_as_far_as_both_gave_a_label(lake, pairs, names):
    emptied(lake)
    for number, model in enumerate(names):
        call = Call("a.wav", pieces=tiled([pair[number] for pair in pairs]))
        fill(lake, [call], key=replace(KEY, model=model), run_id=f"run-{model}", again=number > 0)
    both = [pair for pair in pairs if None not in pair]
    found = rows(lake, "FROM model_agreement")
    if not both:
        assert found == []
        return
    (row,) = found
    assert (row["model_a"], row["model_b"]) == tuple(sorted(names))
    assert (row["segments"], row["recordings"]) == (len(both), 1)
    assert row["agree_share"] == pytest.approx(sum(one == other for one, other in both) / len(both))
    if len({each for pair in both for each in pair}) == 1:
        assert row["kappa"] is None, "two that always say the same cannot be told from chance"
    else:
        assert row["kappa"] == pytest.approx(cohen_kappa_score(*zip(*both, strict=True)), abs=1e-9)
    assert (row["most_confused"] is None) == all(one == other for one, other in both)


def test_what_a_flat_model_said_is_in_no_view_and_is_counted_in_coverage(lake):
    calls = [Call(f"{number}.wav", pieces=tiled(["anger", "neutral"])) for number in range(3)]
    fill(lake, calls)
    fill(lake, calls, key=replace(KEY, model="flat"), run_id="run-2", again=True)
    judge(lake, "healthy")
    judge(lake, "flat", run_id="run-2", model="flat")
    for view in ("segments_wide", "timeline", "calls", "weekly_emotions", "trend", "listen_first"):
        assert rows(lake, f"SELECT DISTINCT model FROM {view}") == [{"model": "m"}], view
    assert rows(lake, "FROM model_comparison") == rows(lake, "FROM model_agreement") == []
    assert rows(lake, "SELECT model, listed, held_back, labelled, fell_out FROM coverage ORDER BY model") == [
        {"model": "flat", "listed": 3, "held_back": 3, "labelled": 0,
         "fell_out": [f"s3://calls/{number}.wav (held back)" for number in range(3)]},
        {"model": "m", "listed": 3, "held_back": 0, "labelled": 3, "fell_out": []},
    ]  # fmt: skip


def test_each_recording_is_counted_where_it_fell_out_first(lake):
    gone = datetime(2026, 11, 22, tzinfo=UTC)
    fill(lake, [
        Call("labelled.wav"),
        Call("broke.wav", status="truncated", error="truncated: decode: it ends early"),
        Call("silent.wav", pieces=(Piece(speech_ratio=0.0, emotion=None),), status="silent"),
        Call("unsaid.wav", pieces=(Piece(emotion=None),)),
        Call("bad.wav", pieces=(), status="quarantined", error="empty: fetch: the file has no bytes", duration_s=None),
        Call("late.wav", pieces=(), analysed=False),
        Call("ruled.wav", pieces=(), status="excluded", duration_s=None),
        Call("gone.wav", deleted_at=gone),
        Call("other.wav", DAY - timedelta(days=1), pieces=(), analysed=False),
    ])  # fmt: skip
    earlier, row = rows(lake, "FROM coverage ORDER BY date")
    stages = ("excluded", "quarantined", "not_analysed", "held_back", "no_speech", "no_label", "labelled")
    assert {stage: row[stage] for stage in stages} == dict(zip(stages, (1, 1, 1, 0, 1, 1, 2), strict=True))
    assert (row["listed"], row["deleted"], row["truncated"]) == (7, 1, 1)
    assert row["labelled_share"] == pytest.approx(2 / 7)
    assert row["reasons"] == {"empty": 1, "truncated": 1}
    assert row["fell_out"] == [
        "s3://calls/bad.wav (empty: fetch: the file has no bytes)",
        "s3://calls/late.wav (not analysed)",
        "s3://calls/ruled.wav (excluded)",
    ]
    assert (earlier["model"], earlier["listed"], earlier["not_analysed"]) == (None, 1, 1)


def test_the_calls_to_listen_to_first_are_those_of_their_reason(lake):
    long, mixed = ["neutral"] * 8, ["anger", "fear", "sadness", "neutral"]
    fill(lake, [
        Call("plain.wav", pieces=tiled(long), duration_s=80),
        Call("angry.wav", pieces=tiled(["anger"] * 7 + ["neutral"]), duration_s=80),
        Call("mixed.wav", pieces=tiled(mixed + mixed[::-1]), duration_s=80),
        Call("turned.wav", pieces=tiled(["neutral"] * 4 + ["sadness"] * 4), duration_s=80),
        Call("unsure.wav", pieces=tuple(replace(piece, confidence=0.3 if piece.index == 5 else 0.4)
                                        for piece in tiled(long)), duration_s=80),
        Call("one angry window.wav", pieces=tiled(["anger"])),
        Call("gone.wav", pieces=tiled(["anger"] * 8), deleted_at=datetime(2026, 11, 22, tzinfo=UTC), duration_s=80),
    ])  # fmt: skip
    first = rows(
        lake, "SELECT reason, uri, why, listen_from_s FROM listen_first WHERE rank = 1 ORDER BY reason"
    )
    assert [
        (row["reason"], row["uri"].split("/")[-1], row["why"], row["listen_from_s"]) for row in first
    ] == [
        ("least sure", "unsure.wav", "mean probability 0.39", 50.0),
        ("most changed", "turned.wav", "sadness +100 points from the first to the last quarter", 60.0),
        ("most extreme", "angry.wav", "88 % anger", 0.0),
        ("most mixed", "mixed.wav", "4 emotions, none above 25 %", 0.0),
    ]
    assert rows(lake, "FROM listen_first WHERE uri LIKE '%gone%'") == []
    assert not rows(lake, "FROM listen_first WHERE uri LIKE '%/plain.wav' AND reason = 'most extreme'")


def test_the_time_of_a_segment_is_that_of_a_clock_on_the_wall(lake):
    fill(lake, [Call("a.wav", pieces=tiled(["anger", "fear"]), at=datetime(2026, 11, 20, 23, 59, 55))])
    times = rows(lake, "SELECT at_local FROM segments_wide ORDER BY segment_index")
    assert [row["at_local"] for row in times] == [
        datetime(2026, 11, 20, 23, 59, 55),
        datetime(2026, 11, 21, 0, 0, 5),
    ]


def test_customers_and_agents_are_apart_and_together_a_recording_counts_once(lake):
    pieces = [
        Piece(10 * index, 10 * index + 10, 1.0, emotion, 0.75, channel, index, role)
        for channel, role, emotions in (
            (0, "agent", ["neutral"] * 5), (1, "customer", ["anger"] * 2 + ["neutral"] * 3)
        )
        for index, emotion in enumerate(emotions)
    ]  # fmt: skip
    fill(
        lake, [Call(f"{n}.wav", pieces=tuple(pieces), duration_s=50) for n in range(4)], by=("segments.role",)
    )
    found = rows(
        lake, "SELECT value, share, recordings FROM weekly_emotions WHERE emotion = 'anger' ORDER BY value"
    )
    assert found == [
        {"value": "agent", "share": 0.0, "recordings": 4},
        {"value": "customer", "share": pytest.approx(0.4), "recordings": 4},
        {"value": None, "share": pytest.approx(0.2), "recordings": 4},
    ]


def test_what_the_conversation_did_is_beside_what_was_felt(lake):
    fill(lake, [Call("a.wav", talk_s=4.0), Call("b.wav")])
    found = rows(lake, "SELECT talk_s, silence_s, pauses, interruptions FROM calls ORDER BY uri")
    assert [tuple(row.values()) for row in found] == [(4.0, 6.0, 0, None), (None, None, None, None)]


def test_the_signals_of_a_day(lake):
    fill(
        lake,
        [
            Call("a.wav"),
            Call("b.wav", signal_notes=("quiet", "clipped")),
            Call("c.wav", signal_notes=("quiet",)),
        ],
    )
    (row,) = rows(lake, "FROM signal_quality")
    assert (row["recordings"], row["telephone"], row["odd"], row["notes"]) == (
        3,
        3,
        2,
        {"quiet": 2, "clipped": 1},
    )
    assert row["examples"] == ["s3://calls/b.wav", "s3://calls/c.wav"]
