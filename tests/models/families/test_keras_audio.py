"""Keras files agree with Keras' own predict on librosa's own features, in any batch, and run no code of theirs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from emolake.errors import ConfigurationError
from emolake.models.families import keras_file
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.settings import Settings
from emolake.tasks.classify import Engine

pytestmark = pytest.mark.slow

# Keras itself is imported by the family alone, which sets its backend; h5py comes with it.
h5py = pytest.importorskip("h5py", reason='pip install "emolake[keras]"')

TOLERANCE = 1e-4
LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_file.import_keras()


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise and tones of mixed lengths, the shortest, silence, clipped, quiet, 12 s."""
    generator = np.random.default_rng(3)
    made = [generator.normal(0, 0.1, length) for length in (400, 16_000, 9_001, 33_333, 192_000)]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), generator.normal(0, 0.002, 20_000)]
    made += [0.3 * np.sin(np.arange(24_000) / 10)]
    return [clip.astype(np.float32) for clip in made]


def convolutional(keras: Any, activation: str = "softmax") -> Any:
    """The network that most public notebooks train on mean MFCC."""
    layers = keras.layers
    keras.utils.set_random_seed(5)
    network = keras.Sequential(
        [
            layers.Input((40, 1)),
            layers.Conv1D(8, 5, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling1D(2),
            layers.Dropout(0.2),
            layers.LSTM(6),
            layers.Dense(7, activation=activation, kernel_regularizer=keras.regularizers.L2(1e-3)),
        ]
    )
    network.layers[-1].kernel.assign(4 * network.layers[-1].kernel)  # a flat answer would hide an error
    network.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    # One step of training: optimizer and metrics are stored beside the network.
    generator = np.random.default_rng(0)
    targets = np.eye(7, dtype=np.float32)
    network.fit(generator.normal(0, 10, (7, 40, 1)).astype(np.float32), targets, verbose=0)
    return network


@pytest.fixture(scope="module")
def network(keras: Any) -> Any:
    return convolutional(keras)


@pytest.fixture(params=[".keras", ".h5"])
def path(request: pytest.FixtureRequest, network: Any, tmp_path: Path) -> Path:
    network.save(tmp_path / f"network{request.param}")
    return tmp_path / f"network{request.param}"


def entry(path: Path, **options: Any) -> ModelEntry:
    keys = {"family": "keras", "path": str(path), "labels": LABELS, **options}
    return Settings(models={"mine": keys}).registry.entry("mine")


def load(path: Path, **options: Any) -> Any:
    return entry(path, **options).load(InferenceOptions(device="cpu"))


def probabilities(model: Any, clips: list[np.ndarray], batch_samples: int) -> np.ndarray:
    return np.stack([scores.probabilities for scores in Engine(model, batch_samples).scores(clips)])


def mean_mfcc(clip: np.ndarray, rate: int = 22_050, axis: int = 1) -> np.ndarray:
    resampled = librosa.resample(clip, orig_sr=16_000, target_sr=rate)
    mean: np.ndarray = librosa.feature.mfcc(y=resampled, sr=rate, n_mfcc=40).mean(axis=axis)
    return mean


@pytest.mark.parametrize("batch_samples", [1, 60_000, 10**7], ids=["alone", "small batches", "one batch"])
def test_probabilities_equal_keras_on_librosas_features(
    network: Any, path: Path, clips: list[np.ndarray], batch_samples: int
) -> None:
    wanted = network.predict(np.stack([mean_mfcc(clip) for clip in clips])[:, :, None], verbose=0)
    assert wanted.std(axis=0).max() > 100 * TOLERANCE
    model = load(path)
    assert (model.batching, model.min_samples) == (Batching.MASKED, 400)
    assert np.abs(probabilities(model, clips, batch_samples) - wanted).max() < TOLERANCE


def test_the_padding_is_masked(path: Path, clips: list[np.ndarray]) -> None:
    model = load(path)
    padded = torch.zeros(1, 32_000)
    padded[0, :9_001] = torch.from_numpy(clips[2])
    own = model.predict(padded, torch.tensor([9_001])).logits
    assert (own - model.predict(padded[:, :9_001], torch.tensor([9_001])).logits).abs().max() < TOLERANCE
    assert (own - model.predict(padded, torch.tensor([32_000])).logits).abs().max() > 100 * TOLERANCE


def test_excerpt_scaler_and_logits(keras: Any, tmp_path: Path, clips: list[np.ndarray]) -> None:
    network = convolutional(keras, activation="linear")
    network.save(tmp_path / "network.keras")
    long = [clip for clip in clips if len(clip) >= 8_400]
    vectors = np.stack([mean_mfcc(clip[8_000 : 8_000 + 40_000], rate=44_100) for clip in long])
    mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
    wanted = network.predict(((vectors - mean) / scale)[:, :, None], verbose=0)
    options = {
        "feature_mean": mean.tolist(),
        "feature_scale": scale.tolist(),
        "offset_s": 0.5,
        "duration_s": 2.5,
    }
    model = load(tmp_path / "network.keras", output="logits", sampling_rate=44_100, **options)
    found = Engine(model, 10**7).scores(clips)
    assert [scores.labelled for scores in found] == [len(clip) >= 8_400 for clip in clips]
    assert np.abs(np.stack([scores.logits for scores in found if scores.labelled]) - wanted).max() < TOLERANCE


@pytest.mark.parametrize("expand", ["none", "first"])
def test_mean_over_coefficients_is_cut_or_filled(
    keras: Any, tmp_path: Path, clips: list[np.ndarray], expand: str
) -> None:
    keras.utils.set_random_seed(5)
    shape = {"none": (90,), "first": (1, 90)}[expand]
    network = keras.Sequential(
        [keras.layers.Input(shape), keras.layers.Flatten(), keras.layers.Dense(7, activation="softmax")]
    )
    network.save(tmp_path / "network.keras")
    frames = [mean_mfcc(clip, axis=0)[:90] for clip in clips]
    vectors = np.stack([np.pad(each, (0, 90 - len(each))) for each in frames])
    wanted = network.predict(vectors.reshape(-1, *shape), verbose=0)
    model = load(tmp_path / "network.keras", mean_over="coefficients", expand=expand)
    assert np.abs(probabilities(model, clips, 10**7) - wanted).max() < TOLERANCE
    assert np.abs(probabilities(model, clips, 1) - wanted).max() < TOLERANCE


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"output": "logits"}, 'set output = "probabilities"'),
        ({"labels": LABELS[:6]}, "labels names 6"),
        ({"coefficients": 13}, "takes 40 numbers; set coefficients"),
        ({"expand": "first"}, "set expand"),
        ({"feature_mean": [0.0] * 13, "feature_scale": [1.0] * 13}, "takes 40 numbers"),
    ],
)
def test_options_that_do_not_fit_the_network_are_refused(
    path: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load(path, **options)


def test_logits_declared_as_probabilities_are_refused(keras: Any, tmp_path: Path) -> None:
    convolutional(keras, activation="linear").save(tmp_path / "network.keras")
    with pytest.raises(ConfigurationError, match='set output = "logits"'):
        load(tmp_path / "network.keras")


@pytest.mark.parametrize(
    "options",
    [
        {"labels": []},
        {"labels": ["sad", "sad"]},
        {"feature_mean": [0.0]},
        {"coefficients": 200},
        {"colour": "red"},
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"\[models\.mine\] is wrong"):
        entry(tmp_path / "network.keras", **options)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_runs_nothing(keras: Any, tmp_path: Path, suffix: str) -> None:
    witness = tmp_path / "executed"

    def payload(values: Any, witness: str = str(witness)) -> Any:
        Path(witness).touch()
        return values

    layers = keras.layers
    network = keras.Sequential(
        [layers.Input((40, 1)), layers.Flatten(), layers.Dense(7, activation="softmax")]
    )
    network.add(layers.Lambda(payload, output_shape=(7,)))
    network.save(tmp_path / f"bomb{suffix}")
    witness.unlink(missing_ok=True)  # building it ran it
    with pytest.raises(ConfigurationError, match="Lambda, which runs code"):
        load(tmp_path / f"bomb{suffix}")
    assert not witness.exists()


def rewritten(path: Path, old: str, new: str) -> Path:
    """Replace text in the configuration within a file."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = file.attrs["model_config"].replace(old, new)
        return path
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = parts["config.json"].decode().replace(old, new).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('keras.initializers", "class_name": "Zeros"', 'os", "class_name": "system"', r"os\.system"),
        ('"stateful": false', '"stateful": true', "stateful layer"),
        ('"class_name": "MaxPooling1D"', '"class_name": "NoSuchLayer"', "cannot be loaded by Keras"),
    ],
)
def test_a_foreign_module_or_layer_is_refused_by_name(path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load(rewritten(path, old, new))


def test_weights_missing_or_left_over_are_refused(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "network.h5"
    network.save(path)
    with h5py.File(path, "r+") as file:
        file["model_weights/stray"] = np.zeros(3)
    with pytest.raises(ConfigurationError, match="holds 12 arrays of weights, and its network has 11"):
        load(path)
    with h5py.File(path, "r+") as file:
        del file["model_weights/stray"], file[f"model_weights/{network.layers[-1].name}"]
    with pytest.raises(ConfigurationError, match=str(path)):
        load(path)


@pytest.mark.parametrize(
    "content", [None, b"", b"junk" * 100, "half"], ids=["missing", "empty", "junk", "truncated"]
)
def test_a_broken_file_is_named(path: Path, content: bytes | str | None) -> None:
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError, match=str(path)):
        load(path)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.pb").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"no \.keras and no \.h5 file"):
        load(tmp_path / "network.pb")


def test_a_changed_byte_or_option_is_another_model(path: Path) -> None:
    before = entry(path).fingerprint
    assert entry(path, hop=256).fingerprint != before
    assert entry(path, licence="CC0-1.0").fingerprint == before
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert entry(path).fingerprint != before


def test_keras_leaves_environment_and_home_alone(tmp_path: Path) -> None:
    code = (
        "import os, sys; from emolake.models.families.keras_file import import_keras; "
        "print(import_keras().backend.backend(), os.environ.get('KERAS_BACKEND'), 'tensorflow' in sys.modules)"
    )
    environment = os.environ | {"HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["torch", "tensorflow", "False"]
    assert not (tmp_path / ".keras").exists()


def test_without_keras_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_hooks", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(ConfigurationError, match=r'pip install "emolake\[keras\]"'):
        load(path)


def test_a_file_rewritten_as_it_was_loads(path: Path) -> None:
    """`rewritten` without a change leaves a file that loads: what the tests above refuse is their change."""
    assert load(rewritten(path, "no such text", "")).labels == LABELS
