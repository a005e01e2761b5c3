"""Drift: what changes is found, what only scatters is not, and each figure is that of the segments."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.drift_alarms import MANY_SMALL, Calls, simulated_month
from emolake.lake.connect import open_lake
from emolake.schemas.days import DayRange
from emolake.schemas.drift_measures import DRIFT_MEASURES
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard
from emolake.tasks.drift_options import DriftOptions
from emolake.tasks.measure_drift import (
    History,
    drift_notes,
    judged,
    measure_drift,
    measures_drifted,
    stability_index,
)

from made_lake import KEY, Call, Piece, shard_rows, sqlite_warehouse

FIRST = date(2026, 10, 1)
OPTIONS = DriftOptions()
LABELS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 1e5), min_size=1)


def figures(generator: np.random.Generator, **changed: float) -> dict[str, Any]:
    """What one day came to, looked at as a whole, each measure scattered a little."""
    usual = {
        "label_entropy": 1.2, "confidence": 0.6, "uncertain_share": 0.3, "no_speech_share": 0.2, "level_dbfs": -25.0,
        "clipped_recordings": 0.02, "bandwidth_hz": 3400.0,
    }  # fmt: skip
    row: dict[str, Any] = {name: value * (1 + 0.02 * generator.normal()) for name, value in usual.items()}
    shares = generator.dirichlet([200, 500, 300])
    row |= {"model": "m", "config_id": "c", "dimension": "", "dimension_value": "", "recordings": 100}
    row["label_seconds"] = dict(zip(("anger", "neutral", "joy"), (1e4 * shares).tolist(), strict=True))
    return row | changed


def after(
    days: int, options: DriftOptions = OPTIONS, seed: int = 0, **changed: Any
) -> dict[str, dict[str, Any]]:
    """The rows of a changed day after so many days, by measure."""
    generator, history = np.random.default_rng(seed), History()
    for number in range(days):
        judged(FIRST + timedelta(days=number), [figures(generator)], history, options)
    return {
        row["measure"]: row
        for row in judged(FIRST + timedelta(days=days), [figures(generator, **changed)], history, options)
    }


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("confidence", {"confidence": 0.45}),
    ("confidence", {"confidence": 0.8}),
    ("label_entropy", {"label_entropy": 0.7}),
    ("uncertain_share", {"uncertain_share": 0.6}),
    ("no_speech_share", {"no_speech_share": 0.5}),
    ("level_dbfs", {"level_dbfs": -36.0}),
    ("clipped_recordings", {"clipped_recordings": 0.2}),
    ("bandwidth_hz", {"bandwidth_hz": 7000.0}),
    ("population_stability", {"label_seconds": {"anger": 9e3, "neutral": 5e2, "joy": 5e2}}),
    ("population_stability", {"label_seconds": {"fear": 1e4}}),
]


@pytest.mark.parametrize(("measure", "changed"), CHANGES)
@pytest.mark.parametrize("days", [14, 28, 40])
def test_a_change_is_found_and_nothing_else_is(measure: str, changed: dict[str, Any], days: int) -> None:
    rows = after(days, **changed)
    assert {name for name, row in rows.items() if row["verdict"] == "warn"} == {measure}
    assert {row["verdict"] for name, row in rows.items() if name != measure} == {"steady"}
    assert {row["earlier_days"] for row in rows.values()} == {min(days, 28)}


@pytest.mark.parametrize(
    "changed",
    [
        {"confidence": 0.64},
        {"level_dbfs": -27.5},
        {"clipped_recordings": 0.06},
        {"bandwidth_hz": 3700.0},
        {"uncertain_share": 0.38},
        {"label_seconds": {"anger": 3e3, "neutral": 4.2e3, "joy": 2.8e3}},
        {"confidence": None},
        {"label_seconds": None},
    ],
)
def test_a_change_that_does_not_matter_is_none(changed: dict[str, Any]) -> None:
    assert {row["verdict"] for row in after(28, **changed).values()} <= {"steady", "too few"}


def test_too_little_is_not_compared() -> None:
    for rows in (after(13, confidence=0.1), after(28, confidence=0.1, recordings=19)):
        assert {row["verdict"] for row in rows.values()} == {"too few"}
        assert rows["confidence"]["value"] == 0.1
    assert (
        after(28, confidence=0.1, config_id="other")["confidence"]["verdict"] == "too few"
    )  # another configuration


def test_thresholds_warn_fail_or_neither() -> None:
    options = OPTIONS.model_copy(update={"fail": {"confidence": 0.2}, "warn": {"level_dbfs": 3.0}})
    assert after(28, options, confidence=0.45)["confidence"]["verdict"] == "steady"
    assert after(28, options, confidence=0.3)["confidence"]["verdict"] == "fail"
    assert after(28, options, level_dbfs=-40.0)["level_dbfs"]["verdict"] == "warn"


@pytest.mark.parametrize(
    "wrong",
    [{"warn": {"loudness": 1.0}}, {"fail": {"confidence": 0.0}}, {"false_alarms": 0}, {"least_days": 1}],
)
def test_options_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DriftOptions(**wrong)


def test_days_that_never_change_warn_of_the_first_that_does() -> None:
    history = History()
    same = figures(np.random.default_rng(0))
    for number in range(20):
        rows = judged(FIRST + timedelta(days=number), [dict(same)], history, OPTIONS)
        assert {row["verdict"] for row in rows} <= {"too few", "steady"}
    rows = judged(
        FIRST + timedelta(days=20), [same | {"confidence": same["confidence"] + 0.06}], history, OPTIONS
    )
    assert [row["measure"] for row in rows if row["verdict"] == "warn"] == ["confidence"]


@given(LABELS, LABELS, st.floats(0.01, 100))
def test_the_index_is_a_distance(one: dict[str, float], other: dict[str, float], factor: float) -> None:
    index = stability_index(one, other)
    assert index >= 0
    assert index == pytest.approx(stability_index(other, one), abs=1e-9)
    assert stability_index(one, {label: seconds * factor for label, seconds in one.items()}) == pytest.approx(
        0, abs=1e-9
    )


def test_what_only_scatters_hardly_ever_warns() -> None:
    """A few months of the bench, whose figure for many is in docs/watching.md."""
    nights = sum(simulated_month(np.random.default_rng(seed), Calls(), OPTIONS).nights for seed in range(3))
    assert nights <= 3


def test_a_rare_event_in_many_small_sites_hardly_ever_warns() -> None:
    assert simulated_month(np.random.default_rng(1), MANY_SMALL, OPTIONS).nights <= 1


@pytest.mark.parametrize(("clipped", "verdict"), [(1, "steady"), (3, "steady"), (8, "warn"), (22, "warn")])
def test_clipped_recordings_are_compared_as_counts(clipped: int, verdict: str) -> None:
    """One recording in fifty is clipped, in 28 days of 22: three on a day are chance, eight are not."""
    history = History()
    for number in range(28):
        row = figures(np.random.default_rng(number)) | {
            "clipped_recordings": (number % 3 == 0) / 22,
            "recordings": 22,
        }
        judged(FIRST + timedelta(days=number), [row], history, OPTIONS)
    changed = row | {"clipped_recordings": clipped / 22}
    rows = judged(FIRST + timedelta(days=28), [changed], history, OPTIONS)
    assert {each["measure"]: each["verdict"] for each in rows}["clipped_recordings"] == verdict


def test_the_notes_name_what_has_drifted_and_the_counts_do_not() -> None:
    rows = [
        {
            "date": FIRST,
            "measure": "confidence",
            "dimension": "agent",
            "dimension_value": "17",
            "model": "m",
            "value": 0.4,
            "usual": 0.6,
        }
    ] * 7
    (note,) = drift_notes(rows)
    assert note.startswith(
        "2026-10-01: drift against the days before: confidence of agent '17' by m is 0.4, usually 0.6; "
    )
    assert note.endswith("; and 2 more; see the table drift")
    assert measures_drifted(rows) == "confidence (7)"


def test_figures_are_those_of_the_segments_and_twice_equals_once(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"least_days": 3, "least_recordings": 2})
    days = [FIRST + timedelta(days=number) for number in range(5)]

    def calls(day: date, quiet: bool = False) -> list[Call]:
        pieces = (
            Piece(0, 10, 1.0, "neutral", 0.8, 0, 0),
            Piece(10, 20, 0.5, "anger", 0.4, 0, 1),
            Piece(20, 30, 0.0, None, 0, 0, 2),
        )
        silent = (Piece(0, 40, 0.0, None),)
        return [
            Call(
                f"{day}/{n}.wav",
                day=day,
                site="oslo" if n else "bonn",
                pieces=silent if quiet and n == 2 else pieces,
                version=str(quiet),
            )
            for n in range(3)
        ]

    with open_lake(sqlite_warehouse(tmp_path)) as lake:

        def commit(made: list[Call]) -> list[dict[str, Any]]:
            commit_shard(lake, shard_rows(made), key=KEY, run_id="run-1", message="made")
            list(aggregate_days(lake, DayRange(days[0], days[-1]), dimensions=["site"], run_id="run-1"))
            return measure_drift(
                lake, DayRange(days[-1], days[-1]), dimensions=["site"], options=options, run_id="run-1"
            )

        commit([call for day in days for call in calls(day)])
        rows = {
            (row[0], row[1], row[2]): row[3:]
            for row in lake.rows(
                "SELECT dimension, dimension_value, measure, value, earlier_days, recordings, verdict "
                "FROM drift WHERE date = $d",
                {"d": days[-1]},
            )
        }
        assert len(rows) == 3 * len(DRIFT_MEASURES)
        assert rows["", "", "confidence"] == (pytest.approx(0.6, abs=1e-6), 4, 3, "steady")
        assert rows["", "", "uncertain_share"][0] == 0.5
        assert rows["", "", "no_speech_share"][0] == pytest.approx(1 / 3)
        entropy = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))  # 10 s and 5 s of speech
        assert rows["site", "oslo", "label_entropy"][0] == pytest.approx(entropy)
        assert rows["site", "bonn", "confidence"][1:] == (0, 1, "too few")
        assert rows["", "", "population_stability"][0] == pytest.approx(0, abs=1e-9)
        assert rows["", "", "level_dbfs"] == (-22.0, 4, 3, "steady")
        before = lake.latest_snapshot()
        assert commit([]) == []
        assert lake.latest_snapshot() == before  # nothing to compare, nothing committed
        drifted = commit(calls(days[-1], quiet=True))
        assert {(row["dimension"], row["measure"]) for row in drifted} == {
            ("", "no_speech_share"),
            ("site", "no_speech_share"),
        }
        counted = lake.rows(
            "SELECT count(*), count(DISTINCT (date, model, dimension, dimension_value, measure)) FROM drift"
        )
        assert counted == [(5 * 3 * len(DRIFT_MEASURES),) * 2]
