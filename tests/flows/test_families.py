"""Every family in the nightly job, over a real S3 bucket into one lake, by naming it in the configuration."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from zoo import BUILDERS

from emolake.flows.backfill import backfill
from emolake.schemas.labels import EMOTIONS

from made_night import DAY, night_heard_by, rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[tuple[Path, list[str]]]:
    """A configuration with a model of every family, and a lake in which all have analysed the same calls."""
    folder = tmp_path_factory.mktemp("families")
    models: dict[str, dict[str, Any]] = {}
    for family, build in BUILDERS.items():
        (folder / "models" / family).mkdir(parents=True)
        try:
            models[family] = build(folder / "models" / family)
        except pytest.skip.Exception:
            continue
    with night_heard_by(models, folder) as config:
        yield config, list(models)


def test_each_model_keeps_rows_of_its_own(lake: tuple[Path, list[str]]) -> None:
    config, models = lake
    found = rows(config, "SELECT model, count(*), count(DISTINCT recording_id) FROM segments GROUP BY model")
    counts = {model: (segments, recordings) for model, segments, recordings in found}
    assert counts == dict.fromkeys(models, (3, 3))
    assert rows(config, "SELECT count(*), count(DISTINCT uri) FROM recordings") == [(3, 3)]
    assert rows(config, "SELECT count(*) FROM analyses") == [(3 * len(models),)]


def test_speech_is_answered_and_silence_is_not(lake: tuple[Path, list[str]]) -> None:
    config, _ = lake
    found = rows(
        config,
        "SELECT model, uri LIKE '%silent%', label, emotion, probabilities, affect FROM segments "
        "JOIN recordings USING (recording_id)",
    )
    for model, silent, label, emotion, probabilities, affect in found:
        if silent:
            assert (label, emotion, probabilities, affect) == (None, None, None, None)
        elif model == "dimensional":
            assert label is None
            assert set(affect) == {"arousal", "dominance", "valence"}
        else:
            assert emotion in EMOTIONS
            assert max(probabilities, key=probabilities.get) == label
            assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-3)


def test_days_are_aggregated_by_model(lake: tuple[Path, list[str]]) -> None:
    config, models = lake
    shares = dict(
        rows(config, "SELECT model, sum(share) FROM daily_emotions WHERE emotion IS NOT NULL GROUP BY model")
    )
    assert shares == {model: pytest.approx(1.0) for model in models if model != "dimensional"}
    (affect,) = rows(
        config, "SELECT affect FROM daily_emotions WHERE model = 'dimensional' AND affect IS NOT NULL"
    )
    (mean,) = rows(
        config,
        "SELECT sum(affect['valence'] * speech_ratio * (end_s - start_s)) / "
        "sum(speech_ratio * (end_s - start_s)) FROM segments WHERE model = 'dimensional' AND affect IS NOT NULL",
    )
    # The silent call weighs nothing, so both means are over the two spoken ones.
    assert affect[0]["valence"] == pytest.approx(mean[0], rel=1e-4)


def test_two_models_can_be_compared(lake: tuple[Path, list[str]]) -> None:
    config, models = lake
    with_labels = [model for model in models if model != "dimensional"]
    pairs = len(with_labels) * (len(with_labels) - 1) // 2
    assert rows(config, "SELECT count(*) FROM model_comparison") == [(2 * pairs,)], (
        "the silent call has no emotion"
    )
    both = rows(
        config,
        "SELECT recordings, segments, agree_share FROM model_agreement "
        "WHERE model_a = 'mfcc_mlp' AND model_b = 'spectrogram_cnn'",
    )
    assert both[0][:2] == (2, 2)
    assert both[0][2] in (0.0, 0.5, 1.0)


def test_transcripts_are_stored_only_when_asked_for(lake: tuple[Path, list[str]]) -> None:
    config, _ = lake
    assert rows(config, "SELECT count(transcript) FROM segments") == [(0,)]
    asked = config.with_name("transcripts.toml")
    asked.write_text(
        config.read_text("utf-8").replace("[inference]", "[inference]\nstore_transcripts = true")
    )
    backfill(first=DAY, last=DAY, config=asked, model="multimodal")
    found = rows(
        config,
        "SELECT model, probabilities IS NULL, transcript IS NULL, count(*) FROM segments "
        "WHERE model = 'multimodal' OR transcript IS NOT NULL GROUP BY ALL ORDER BY ALL",
    )
    assert found == [("multimodal", False, False, 2), ("multimodal", True, True, 1)]
    with pytest.raises(Exception, match="writes no transcripts.*multimodal"):
        backfill(first=DAY, last=DAY, config=asked, model="mfcc_mlp")


def test_every_model_has_its_health(lake: tuple[Path, list[str]]) -> None:
    config, models = lake
    judged = dict(rows(config, "SELECT model, verdict FROM model_health"))
    assert judged == {model: "too few" for model in models if model != "dimensional"}
