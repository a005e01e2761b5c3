"""A whole training on made voices of two emotions, and the folder that it writes."""

import csv
import hashlib
import json
import re

import numpy as np
import pytest
import soundfile
import torch

from emolake.errors import ConfigurationError
from emolake.evaluation.markdown_report import with_interval
from emolake.models.families.spectrogram_cnn import SpectrogramCnn
from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions
from emolake.models.threads import one_thread
from emolake.models.trained_folder import TrainedFolder
from emolake.tasks.decode import load_mono
from emolake.training.augment import AugmentOptions
from emolake.training.epochs import FitPlan, keep_last, train_epochs
from emolake.training.spectrogram_store import build_store
from emolake.training.spectrogram_training import LoopOptions, SpectrogramInputs, SpectrogramTraining
from emolake.training.train import train
from emolake.training.trainers.spectrogram_trainer import MFCC, SpectrogramRecipe
from emolake.training.training_run import Checkpoint

from made_voices import utterance, write_voices

pytestmark = pytest.mark.slow

LOOP = LoopOptions(
    epochs=4,
    batch=8,
    learning_rate=5e-3,
    label_smoothing=0,
    augment=AugmentOptions(warps=(0.9, 1.0, 1.1), mixup=0, noise_chance=0, tilt_db=0),
)
TINY = SpectrogramRecipe(
    network=NetworkOptions(channels=(4, 6, 8, 8), track_channels=4, hidden=16), loop=LOOP, members=2
)


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    return write_voices(tmp_path_factory.mktemp("voices"), speakers=4, takes=4)


@pytest.fixture(scope="module")
def trained(voices, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "model"
    options = {"model": "logmel_cnn", "data": voices, "split": "speaker", "out": out, "seed": 3, "folds": 2}
    return train(
        **options, recipe=TINY.model_copy(update={"loop": LOOP.model_copy(update={"epochs": 20})}), workers=1
    )


def test_the_folder_is_whole(trained):
    names = {path.name for path in trained.folder.iterdir()}
    assert names == {
        "model.safetensors", "config.json", "README.md", "results.json", "predictions.csv", "report.md", "train.log",
        "training_audio.json", "reliability.json",
        "training_history.png", "confusion_matrix.png", "class_metrics.png",
    }  # fmt: skip
    assert trained.labels == ("anger", "sadness")


def test_it_learned_what_is_easy(trained):
    assert trained.results["clips"] == 32
    assert trained.results["uar"] > 0.9  # of speakers that are not in the training data
    assert [skip["path"] for skip in trained.results["skipped"]] == ["broken.wav"]


def test_the_written_folder_loads_and_predicts(trained, voices):
    model = SpectrogramCnn.load(TrainedFolder(path=trained.folder), device="cpu", precision="fp32")
    for name, label in (("1-angry-2.wav", "anger"), ("2-sad-0.wav", "sadness")):
        wave = torch.from_numpy(load_mono(voices.parent / name, sampling_rate=16000))
        logits = model.predict(wave[None], torch.tensor([len(wave)])).logits
        assert model.labels[int(logits.argmax())] == label


def test_results_predictions_and_card_agree(trained):
    results = json.loads((trained.folder / "results.json").read_text())
    with (trained.folder / "predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == results["clips"]
    right = sum(row["emotion"] == row["label"] for row in rows)
    assert results["accuracy"] == pytest.approx(right / len(rows))
    for row in rows:
        assert float(row["anger"]) + float(row["sadness"]) == pytest.approx(1, abs=1e-3)
        assert float(row[row["label"]]) == float(row["confidence"]) >= 0.5
    folds = {(row["speaker"], row["fold"]) for row in rows}
    assert len(folds) == 4
    confusion = np.array(results["confusion"])
    assert np.trace(confusion) == right
    assert (
        results["weights_sha256"]
        == hashlib.sha256((trained.folder / "model.safetensors").read_bytes()).hexdigest()
    )
    card = (trained.folder / "README.md").read_text()
    (corpus,) = results["per_corpus"]
    assert f"| {corpus} | 32 | 2 | 0.500 | **{with_interval(results['per_corpus'][corpus], 'uar')}**" in card
    assert results["data_sha256"] in card
    assert results["weights_sha256"] in card
    assert "broken.wav" in card
    assert str(trained.folder) not in card
    assert re.search(
        r"emolake train --model logmel_cnn --data DATA --split speaker --seed 3 --folds 2 .*--set loop.epochs=20",
        card,
    )


def weights(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_seed_fixes_the_weights_whatever_the_workers(voices, tmp_path):
    options = {
        "model": "logmel_cnn",
        "data": voices,
        "split": "speaker",
        "folds": 2,
        "recipe": TINY.model_copy(update={"members": 1}),
        "options": {"loop.epochs": 1},
    }
    alone = train(**options, out=tmp_path / "a", seed=1, workers=1)
    beside = train(**options, out=tmp_path / "b", seed=1, workers=2)
    other = train(**options, out=tmp_path / "c", seed=2, workers=1)
    assert weights(alone.folder) == weights(beside.folder) != weights(other.folder)
    assert alone.results["confusion"] == beside.results["confusion"]
    assert (tmp_path / "a/predictions.csv").read_bytes() == (tmp_path / "b/predictions.csv").read_bytes()


def test_the_loss_falls(tmp_path):
    emotions = ["angry", "sad"] * 12
    waves = [utterance(take % 4, emotion, take).astype(np.float32) for take, emotion in enumerate(emotions)]
    loop = LOOP.model_copy(update={"epochs": 12})
    sizes = [len(wave) for wave in waves]
    build_store(tmp_path, waves, FeatureOptions(), warps=loop.augment.warps, sizes=sizes)
    targets = np.array([0, 1] * 12)
    inputs = SpectrogramInputs(tmp_path, targets, tuple(emotions), 2, FeatureOptions(), TINY.network, loop)
    plan = FitPlan("small", loop.epochs, targets, targets[:0], np.ones(2), Checkpoint(tmp_path / "fit.pt"))
    with one_thread():  # so small a network only waits for other threads
        training = SpectrogramTraining(inputs, np.arange(len(waves)), seed=0)
        history = train_epochs(training, plan, policy=keep_last)
    assert [row["epoch"] for row in history] == list(range(1, 13))
    values = [row["train_loss"] for row in history]
    assert np.mean(values[-3:]) < 0.8 * np.mean(values[:2])


def test_an_mfcc_network_is_trained_by_the_same_options(voices, tmp_path):
    recipe = TINY.model_copy(update={"features": FeatureOptions(kind="mfcc", coefficients=40), "members": 1})
    trained = train(
        model="mfcc_cnn",
        data=voices,
        split="random",
        out=tmp_path,
        folds=2,
        options={"loop.epochs": 1},
        workers=1,
        recipe=recipe,
    )
    assert MFCC.recipe.features.rows == 40
    model = SpectrogramCnn.load(TrainedFolder(path=tmp_path), device="cpu", precision="fp32")
    assert model.options.features.kind == "mfcc"
    assert "split at random" in (tmp_path / "README.md").read_text()
    assert trained.results["split"] == "random"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "transformer"}, r"no model 'transformer'.*logmel_cnn, mfcc_cnn"),
        ({"split": "text"}, "no split 'text'"),
        ({"folds": 9}, "9 folds cannot be made of 4 speakers; ask for 2 to 4 folds"),
        (
            {"options": {"encoder": "x"}},
            r"logmel_cnn has no option 'encoder'; its options are features\.kind",
        ),
        ({"options": {"loop.epochs": 0}}, r"cannot be trained with these options: loop\.epochs"),
    ],
)
def test_what_cannot_be_trained_is_refused(voices, tmp_path, change, message):
    options = {"model": "logmel_cnn", "data": voices, "split": "speaker", "out": tmp_path / "out", "folds": 2}
    with pytest.raises(ConfigurationError, match=message):
        train(**options | change)
    assert not (tmp_path / "out").exists()


def test_data_without_speakers_are_refused_for_the_speaker_split(tmp_path):
    for emotion in ("anger", "fear"):
        (tmp_path / "data" / emotion).mkdir(parents=True)
        soundfile.write(tmp_path / "data" / emotion / "a.wav", np.ones(1000) * 0.1, 16000)
    with pytest.raises(ConfigurationError, match=r"has no speaker.*--split random"):
        train(model="logmel_cnn", data=tmp_path / "data", split="speaker", out=tmp_path / "out")


def test_data_of_one_emotion_are_refused(tmp_path):
    (tmp_path / "data" / "anger").mkdir(parents=True)
    for name in "ab":
        soundfile.write(tmp_path / "data" / "anger" / f"{name}.wav", np.ones(1000) * 0.1, 16000)
    with pytest.raises(ConfigurationError, match="two emotions"):
        train(model="logmel_cnn", data=tmp_path / "data", split="random", out=tmp_path / "out", folds=2)


def test_folds_and_groups_of_speakers_are_not_asked_together(voices, tmp_path):
    groups = [["speaker-0", "speaker-1"], ["speaker-2", "speaker-3"]]
    with pytest.raises(ConfigurationError, match="both 2 folds and groups of speakers"):
        train(model="mfcc_mlp", data=voices, split="speaker", out=tmp_path, folds=2, groups=groups)
