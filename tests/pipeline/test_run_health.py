"""The health gate: a flat model does not publish, and what it said stays out of the aggregates until it is repaired."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.models.families.spectrogram_cnn import SpectrogramCnn
from emolake.models.health_gate import HealthOptions, judge
from emolake.models.trained_folder import TrainedFolder
from emolake.pipeline.publication import publish
from emolake.pipeline.run_health import record_run_health
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.runs import Run
from emolake.prediction.diagnosis import diagnose
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.shard_rows import ShardRows
from emolake.schemas.tables import SEGMENTS
from emolake.settings import Settings
from emolake.tasks.aggregate import HeldBack, aggregate_days, held_back
from emolake.tasks.commit import commit_shard
from emolake.upkeep.verify import verify_rows

from made_lake import DAY, KEY, Call, Piece, shard_rows, sqlite_warehouse
from made_model import write_tiny_model

TRIAL = AnalysisKey("trial", "e" * 32, "d" * 16)
OPTIONS = HealthOptions(min_logit_range=0.5, min_segments=10)


def shard(
    run_id: str,
    *,
    logit_range: float,
    labels: str = "neutral",
    day: date = DAY,
    version: str = "v1",
    key: AnalysisKey = KEY,
) -> ShardRows:
    """Twelve windows of one call whose logits have one range, with labels in turn."""
    named = labels.split()
    pieces = tuple(
        Piece(start_s=10.0 * n, end_s=10.0 * n + 10, index=n, emotion=named[n % len(named)])
        for n in range(12)
    )
    call = Call(f"{day}.wav", day=day, pieces=pieces, version=version, duration_s=120.0)
    rows = shard_rows([call], key=key, run_id=run_id)
    column = SEGMENTS.schema.get_field_index("logit_range")
    ranges = pa.array([logit_range] * 12, pa.float32())
    return replace(rows, segments=rows.segments.set_column(column, SEGMENTS.schema.field(column), ranges))


def night(lake: Lake, rows: ShardRows, run_id: str, day: date = DAY) -> str:
    """Commit, judge and aggregate as a run does; return the verdict."""
    commit_shard(lake, rows, key=KEY, run_id=run_id, message="test")
    health = record_run_health(lake, DayRange(day, day), run_id=run_id, key=KEY, options=OPTIONS)
    list(aggregate_days(lake, DayRange(day, day), dimensions=["site"], run_id=run_id))
    return health.verdict


def published(lake: Lake, day: date = DAY) -> list[tuple[object, ...]]:
    return lake.rows(
        "SELECT emotion, segments FROM daily_emotions WHERE date = $day ORDER BY ALL", {"day": day}
    )


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with open_lake(sqlite_warehouse(tmp_path)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("segments", "logit_range", "verdict"),
    [
        (9, 0.1, "too few"),
        (10, 0.49, "flat"),
        (10, 0.5, "healthy"),
        (1000, 8.0, "healthy"),
        (0, None, "too few"),
    ],
)
def test_the_floor_decides(segments: int, logit_range: float | None, verdict: str) -> None:
    assert judge(segments, logit_range, OPTIONS).verdict == verdict


def test_a_healthy_model_publishes(lake: Lake) -> None:
    assert night(lake, shard("run-1", logit_range=8.0), "run-1") == "healthy"
    assert published(lake) == [("neutral", 12)]


def test_a_flat_model_leaves_the_good_aggregates_alone(lake: Lake) -> None:
    night(lake, shard("run-1", logit_range=8.0), "run-1")
    assert night(lake, shard("run-2", logit_range=0.2, labels="anger", version="v2"), "run-2") == "flat"
    assert published(lake) == [("neutral", 12)]
    assert held_back(lake, DayRange(DAY, DAY)) == [HeldBack(DAY, KEY.model)]


def test_the_next_run_does_not_publish_it_either(lake: Lake) -> None:
    night(lake, shard("run-1", logit_range=0.2), "run-1")
    assert list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="run-2")) == []
    assert published(lake) == []


def test_a_mended_model_publishes_again(lake: Lake) -> None:
    night(lake, shard("run-1", logit_range=0.2), "run-1")
    assert night(lake, shard("run-2", logit_range=8.0, labels="sadness", version="v2"), "run-2") == "healthy"
    assert published(lake) == [("sadness", 12)]
    assert held_back(lake, DayRange(DAY, DAY)) == []


def trial(lake: Lake, *, logit_range: float, run_id: str, version: str = "v1") -> None:
    """What a backfill with another model leaves."""
    rows = shard(run_id, logit_range=logit_range, labels="anger", version=version, key=TRIAL)
    commit_shard(lake, rows, key=TRIAL, run_id=run_id, message="test")
    record_run_health(lake, DayRange(DAY, DAY), run_id=run_id, key=TRIAL, options=OPTIONS)
    list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id=run_id))


def by_model(lake: Lake) -> list[tuple[object, ...]]:
    return lake.rows("SELECT model, emotion, segments, recordings FROM daily_emotions ORDER BY ALL")


GOOD, BAD = (KEY.model, "neutral", 12, 1), (TRIAL.model, "anger", 12, 1)


@pytest.mark.parametrize("first", ["trial", "good"])
def test_one_trial_of_a_flat_model_does_not_hold_another_back(lake: Lake, first: str) -> None:
    if first == "good":
        night(lake, shard("run-1", logit_range=8.0), "run-1")
    trial(lake, logit_range=0.2, run_id="trial-1")
    if first == "trial":
        night(lake, shard("run-1", logit_range=8.0), "run-1")
    assert by_model(lake) == [GOOD]
    assert held_back(lake, DayRange(DAY, DAY)) == [HeldBack(DAY, TRIAL.model)]
    before = lake.latest_snapshot()
    assert list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="run-2")) == []
    assert lake.latest_snapshot() == before
    # More of the good model is aggregated too, and the trial is not.
    more = shard_rows([Call("more.wav", pieces=(Piece(emotion="neutral"),))], run_id="run-3")
    commit_shard(lake, more, key=KEY, run_id="run-3", message="test")
    assert list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="run-3")) == [(DAY, 1)]
    assert by_model(lake) == [(KEY.model, "neutral", 13, 2)]


def test_a_model_that_became_flat_keeps_its_older_aggregates_beside_the_others_new_ones(lake: Lake) -> None:
    trial(lake, logit_range=8.0, run_id="trial-1")
    night(lake, shard("run-1", logit_range=8.0), "run-1")
    assert by_model(lake) == [GOOD, BAD]
    rows = shard("trial-2", logit_range=0.2, labels="fear", key=TRIAL)
    commit_shard(lake, rows, key=TRIAL, run_id="trial-2", message="test", force=True)
    record_run_health(lake, DayRange(DAY, DAY), run_id="trial-2", key=TRIAL, options=OPTIONS)
    list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="trial-2"))
    assert by_model(lake) == [GOOD, BAD]
    assert verify_rows(lake, Settings(), DayRange(DAY, DAY)).breaches == []
    trial(lake, logit_range=8.0, run_id="trial-3", version="v2")
    assert (TRIAL.model, "anger", 12, 1) in by_model(lake)
    assert held_back(lake, DayRange(DAY, DAY)) == []


def test_a_held_back_model_whose_rows_have_left_the_day_leaves_its_aggregates_too(lake: Lake) -> None:
    trial(lake, logit_range=8.0, run_id="trial-1")
    rows = shard("trial-2", logit_range=0.2, labels="fear", key=TRIAL)
    commit_shard(lake, rows, key=TRIAL, run_id="trial-2", message="test", force=True)
    record_run_health(lake, DayRange(DAY, DAY), run_id="trial-2", key=TRIAL, options=OPTIONS)
    list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="trial-2"))
    assert by_model(lake) == [BAD]
    # The object has changed: the other model's run drops what the trial said of the older version.
    night(lake, shard("run-1", logit_range=8.0, version="v2"), "run-1")
    assert by_model(lake) == [GOOD]
    assert verify_rows(lake, Settings(), DayRange(DAY, DAY)).breaches == []


def test_a_run_fails_by_its_own_flat_model_and_not_by_another(
    lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial(lake, logit_range=0.2, run_id="trial-1")
    night(lake, shard("run-1", logit_range=8.0), "run-1")
    log = logging.getLogger("emolake.test")
    entry = {"path": str(write_tiny_model(tmp_path / "tiny"))}

    def knows(model: str) -> Settings:
        return Settings.model_validate({"health": OPTIONS, "models": {model: entry}})

    nightly = Run(RunRequest("nightly", (DAY,)), KEY, knows(KEY.model))  # which lacks the trial's entry
    backfill = Run(RunRequest("backfill", (DAY,)), TRIAL, knows(TRIAL.model))
    with caplog.at_level(logging.WARNING, logger=log.name):
        assert list(publish(nightly, lake, log, lambda: None)) == []
    assert f"`emolake forget --model {TRIAL.model}`" in caplog.text
    (said,) = publish(backfill, lake, log, lambda: None)
    assert said.startswith(f"not aggregated: {DAY} of the model {TRIAL.model}")


def test_days_of_a_lake_before_the_gate_was_per_model_are_not_stale(lake: Lake) -> None:
    """The state of a day that no model is held back on is what it was: an upgrade rebuilds nothing."""
    night(lake, shard("run-1", logit_range=8.0), "run-1")
    ((state,),) = lake.rows(
        "SELECT concat_ws(' ', count(*), bit_xor(hash(recording_id, model, version, config_id, committed_at)), 'site') "
        "FROM analyses"
    )
    assert lake.rows("SELECT ledger_state FROM aggregations") == [(state,)]


def test_other_days_are_published(lake: Lake) -> None:
    other = DAY - timedelta(days=1)
    night(lake, shard("run-1", logit_range=0.2), "run-1")
    night(lake, shard("run-2", logit_range=8.0, day=other), "run-2", day=other)
    assert published(lake, other) == [("neutral", 12)]
    assert published(lake) == []


def test_figures_of_the_labels(lake: Lake) -> None:
    earlier = DAY - timedelta(days=5)
    night(lake, shard("run-1", logit_range=8.0, labels="neutral", day=earlier), "run-1", day=earlier)
    night(lake, shard("run-2", logit_range=4.0, labels="neutral neutral anger"), "run-2")
    (row,) = lake.rows(
        "SELECT segments, logit_range_mean, logit_range_sd, label_entropy, commonest_label, commonest_share, drift "
        "FROM model_health WHERE run_id = 'run-2'"
    )
    entropy = -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert row[:3] == (12, 4.0, 0.0)
    assert row[3] == pytest.approx(entropy)
    assert row[4:] == ("neutral", pytest.approx(2 / 3), pytest.approx(1 / 3))
    ((first,),) = lake.rows("SELECT drift FROM model_health WHERE run_id = 'run-1'")
    assert first is None, "nothing came before it"


def test_diagnose_shows_stages_logits_and_the_verdict(tmp_path: Path) -> None:
    model = SpectrogramCnn.load(
        TrainedFolder(path=write_tiny_model(tmp_path)), device="cpu", precision="fp32"
    )
    waves = [np.random.default_rng(n).normal(0, 0.1, 16_000).astype(np.float32) for n in range(3)]
    found = diagnose(model, waves, HealthOptions())
    assert found.logits.shape == (3, len(model.labels))
    names = [stage.name for stage in found.stages]
    assert any(name.startswith("network0") for name in names)
    assert all(np.isfinite(stage.rms) and stage.peak >= stage.rms for stage in found.stages)
    spread = float(np.mean(found.logits.max(axis=1) - found.logits.min(axis=1)))
    assert found.health == judge(3, spread, HealthOptions(min_segments=1))
