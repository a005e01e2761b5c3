"""What `emolake train` has just written, of every name, in the nightly job over a real S3 bucket into one lake."""

from pathlib import Path

import pytest

from emolake.models.threads import one_thread
from emolake.training.trainer_names import TRAINERS

from made_night import night_heard_by, rows
from made_trainings import run, write_encoders
from made_voices import write_voices


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> dict[str, dict[str, str]]:
    """A folder of every name, fresh from its training."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "voices").mkdir()
    voices = write_voices(folder / "voices", speakers=3, takes=2)
    encoders = write_encoders(folder / "encoders")
    with one_thread():
        return {name: {"path": str(run(name, voices, encoders, folder / name).folder)} for name in TRAINERS}


def test_every_trained_folder_answers_the_night(models: dict[str, dict[str, str]], tmp_path: Path) -> None:
    with night_heard_by(models, tmp_path) as config:
        found = rows(
            config,
            "SELECT model, uri LIKE '%silent%' AS silent, label, emotion, probabilities FROM segments "
            "JOIN recordings USING (recording_id)",
        )
        assert sorted((model, silent) for model, silent, *_ in found) == sorted(
            (model, silent) for model in models for silent in (False, False, True)
        )
        for _, silent, label, emotion, probabilities in found:
            if silent:
                assert (label, emotion, probabilities) == (None, None, None)
            else:
                assert label == emotion == max(probabilities, key=probabilities.get)
                assert set(probabilities) == {"anger", "sadness"}
                assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-3)
        ledger = rows(
            config, "SELECT model, count(*), count(DISTINCT model_fingerprint) FROM analyses GROUP BY model"
        )
        assert sorted(ledger) == sorted((model, 3, 1) for model in models)
