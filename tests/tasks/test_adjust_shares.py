"""Intervals of shares, and shares corrected for what the model confuses: laws of the daily table."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.models.reliability import Reliability
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.shard_rows import ShardRows
from emolake.schemas.tables import SEGMENTS
from emolake.settings import Settings
from emolake.sql import statement
from emolake.tasks.adjust_shares import record_reliability
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard
from emolake.upkeep.verify import Finding, verify_rows

from made_lake import DAY, KEY, Call, Piece, shard_rows, sqlite_warehouse, tiled

LABELS = ("anger", "happiness", "joy", "neutral")  # two of one emotion
COLUMNS = "emotion, share, share_low, share_high, share_adjusted, share_adjusted_low, share_adjusted_high"


def reliability(split: str = "speaker", labels: tuple[str, ...] = LABELS) -> Reliability:
    """A model that takes three of ten neutral clips for angry ones, and half of the joyful ones for happy ones."""
    rows = [
        [0.85, 0.05, 0.05, 0.05],
        [0.05, 0.85, 0.05, 0.05],
        [0.05, 0.4, 0.5, 0.05],
        [0.3, 0.02, 0.03, 0.65],
    ]
    counts = tuple(tuple(round(100 * each) for each in row) for row in rows)
    answers = {"group": "made", "split": split, "clips": (100,) * 4, "predicted": counts, "probability": rows}
    return Reliability.model_validate({"labels": labels, "held_out": [answers]})


def with_probabilities(rows: ShardRows) -> ShardRows:
    """Give every labelled segment probabilities of all labels, as the model is sure of its own by 0.85 or 0.5."""
    segments = rows.segments.to_pylist()
    for index, segment in enumerate(segments):
        if segment["label"] is not None:
            own = 0.5 if index % 2 else 0.85
            others = (1 - own) / (len(LABELS) - 1)
            segment["probabilities"] = [
                (each, own if each == segment["label"] else others) for each in LABELS
            ]
    return replace(rows, segments=pa.Table.from_pylist(segments, schema=SEGMENTS.schema))


def calls(number: int = 6) -> list[Call]:
    emotions = ["neutral", "neutral", "anger", "neutral", "happiness", None]
    cut = [tiled(emotions[each % 4 :] + emotions[: 1 + each % 3]) for each in range(number)]
    return [
        Call(f"{each}.wav", pieces=pieces, duration_s=10.0 * len(pieces)) for each, pieces in enumerate(cut)
    ]


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory):
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("lake"))) as lake:
        yield lake


@pytest.fixture
def lake(shared_lake):
    for table in (
        "recordings",
        "analyses",
        "segments",
        "daily_emotions",
        "aggregations",
        "model_reliability",
    ):
        shared_lake.connection.execute(f"DELETE FROM lake.{table}")
    return shared_lake


def fill(lake: Lake, made: list[Call], key: AnalysisKey = KEY) -> None:
    commit_shard(lake, with_probabilities(shard_rows(made, key=key)), key=key, run_id="run-1", message="made")


def aggregate(lake: Lake) -> list[object]:
    return list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=("site",), run_id="run-1"))


def daily(lake: Lake) -> dict[str | None, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in lake.rows(f"SELECT {COLUMNS} FROM daily_emotions")}


def test_one_recording_has_a_share_and_no_interval(lake: Lake) -> None:
    record_reliability(lake, reliability(), key=KEY, run_id="run-1")
    fill(lake, [Call("a.wav", pieces=tiled(["anger", "neutral", None]))])
    aggregate(lake)
    rows = daily(lake)
    assert rows[None] == (None,) * 6
    for emotion in ("anger", "neutral"):
        share, low, high, adjusted, adjusted_low, adjusted_high = rows[emotion]
        assert (share, low, high, adjusted_low, adjusted_high) == (0.5, None, None, None, None)
        assert adjusted is not None


@pytest.mark.parametrize("number", [2, 3, 10, 40])
def test_a_share_of_1_has_a_width(lake: Lake, number: int) -> None:
    record_reliability(lake, reliability(), key=KEY, run_id="run-1")
    fill(lake, [Call(f"{each}.wav", pieces=tiled(["anger"] * 3)) for each in range(number)])
    aggregate(lake)
    share, low, high, adjusted, adjusted_low, adjusted_high = daily(lake)["anger"]
    squared = {2: 12.706, 3: 4.3027, 10: 2.2622, 40: 2.0227}[number] ** 2 / number
    assert (share, high) == (1, 1)
    assert low == pytest.approx(1 / (1 + squared), rel=0.003)
    assert (adjusted, adjusted_high) == (1, 1)
    assert adjusted_low is not None
    assert 0 <= adjusted_low < 0.99


def test_windows_without_speech_count_for_nothing(lake: Lake) -> None:
    record_reliability(lake, reliability(), key=KEY, run_id="run-1")
    fill(
        lake, [Call(f"{each}.wav", pieces=tiled(["anger", "neutral"], speech_ratio=0.0)) for each in range(3)]
    )
    aggregate(lake)
    assert daily(lake)["anger"] == (None,) * 6


def test_adjusted_shares_add_up_and_move_against_the_confusion(lake: Lake) -> None:
    record_reliability(lake, reliability(), key=KEY, run_id="run-1")
    fill(lake, calls(30))
    aggregate(lake)
    rows = {emotion: row for emotion, row in daily(lake).items() if emotion is not None}
    assert sum(row[3] for row in rows.values()) == pytest.approx(1)
    assert rows["neutral"][3] > rows["neutral"][0]
    assert rows["anger"][3] < rows["anger"][0]
    for share, low, high, adjusted, adjusted_low, adjusted_high in rows.values():
        assert 0 <= low < share < high <= 1
        assert 0 <= adjusted_low <= adjusted <= adjusted_high <= 1
        assert adjusted_high - adjusted_low > 0


@pytest.mark.parametrize(
    "record",
    [None, reliability("corpus"), reliability(labels=("anger", "happiness", "fear", "neutral"))],
    ids=["none", "of corpora", "of other labels"],
)
def test_without_a_record_that_fits_nothing_is_adjusted(lake: Lake, record: Reliability | None) -> None:
    if record is not None:
        record_reliability(lake, record, key=KEY, run_id="run-1")
    fill(lake, calls())
    aggregate(lake)
    assert all(row[3:] == (None,) * 3 for row in daily(lake).values())
    assert daily(lake)["anger"][1] is not None


def test_a_day_of_two_versions_of_a_model_is_not_adjusted(lake: Lake) -> None:
    record_reliability(lake, reliability(), key=KEY, run_id="run-1")
    fill(lake, calls(3))
    fill(lake, [Call("other.wav")], AnalysisKey(KEY.model, "e" * 32, "d" * 16))
    aggregate(lake)
    assert all(row[3:] == (None,) * 3 for row in daily(lake).values())


def test_a_record_that_comes_later_makes_its_days_stale_once(lake: Lake) -> None:
    fill(lake, calls())
    assert aggregate(lake) == [(DAY, 4)]
    record_reliability(lake, reliability(), key=KEY, run_id="run-1")
    assert aggregate(lake) == [(DAY, 4)]
    assert daily(lake)["anger"][3] is not None
    before = lake.latest_snapshot()
    record_reliability(lake, reliability(), key=KEY, run_id="run-2")
    assert aggregate(lake) == []
    assert lake.latest_snapshot() == before
    record_reliability(lake, reliability("corpus"), key=KEY, run_id="run-3")
    assert aggregate(lake) == [(DAY, 4)]
    assert lake.rows("SELECT count(*) FROM model_reliability") == [(1,)]


def test_a_record_of_another_version_changes_nothing(lake: Lake) -> None:
    fill(lake, calls())
    aggregate(lake)
    other = AnalysisKey(KEY.model, "e" * 32, "d" * 16)
    record_reliability(lake, reliability(), key=other, run_id="run-1")
    assert aggregate(lake) == []


def test_verify_compares_each_of_them(lake: Lake) -> None:
    record_reliability(lake, reliability(), key=KEY, run_id="run-1")
    fill(lake, calls())
    aggregate(lake)

    def of_aggregates() -> list[Finding]:
        found = verify_rows(lake, Settings(), DayRange(DAY, DAY)).breaches
        return [each for each in found if each.check == "aggregates"]

    assert of_aggregates() == []
    for column in ("share_low", "share_high", "share_adjusted", "share_adjusted_low"):
        for value in ("0.0123", "NULL"):
            lake.connection.execute("BEGIN")
            lake.connection.execute(
                f"UPDATE lake.daily_emotions SET {column} = {value} WHERE emotion = 'anger'"
            )
            (breach,) = of_aggregates()
            assert "and segments gives" in breach.finding, (column, value)
            lake.connection.execute("ROLLBACK")


def test_a_day_that_an_earlier_version_aggregated_is_no_breach(lake: Lake) -> None:
    fill(lake, calls())
    aggregate(lake)
    lake.connection.execute("UPDATE lake.daily_emotions SET share_low = NULL, share_high = NULL")
    verdict = verify_rows(lake, Settings(), DayRange(DAY, DAY))
    assert [each for each in verdict.breaches if each.check == "aggregates"] == []
    (notice,) = verdict.notices
    assert f"`emolake backfill {DAY} {DAY}` aggregates it again" in notice.finding


def test_a_day_that_an_earlier_version_aggregated_gets_intervals_when_it_is_aggregated_again(
    lake: Lake,
) -> None:
    fill(lake, calls())
    aggregate(lake)
    before = lake.rows(f"SELECT {COLUMNS} FROM daily_emotions ORDER BY emotion")
    lake.connection.execute("UPDATE lake.daily_emotions SET share_low = NULL, share_high = NULL")
    ((day, _),) = aggregate_days(lake, DayRange(DAY, DAY), dimensions=("site",), run_id="run-2")
    assert day == DAY
    assert lake.rows(f"SELECT {COLUMNS} FROM daily_emotions ORDER BY emotion") == before
    assert all(low is not None for _, share, low, *_ in before if share is not None)
    assert aggregate(lake) == []


def test_a_day_that_can_have_no_interval_is_aggregated_once(lake: Lake) -> None:
    """Of its two recordings one has speech: the daily row says two recordings, and there is no interval."""
    silent = Call("b.wav", pieces=(Piece(speech_ratio=0.0, emotion="anger"),))
    fill(lake, [Call("a.wav", pieces=tiled(["anger"])), silent])
    assert len(aggregate(lake)) == 1
    assert lake.rows("SELECT recordings, share_low FROM daily_emotions") == [(2, None)]
    assert aggregate(lake) == []
    verdict = verify_rows(lake, Settings(), DayRange(DAY, DAY))
    assert [each for each in (*verdict.breaches, *verdict.notices) if each.check == "aggregates"] == []


def test_shares_of_several_days_are_not_the_mean_of_their_shares(lake: Lake) -> None:
    earlier = DAY - timedelta(days=1)
    fill(
        lake,
        [Call("a.wav", pieces=tiled(["anger"])), Call("b.wav", day=earlier, pieces=tiled(["neutral"] * 9))],
    )
    list(aggregate_days(lake, DayRange(earlier, DAY), dimensions=("site",), run_id="run-1"))
    (anger,) = lake.rows(statement("cookbook_shares_of_days"))[:1]
    assert anger[1] == "anger"
    assert anger[2] == pytest.approx(0.1)


def test_students_quantile_in_the_statement_is_within_2_thousandths() -> None:
    from scipy import stats

    freedom = np.concatenate([np.linspace(1, 10, 200), np.geomspace(10, 1e5, 100)])
    made = 1.959964 * np.exp(1.2103 / freedom + 0.7225 / freedom**2 + 0.07 / freedom**3 - 0.134 / freedom**4)
    assert np.abs(made / stats.t.ppf(0.975, freedom) - 1).max() < 2e-3
    assert "1.2103 / freedom + 0.7225 / freedom ** 2 + 0.07 / freedom ** 3 - 0.134" in statement(
        "share_bounds"
    )


@pytest.mark.parametrize(
    ("recordings", "share", "likeness"), [(2, 0.1, 0.3), (5, 0.4, 0.3), (20, 0.1, 0.9), (20, 0.4, 0.0)]
)
def test_intervals_hold_the_truth_on_19_of_20_days(recordings: int, share: float, likeness: float) -> None:
    from bench.share_intervals import coverage

    found = coverage(recordings, share, likeness, days=300, seed=3)
    assert found.covered >= 0.92  # 0.95 within two and a half standard errors of 300 days
    assert found.least_width > 0
