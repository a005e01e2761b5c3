"""Regression heads agree with the published layout, clip by clip, in any batch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from emolake.errors import ConfigurationError
from emolake.models.families.dimensional import Dimensional, DimensionalOptions
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.tasks.classify import Engine

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
OUTPUTS = ("arousal", "dominance", "valence")
# What the published configuration says beside the sizes.
PUBLISHED = {
    "architectures": ["Wav2Vec2ForSpeechClassification"],
    "finetuning_task": "wav2vec2_reg",
    "final_dropout": 0.1,
    "pooling_mode": "mean",
    "problem_type": "regression",
    "torch_dtype": "float32",
    "vocab_size": None,
}


class PublishedHead(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.out_proj = nn.Linear(hidden, 3)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.out_proj(torch.tanh(self.dense(pooled)))


class PublishedModel(nn.Module):
    """The layout as its model card states it: encoder, mean over all frames of one clip, head."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        config = transformers.Wav2Vec2Config(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, conv_dim=(16,) * 7,
            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, feat_extract_norm=norm,
            do_stable_layer_norm=norm == "layer", id2label=dict(enumerate(OUTPUTS)), mask_time_prob=0.05,
        )  # fmt: skip
        self.wav2vec2 = transformers.Wav2Vec2Model(config)
        self.classifier = PublishedHead(32)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.wav2vec2(wave[None]).last_hidden_state.mean(dim=1))[0]

    def write(self, folder: Path) -> None:
        """Write the files of a hub repository, weight norm under the names of the time."""
        self.wav2vec2.config.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text()) | PUBLISHED
        (folder / "config.json").write_text(json.dumps(config))
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(
            folder
        )
        renamed = {
            "parametrizations.weight.original0": "weight_g",
            "parametrizations.weight.original1": "weight_v",
        }
        tensors = {}
        for name, tensor in self.state_dict().items():
            for new, old in renamed.items():
                name = name.replace(new, old)
            tensors[name] = tensor.contiguous()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise and tones of mixed lengths, one frame, 12 s, silence, clipped, quiet, with an offset."""
    generator = np.random.default_rng(3)
    made = [generator.normal(0, 0.1, length) for length in (400, 16_000, 9_000, 33_333, 16_000, 192_000)]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), generator.normal(0, 0.002, 20_000)]
    made += [0.3 + 0.2 * np.sin(np.arange(24_000) / 9)]
    return [clip.astype(np.float32) for clip in made]


def published(norm: str) -> PublishedModel:
    torch.manual_seed(7)
    model = PublishedModel(norm).eval()
    with torch.no_grad():  # an untrained head answers the same to everything, and would hide an error
        model.classifier.dense.weight.mul_(6)
        model.classifier.out_proj.weight.mul_(6)
    return model


@pytest.fixture(scope="module", params=["layer", "group"])
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PublishedModel]:
    folder = tmp_path_factory.mktemp(str(request.param))
    model = published(str(request.param))
    model.write(folder)
    return folder, model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that may be broken."""
    published("layer").write(tmp_path)
    return tmp_path


def entry(folder: Path) -> ModelEntry:
    return ModelEntry("tiny", "dimensional", DimensionalOptions(model=str(folder)))


def load(folder: Path) -> Dimensional:
    return Dimensional.load(DimensionalOptions(model=str(folder)), device="cpu", precision="fp32")


def affect(model: Any, clips: list[np.ndarray], batch_seconds: float) -> np.ndarray:
    scores = Engine(model, int(batch_seconds * 16_000)).scores(clips)
    return np.stack([each.affect for each in scores if each.affect is not None])


def reference(model: PublishedModel, folder: Path, clips: list[np.ndarray]) -> np.ndarray:
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    with torch.inference_mode():
        waves = [extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values[0] for clip in clips]
        return torch.stack([model(wave) for wave in waves]).numpy()


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("batch_seconds", [0.01, 5.0, 1000.0], ids=["alone", "small batches", "one batch"])
def test_affect_equals_the_published_layout_in_any_batch(
    checkpoint: tuple[Path, PublishedModel], clips: list[np.ndarray], batch_seconds: float, runtime: Any
) -> None:
    folder, model = checkpoint
    wanted = reference(model, folder, clips)
    assert wanted.std(axis=0).min() > 100 * TOLERANCE
    loaded = entry(folder).load(InferenceOptions(device="cpu", runtime=runtime))
    assert np.abs(affect(loaded, clips, batch_seconds) - wanted).max() < TOLERANCE


def test_padding_a_group_norm_model_would_change_the_answer(
    checkpoint: tuple[Path, PublishedModel], clips: list[np.ndarray]
) -> None:
    folder, model = checkpoint
    loaded = load(folder)
    grouped = model.wav2vec2.config.feat_extract_norm == "group"
    assert loaded.batching is (Batching.EQUAL_LENGTH if grouped else Batching.MASKED)
    loaded.batching = Batching.MASKED
    error = np.abs(affect(loaded, clips, 1000.0) - reference(model, folder, clips)).max()
    assert (error > 10 * TOLERANCE) == grouped


def test_it_has_no_categories(folder: Path, clips: list[np.ndarray]) -> None:
    [score] = Engine(load(folder), 16_000).scores(clips[:1])
    assert entry(folder).labels == () == load(folder).labels
    assert (score.logits.shape, score.best) == ((0,), None)


def test_the_order_of_the_outputs_comes_from_the_configuration(folder: Path, clips: list[np.ndarray]) -> None:
    before = affect(load(folder), clips, 5.0)
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "Valence", "1": "arousal", "2": "dominance"}
    (folder / "config.json").write_text(json.dumps(config))
    assert np.array_equal(affect(load(folder), clips, 5.0), before[:, [1, 2, 0]])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("id2label", {"0": "arousal", "1": "dominance", "2": "power"}, "arousal, dominance, power"),
        ("id2label", {"0": "arousal", "1": "dominance"}, "names the outputs arousal, dominance in"),
        ("id2label", {"1": "arousal", "2": "dominance", "3": "valence"}, "unnamed, arousal, dominance"),
        ("id2label", None, "not at all"),
        ("model_type", "hubert", "model_type = 'hubert'.*computes 'wav2vec2'"),
        ("pooling_mode", "max", "pooling_mode = 'max'.*computes 'mean'"),
        ("add_adapter", True, "add_adapter = True"),
    ],
)
def test_another_layout_is_refused_by_name(folder: Path, key: str, value: Any, message: str) -> None:
    config = json.loads((folder / "config.json").read_text()) | {key: value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match=message):
        _ = entry(folder).labels
    with pytest.raises(ConfigurationError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("lacks", "gains", "message"),
    [
        ("classifier.dense.weight", "", r"missing_keys: classifier\.dense\.weight"),
        ("classifier.out_proj.bias", "", r"missing_keys: classifier\.out_proj\.bias"),
        ("", "classifier.extra.weight", r"unexpected_keys: classifier\.extra\.weight"),
        ("wav2vec2.encoder.layers.1.attention.k_proj.weight", "", "k_proj"),
    ],
)
def test_weights_missing_or_left_over_are_named(folder: Path, lacks: str, gains: str, message: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(lacks, None)
    if gains:
        tensors[gains] = torch.zeros(2)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=message):
        load(folder)


def test_a_head_of_another_size_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.out_proj.weight"] = torch.zeros(4, 32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=str(folder)):
        load(folder)


def test_a_truncated_file_names_the_folder(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ConfigurationError, match=str(folder)):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigurationError, match=f"{name}|safetensors"):
        load(folder)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_runs_nothing(folder: Path, tmp_path: Path) -> None:
    torch.save({"classifier.dense.weight": _Bomb(tmp_path / "executed")}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError):
        load(folder)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_changed_byte_is_another_model(folder: Path, name: str) -> None:
    before = entry(folder).fingerprint
    path = folder / name
    content = path.read_bytes()
    changed = (
        content.replace(b"0.", b"1.", 1)
        if name.endswith(".json")
        else content[:-1] + bytes([content[-1] ^ 1])
    )
    path.write_bytes(changed)
    assert changed != content
    assert entry(folder).fingerprint != before


def test_other_rates_are_refused(folder: Path) -> None:
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(folder)
    with pytest.raises(ConfigurationError, match="takes 8000 Hz"):
        load(folder)


def test_ten_milliseconds_are_below_what_it_takes(folder: Path, clips: list[np.ndarray]) -> None:
    model = load(folder)
    assert model.min_samples == 400 > 160
    assert np.isfinite(affect(model, [clips[1][:400]], 1.0)).all()
