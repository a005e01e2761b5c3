"""Every name trains end to end on tiny random encoders, twice alike, and its folder predicts as the training did."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.registry import ModelEntry
from emolake.models.threads import one_thread
from emolake.settings import Settings
from emolake.tasks.classify import Engine
from emolake.tasks.decode import load_mono
from emolake.training.train import train
from emolake.training.trainer import find_trainer, with_options
from emolake.training.trainer_names import TRAINERS

from made_trainings import CASES, run, write_encoders
from made_voices import write_voices

pytestmark = pytest.mark.slow

SLOW = ("classical", "multimodal")  # whose features are computed once for all trainings here


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voices(tmp_path_factory.mktemp("voices"), speakers=5, takes=2)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features that the trainings here share."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(autouse=True)
def alone() -> Any:
    """So small networks only wait for other threads."""
    with one_thread():
        yield


def entry(folder: Path) -> ModelEntry:
    return Settings(models={"mine": {"path": str(folder)}}).registry.entry("mine")


def test_every_name_is_tried_here():
    assert {model for model, _ in CASES.values()} == set(TRAINERS)


@pytest.mark.parametrize("case", CASES)
def test_it_trains_twice_alike_and_the_folder_predicts_as_the_training_did(
    case: str, voices: Path, encoders: Path, cache: Path, tmp_path: Path
) -> None:
    kept = {"cache": cache} if CASES[case][0] in SLOW else {}
    trained = run(case, voices, encoders, tmp_path / "a", **kept)
    if case in TRAINERS:
        again = run(case, voices, encoders, tmp_path / "b", **kept)
        assert trained.results["weights_sha256"] == again.results["weights_sha256"]
        assert (tmp_path / "a/predictions.csv").read_bytes() == (tmp_path / "b/predictions.csv").read_bytes()
    assert [skip["path"] for skip in trained.results["skipped"]] == ["broken.wav"]
    assert trained.results["temperature"] != 1
    assert not (tmp_path / "a/checkpoints").exists()
    assert "broken.wav" in (tmp_path / "a/train.log").read_text()

    model = entry(tmp_path / "a").load(InferenceOptions(device="cpu"))
    assert model.labels == trained.labels == ("anger", "sadness")
    with (tmp_path / "a/predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 4  # one speaker's
    waves = [load_mono(voices.parent / row["path"], sampling_rate=16_000) for row in rows]
    loaded = np.stack([scores.probabilities for scores in Engine(model, 10 * 16_000).scores(waves)])
    written = np.array([[float(row[label]) for label in model.labels] for row in rows])
    # Matrices of the CNNs are stored in float16, and the table has six digits.
    assert np.abs(loaded - written).max() < (2e-3 if "cnn" in case else 1e-5)
    config = json.loads((tmp_path / "a/config.json").read_text())
    assert config["training"]["data_sha256"] == trained.results["data_sha256"]
    assert len(config["training"]["speakers"]) == 4  # of five; the fifth was the test
    assert entry(tmp_path / "a").licence == config["licence"] == "that of the training data"


def test_a_frozen_encoder_runs_once_for_each_clip(voices, encoders, tmp_path):
    run("wav2vec2_frozen", voices, encoders, tmp_path / "a", cache=tmp_path, folds=2)
    entries = list(tmp_path.glob("??/*.npy"))
    assert 50 < len(entries) <= 20 * 3  # clips, each as it is and changed twice; a few changes are none
    before = {path: path.stat().st_ino for path in entries}
    run("wav2vec2_frozen", voices, encoders, tmp_path / "b", cache=tmp_path, folds=2)
    assert {path: path.stat().st_ino for path in tmp_path.glob("??/*.npy")} == before


def test_only_what_was_unfrozen_is_trained_and_saved(voices, encoders, tmp_path):
    from safetensors.torch import load_file

    run("wav2vec2_finetune", voices, encoders, tmp_path / "one")
    names = {name for name in load_file(tmp_path / "one/model.safetensors") if name.startswith("encoder.")}
    assert {".".join(name.split(".")[:4]) for name in names} == {
        "encoder.encoder.layers.1", "encoder.encoder.layer_norm.weight", "encoder.encoder.layer_norm.bias",
    }  # fmt: skip
    run("all layers, checkpointing, bf16", voices, encoders, tmp_path / "all")
    trained = {
        n: v for n, v in load_file(tmp_path / "all/model.safetensors").items() if n.startswith("encoder.")
    }
    assert not [name for name in trained if name.startswith("encoder.feature_extractor.")]
    assert any(name.startswith("encoder.encoder.layers.0.") for name in trained)
    original = load_file(encoders / "Wav2Vec2-layer/model.safetensors")
    first = "encoder.layers.0.attention.k_proj.weight"
    assert not torch.equal(trained[f"encoder.{first}"], original[f"wav2vec2.{first}"])


def test_the_default_recipes_are_those_for_large_encoders():
    recipe = find_trainer("wav2vec2_finetune").recipe
    assert (recipe.loop.learning_rate, recipe.loop.batch, recipe.loop.accumulate) == (3e-5, 4, 4)
    assert (recipe.loop.epochs, recipe.loop.warm_up_steps, recipe.unfreeze_layers) == (5, 1000, 4)
    assert find_trainer("wav2vec2_finetune").default_folds == find_trainer("hf_finetune").default_folds == 1
    assert find_trainer("logmel_cnn").default_folds == 4


@pytest.mark.parametrize(
    ("case", "options", "message"),
    [
        ("wav2vec2_finetune", {"unfreeze_layers": 3}, "unfreeze_layers is 3, and the encoder has 2"),
        ("wav2vec2_finetune", {"encoder": "no/such/folder"}, "no/such/folder"),
        ("wav2vec2_finetune", {"loop.precision": "fp16"}, "precision fp16 was asked on the CPU"),
        ("whisper_head", {"unfreeze_layers": -1}, "cannot be trained with these options"),
        ("s3prl_head", {"encoder": "Whisper"}, "is a 'whisper' model"),
    ],
)
def test_what_an_encoder_cannot_do_is_refused(
    case, options, message, voices, encoders, tmp_path, monkeypatch
):
    monkeypatch.setitem(CASES, case, (CASES[case][0], CASES[case][1] | options))
    with pytest.raises(ConfigurationError, match=message):
        run(case, voices, encoders, tmp_path / "out")


def test_long_clips_are_cut_and_short_ones_named(voices, encoders, tmp_path):
    model, options = CASES["mfcc_mlp"]
    cut = train(
        model=model, data=voices, split="speaker", out=tmp_path / "a", folds=1, seed=1, device="cpu",
        options=options | {"max_duration_s": 0.3},
    )  # fmt: skip
    whole = run("mfcc_mlp", voices, encoders, tmp_path / "b")
    assert cut.results["data_sha256"] != whole.results["data_sha256"]
    with pytest.raises(ConfigurationError, match="are too short"):
        train(
            model=model, data=voices, split="speaker", out=tmp_path / "c", folds=1, device="cpu",
            options=options | {"max_duration_s": 0.02, "augment.chance": 0}, seed=1,
        )  # fmt: skip


def test_egemaps_say_what_they_need_and_leave_short_clips_out(voices, tmp_path):
    pytest.importorskip("opensmile", reason='pip install "emolake[opensmile]"')
    (tmp_path / "data").mkdir()
    import shutil

    import soundfile

    for path in voices.parent.iterdir():
        shutil.copy(path, tmp_path / "data" / path.name)
    soundfile.write(tmp_path / "data/0-sad-0.wav", np.zeros(4000), 16_000)
    trained = train(
        model="classical", data=tmp_path / "data/list.csv", split="speaker", out=tmp_path / "out", folds=2,
        options={"features": {"kind": "egemaps"}}, device="cpu",
    )  # fmt: skip
    reasons = {skip["path"]: skip["reason"] for skip in trained.results["skipped"]}
    assert "it has 4000 samples, expected 8000 or more" in reasons["0-sad-0.wav"]


def test_options_are_named_by_dots():
    trainer = find_trainer("wav2vec2_finetune")
    changed = with_options(
        "wav2vec2_finetune", trainer.recipe, {"loop.schedule": "plateau", "projector": None}
    )
    assert (changed.loop.schedule, changed.projector, changed.loop.batch) == ("plateau", None, 4)
    with pytest.raises(ConfigurationError, match="has no option 'loop.epoch'"):
        with_options("wav2vec2_finetune", trainer.recipe, {"loop.epoch": 3})


@pytest.mark.parametrize("case", ["whisper_finetune", "mean and deviation, frozen, portable"])
def test_a_portable_folder_needs_no_other_file(case: str, voices: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    encoders = write_encoders(tmp_path / "encoders")
    run(case, voices, encoders, tmp_path / "out")
    clip = load_mono(next(path for path in sorted(voices.parent.rglob("*.wav")) if "broken" not in path.name))
    before = Engine(entry(tmp_path / "out").load(InferenceOptions(device="cpu")), 16_000).scores([clip])
    shutil.rmtree(tmp_path / "encoders")
    moved = (tmp_path / "out").rename(tmp_path / "elsewhere")
    after = Engine(entry(moved).load(InferenceOptions(device="cpu")), 16_000).scores([clip])
    assert after[0].logits.tolist() == before[0].logits.tolist()
    encoder = load_file(moved / "encoder/model.safetensors")
    assert {tensor.dtype for tensor in encoder.values()} == {torch.float16}
    assert not any(".layers.1." in name for name in encoder)  # the second of two was dropped
    assert str(tmp_path) not in (moved / "encoder/config.json").read_text()


def test_folds_side_by_side_give_the_weights_of_one_after_the_other(
    voices: Path, encoders: Path, tmp_path: Path
) -> None:
    one = run("whisper_finetune", voices, encoders, tmp_path / "one", folds=2, workers=1)
    two = run("whisper_finetune", voices, encoders, tmp_path / "two", folds=2, workers=2)
    assert one.results["weights_sha256"] == two.results["weights_sha256"]
    assert (tmp_path / "one/predictions.csv").read_bytes() == (tmp_path / "two/predictions.csv").read_bytes()
