"""The mean-MFCC network agrees with torch's own layers on librosa's own features, in any batch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.schemas.labels import UnknownLabelError
from emolake.settings import Settings
from emolake.tasks.classify import Engine

TOLERANCE = 1e-4
LABELS = ("neutral", "joy", "anger", "sadness", "fear", "disgust", "surprise")


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise and tones of mixed lengths, the shortest, silence, clipped, quiet, 12 s."""
    generator = np.random.default_rng(3)
    made = [generator.normal(0, 0.1, length) for length in (400, 16_000, 9_001, 33_333, 192_000)]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), generator.normal(0, 0.002, 20_000)]
    made += [0.3 * np.sin(np.arange(24_000) / 10)]
    return [clip.astype(np.float32) for clip in made]


@pytest.fixture(scope="module")
def features(clips: list[np.ndarray]) -> np.ndarray:
    return np.stack([librosa.feature.mfcc(y=clip, sr=16_000, n_mfcc=40).mean(axis=1) for clip in clips])


@pytest.fixture
def model(tmp_path: Path, features: np.ndarray) -> tuple[Path, Callable[[np.ndarray], np.ndarray]]:
    """A folder with a random network, and the answer of torch's own layers to librosa's features."""
    torch.manual_seed(7)
    output = torch.nn.Linear(16, 7)
    network = torch.nn.Sequential(
        torch.nn.Linear(40, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16), torch.nn.ReLU(), output
    )
    with torch.no_grad():
        output.weight.mul_(5)  # a flat answer would hide an error
    mean, scale = features.mean(axis=0), features.std(axis=0)
    config = {
        "family": "mfcc_mlp",
        "labels": LABELS,
        "hidden": [32, 16],
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "licence": "CC0-1.0",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    dense = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    save_file(
        torch.nn.ModuleDict({"layers": torch.nn.ModuleList(dense)}).state_dict(),
        tmp_path / "model.safetensors",
    )

    def answer(vectors: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            given: np.ndarray = network(torch.tensor((vectors - mean) / scale, dtype=torch.float32)).numpy()
        return given

    return tmp_path, answer


def entry(folder: Path, **options: Any) -> ModelEntry:
    return Settings(models={"mine": {"family": "mfcc_mlp", "path": str(folder), **options}}).registry.entry(
        "mine"
    )


def load(folder: Path) -> Any:
    return entry(folder).load(InferenceOptions(device="cpu"))


def probabilities(model: Any, clips: list[np.ndarray], batch_samples: int) -> np.ndarray:
    return np.stack([scores.probabilities for scores in Engine(model, batch_samples).scores(clips)])


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("batch_samples", [1, 60_000, 10**7], ids=["alone", "small batches", "one batch"])
def test_probabilities_equal_torch_on_librosas_features(
    model: tuple[Path, Callable[..., np.ndarray]],
    clips: list[np.ndarray],
    features: np.ndarray,
    batch_samples: int,
) -> None:
    folder, answer = model
    wanted = torch.softmax(torch.tensor(answer(features)), dim=1).numpy()
    assert wanted.std(axis=0).max() > 100 * TOLERANCE
    assert np.abs(probabilities(load(folder), clips, batch_samples) - wanted).max() < TOLERANCE


def test_the_padding_is_masked(
    model: tuple[Path, Callable[..., np.ndarray]], clips: list[np.ndarray]
) -> None:
    loaded = load(model[0])
    assert loaded.batching is Batching.MASKED
    padded = torch.zeros(1, 32_000)
    padded[0, :9_001] = torch.from_numpy(clips[2])
    own = loaded.predict(padded, torch.tensor([9_001])).logits
    assert torch.equal(own, loaded.predict(padded[:, :9_001], torch.tensor([9_001])).logits)
    assert (own - loaded.predict(padded, torch.tensor([32_000])).logits).abs().max() > 1000 * TOLERANCE


def test_gelu_is_another_network(
    model: tuple[Path, Callable[..., np.ndarray]], clips: list[np.ndarray]
) -> None:
    folder, _ = model
    relu = probabilities(load(folder), clips, 1)
    before = entry(folder).fingerprint
    change_config(folder, activation="gelu")
    assert np.abs(probabilities(load(folder), clips, 1) - relu).max() > TOLERANCE
    assert entry(folder).fingerprint != before


def test_what_is_known_before_it_loads(model: tuple[Path, Callable[..., np.ndarray]]) -> None:
    known = entry(model[0])
    assert (known.labels, known.licence) == (LABELS, "CC0-1.0")
    assert load(model[0]).min_samples == 400


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"labels": ["anger", "anger"]}, "name each once"),
        ({"mean": [0.0] * 13}, "13 and 40 values, expected 40"),
        ({"scale": [0.0] * 40}, "above 0"),
        ({"hidden": [32, 8]}, r"layers\.1\.bias has the shape \(16,\), expected \(8,\)"),
        ({"hidden": [32]}, r"layers\.2\.bias is not expected"),
        ({"hidden": [32, 16, 16]}, r"layers\.3\.weight is missing"),
        ({"labels": ["anger", "joy"]}, r"layers\.2\.weight has the shape \(7, 16\), expected \(2, 16\)"),
        ({"mfcc": {"mel": {"sampling_rate": 22_050}}}, "22050, expected 16000"),
        ({"colour": "red"}, "colour"),
        ({"activation": "tanh"}, "activation"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    model: tuple[Path, Callable[..., np.ndarray]], changes: dict[str, Any], named: str
) -> None:
    change_config(model[0], **changes)
    with pytest.raises(ConfigurationError, match=named):
        load(model[0])


def test_weights_that_are_not_finite_are_refused(model: tuple[Path, Callable[..., np.ndarray]]) -> None:
    path = model[0] / "model.safetensors"
    tensors = load_file(path)
    tensors["layers.0.bias"][0] = float("nan")
    save_file(tensors, path)
    with pytest.raises(ConfigurationError, match=r"layers\.0\.bias is not finite"):
        load(model[0])


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_in_place_of_the_weights_runs_nothing(model: tuple[Path, Callable[..., np.ndarray]]) -> None:
    torch.save({"layers.0.bias": _Bomb(model[0] / "executed")}, model[0] / "model.safetensors")
    with pytest.raises(ConfigurationError, match="cannot be read as safetensors"):
        load(model[0])
    assert not (model[0] / "executed").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_or_truncated_file_is_named(
    model: tuple[Path, Callable[..., np.ndarray]], name: str
) -> None:
    path = model[0] / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ConfigurationError, match=str(path)):
        load(model[0])
    path.unlink()
    with pytest.raises(ConfigurationError, match=str(path)):
        load(model[0])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_changed_byte_is_another_model(model: tuple[Path, Callable[..., np.ndarray]], name: str) -> None:
    before = entry(model[0]).fingerprint
    path = model[0] / name
    content = path.read_bytes()
    path.write_bytes(content + b" " if name == "config.json" else content[:-1] + bytes([content[-1] ^ 1]))
    assert entry(model[0]).fingerprint != before


def test_a_label_that_the_taxonomy_lacks_stops_the_load(
    model: tuple[Path, Callable[..., np.ndarray]],
) -> None:
    change_config(model[0], labels=[*LABELS[:6], "melancholy"])
    with pytest.raises(UnknownLabelError, match="'melancholy'"):
        load(model[0])
