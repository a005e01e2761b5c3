"""Networks that are tuned from one beginning, and the mean of their weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import JsonValue

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import load_clips, read_dataset
from emolake.models.threads import one_thread
from emolake.training.folds import Fold
from emolake.training.trainer import Corpus, with_options
from emolake.training.trainers.encoder_trainer import WHISPER_FINETUNE
from emolake.training.training_run import TrainingRun

from made_trainings import write_encoders
from made_voices import write_voices

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    voices = write_voices(tmp_path_factory.mktemp("voices"), speakers=3, takes=1)
    clips, waves, _ = load_clips(read_dataset(voices), sampling_rate=16_000)
    labels = tuple(sorted({clip.emotion for clip in clips}))
    return Corpus(clips, waves, np.array([labels.index(clip.emotion) for clip in clips]), labels)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoders(tmp_path_factory.mktemp("encoders")) / "Whisper"


def test_the_weights_are_the_mean_of_those_of_each_network_by_itself(
    corpus: Corpus, encoder: Path, tmp_path: Path
) -> None:
    """From a regression the beginning is the fold's alone, so each network can be tuned by itself by its number."""
    changed: dict[str, JsonValue] = {
        "encoder": str(encoder), "layers": 1, "regression": {}, "portable": False, "loop.epochs": 1,
        "loop.batch": 4, "loop.learning_rate": 1e-3,
    }  # fmt: skip

    def tuned(name: str, *, number: int, networks: int) -> tuple[dict[str, torch.Tensor], np.ndarray]:
        recipe = with_options(name, WHISPER_FINETUNE.recipe, {**changed, "networks": networks})
        everything = np.arange(len(corpus.clips))
        fold = Fold(0, "one", everything[3:], everything[:0], everything[:3])
        run = TrainingRun(tmp_path / f"{name}-{number}", seed=3, workers=1)
        run.checkpoints.mkdir(parents=True)
        with one_thread():
            (result,) = WHISPER_FINETUNE.fit(recipe, corpus, [replace(fold, number=number)], run)
        return result.state, result.logits

    both, logits = tuned("both", number=0, networks=2)
    first, own_logits = tuned("alone", number=0, networks=1)
    second, _ = tuned("alone", number=1, networks=1)
    assert any((first[name] - second[name]).abs().max() > 1e-4 for name in first)
    assert both.keys() == first.keys()
    for name, tensor in both.items():
        assert torch.allclose(tensor, (first[name].double() + second[name].double()).float() / 2, atol=1e-7)
    assert logits.shape == own_logits.shape
    assert np.abs(logits - own_logits).max() > 1e-4


def test_several_on_a_frozen_encoder_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="networks is 2, and those on a frozen encoder are alike"):
        with_options("whisper_finetune", WHISPER_FINETUNE.recipe, {"networks": 2, "unfreeze_layers": 0})
