"""A head on a speech encoder agrees with transformers' own encoder, averaged over the clip's frames, in any batch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emolake.errors import ConfigurationError
from emolake.models.encoders.encoder_input import mean_over_frames, whisper_frames
from emolake.models.families.encoder_head import EncoderHead
from emolake.models.families.encoder_head_network import new_network, read_encoder
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.models.trained_folder import TrainedFolder
from emolake.tasks.classify import Engine

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
WHISPER_S = 13  # 30 in every published Whisper; a shorter padding computes the same in a fifth of the time
LABELS = ("neutral", "happy", "angry", "sad", "fear", "disgust", "surprise")
ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def write_encoder(kind: str, folder: Path) -> None:
    """Write a tiny random encoder in the class that its published checkpoints were saved by."""
    torch.manual_seed(5)
    name, _, norm = kind.partition("-")
    if name == "Whisper":
        config = transformers.WhisperConfig(
            d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, decoder_layers=1,
            decoder_attention_heads=4, decoder_ffn_dim=64, vocab_size=100, pad_token_id=0, bos_token_id=1,
            eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
            max_source_positions=50 * WHISPER_S,
        )  # fmt: skip
        model = transformers.WhisperForConditionalGeneration(config)
        extractor = transformers.WhisperFeatureExtractor(chunk_length=WHISPER_S)
    else:
        config = getattr(transformers, f"{name}Config")(
            **ENCODER, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer"
        )
        saved_by = {"Wav2Vec2": "Wav2Vec2ForPreTraining", "Hubert": "HubertForCTC", "WavLM": "WavLMModel"}[
            name
        ]
        model = getattr(transformers, saved_by)(config)
        extractor = transformers.Wav2Vec2FeatureExtractor(
            do_normalize=True, return_attention_mask=norm == "layer"
        )
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)


def write_head(folder: Path, *, tuned: bool, projector: int | None = None, **config: Any) -> Path:
    """Write a head with random weights, and one encoder layer changed when `tuned`."""
    torch.manual_seed(9)
    network = new_network(
        read_encoder(folder / "encoder"), labels=len(LABELS), projector=projector,
        pooling=config.get("pooling", "mean"),
    )  # fmt: skip
    network.requires_grad_(False)
    encoder: Any = network.encoder
    layers = encoder.layers if network.config.model_type == "whisper" else encoder.encoder.layers
    with torch.no_grad():  # spread the logits, so that an error would show
        network.output.weight.mul_(20)
        if tuned:
            for each in layers[-1].parameters():
                each.requires_grad_(True).add_(0.1 * torch.randn(each.shape))
    save_file(network.tensors(), folder / "model.safetensors")
    content = {
        "family": "encoder_head",
        "encoder": "encoder",
        "labels": LABELS,
        "projector": projector,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(content))
    return folder


KINDS = ("Wav2Vec2-layer", "Wav2Vec2-group", "Hubert-layer", "WavLM-layer", "Whisper")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def encoder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with an encoder in it."""
    folder = tmp_path_factory.mktemp(kind)
    write_encoder(kind, folder / "encoder")
    return folder


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise and tones of mixed lengths, one frame, 12 s, silence, clipped, quiet, with an offset."""
    generator = np.random.default_rng(3)
    made = [generator.normal(0, 0.1, length) for length in (400, 16_000, 9_000, 33_333, 16_000, 192_000)]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), generator.normal(0, 0.002, 20_000)]
    made += [0.3 + 0.2 * np.sin(np.arange(24_000) / 9)]
    return [clip.astype(np.float32) for clip in made]


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model that may be broken."""
    write_encoder("Wav2Vec2-layer", tmp_path / "encoder")
    return write_head(tmp_path, tuned=True, projector=24)


def entry(folder: Path) -> ModelEntry:
    return ModelEntry("tiny", "encoder_head", TrainedFolder(path=folder))


def load(folder: Path) -> EncoderHead:
    return EncoderHead.load(TrainedFolder(path=folder), device="cpu", precision="fp32")


def logits(model: Any, clips: list[np.ndarray], batch_seconds: float) -> np.ndarray:
    return np.stack([each.logits for each in Engine(model, int(batch_seconds * 16_000)).scores(clips)])


def reference(folder: Path, clips: list[np.ndarray]) -> np.ndarray:
    """The head's sums by hand on transformers' own encoder, one clip at a time."""
    saved = load_file(folder / "model.safetensors")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder / "encoder")
    encoder = transformers.AutoModel.from_pretrained(folder / "encoder").eval()
    encoder = encoder.encoder if encoder.config.model_type == "whisper" else encoder
    tuned = {name.removeprefix("encoder."): tensor for name, tensor in saved.items() if "encoder." in name}
    assert not encoder.load_state_dict(tuned, strict=False).unexpected_keys
    answers = []
    for clip in clips:
        inputs = extractor(clip, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            [states] = encoder(**{encoder.main_input_name: inputs[encoder.main_input_name]}).last_hidden_state
        if encoder.config.model_type == "whisper":
            states = states[: -(-(len(clip) // 160) // 2)]
        vector = states.mean(dim=0)
        if "projector.weight" in saved:
            vector = saved["projector.weight"] @ vector + saved["projector.bias"]
        answers.append(saved["output.weight"] @ vector + saved["output.bias"])
    return torch.stack(answers).numpy()


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize(("tuned", "projector"), [(False, None), (True, 24)], ids=["frozen", "tuned"])
def test_logits_equal_transformers_encoder_in_any_batch(
    encoder: Path, clips: list[np.ndarray], tuned: bool, projector: int | None, runtime: Any
) -> None:
    written = entry(write_head(encoder, tuned=tuned, projector=projector))
    model = written.load(InferenceOptions(device="cpu", runtime=runtime))
    wanted = reference(encoder, clips)
    assert wanted.std(axis=0).min() > 100 * TOLERANCE
    for batch_seconds in (0.01, 25.0, 1000.0):  # each alone, some together, all together
        assert np.abs(logits(model, clips, batch_seconds) - wanted).max() < TOLERANCE, batch_seconds


def test_tuned_weights_replace_the_encoders(encoder: Path, clips: list[np.ndarray]) -> None:
    frozen = logits(load(write_head(encoder, tuned=False)), clips[:3], 5.0)
    tuned = logits(load(write_head(encoder, tuned=True)), clips[:3], 5.0)
    assert np.abs(frozen - tuned).max() > 100 * TOLERANCE


def test_padding_a_group_norm_encoder_would_change_the_answer(
    kind: str, encoder: Path, clips: list[np.ndarray]
) -> None:
    model = load(write_head(encoder, tuned=False))
    grouped = kind.endswith("group")
    assert model.batching is (Batching.EQUAL_LENGTH if grouped else Batching.MASKED)
    model.batching = Batching.MASKED
    mixed = clips[:5]
    assert (
        np.abs(logits(model, mixed, 1000.0) - reference(encoder, mixed)).max() > 10 * TOLERANCE
    ) == grouped


def test_the_frames_of_whispers_padding_would_change_the_answer(
    clips: list[np.ndarray], tmp_path: Path
) -> None:
    write_encoder("Whisper", tmp_path / "encoder")
    model = load(write_head(tmp_path, tuned=False))
    waves = torch.from_numpy(clips[1])[None]
    padded = torch.nn.functional.pad(waves, (0, (WHISPER_S - 1) * 16_000))
    right = model.predict(waves, torch.tensor([16_000])).logits
    over_padding = model.predict(padded, torch.tensor([WHISPER_S * 16_000])).logits
    assert (right - over_padding).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize(
    ("samples", "mel_frames", "frames"),
    [(400, 2, 1), (479, 2, 1), (480, 3, 2), (16_000, 100, 50), (16_159, 100, 50), (16_160, 101, 51),
     (480_000, 3000, 1500)],
)  # fmt: skip
def test_whispers_frames_are_half_the_mel_frames_rounded_up(
    samples: int, mel_frames: int, frames: int
) -> None:
    assert samples // 160 == mel_frames
    assert whisper_frames(torch.tensor([samples])).item() == frames == -(-mel_frames // 2)


def test_the_mean_never_sees_the_padding() -> None:
    states = torch.tensor([[[1.0], [3.0], [float("nan")]], [[2.0], [5.0], [8.0]]])
    assert mean_over_frames(states, torch.tensor([2, 3])).tolist() == [[2.0], [5.0]]


def test_the_log_mel_of_whisper_is_not_computed_in_a_trainings_lower_precision(tmp_path: Path) -> None:
    write_encoder("Whisper", tmp_path / "encoder")
    described = read_encoder(tmp_path / "encoder", own_frames=True)
    waves, lengths = torch.randn(2, 16_000), torch.tensor([16_000, 9_000])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lower = described.prepare(waves, lengths)
    assert lower.dtype == torch.float32
    assert torch.equal(lower, described.prepare(waves, lengths))


def test_whisper_takes_no_more_than_it_pads_to(tmp_path: Path) -> None:
    write_encoder("Whisper", tmp_path / "encoder")
    model = load(write_head(tmp_path, tuned=False))
    assert model.max_samples == WHISPER_S * 16_000
    with pytest.raises(ConfigurationError, match=r"14\.0 s was given to a Whisper encoder.*at most 13 s"):
        model.predict(torch.zeros(1, 224_000), torch.tensor([224_000]))


def test_gradients_reach_what_asks_for_them(model_folder: Path, clips: list[np.ndarray]) -> None:
    network = new_network(read_encoder(model_folder / "encoder"), labels=3, projector=None)
    network.encoder.requires_grad_(False)
    network(torch.from_numpy(clips[1])[None], torch.tensor([16_000])).sum().backward()
    assert network.output.weight.grad is not None
    assert network.output.weight.grad.abs().sum() > 0
    assert set(network.tensors()) == {"output.weight", "output.bias"}


def test_calibration_divides_the_logits(model_folder: Path, clips: list[np.ndarray]) -> None:
    before = logits(load(model_folder), clips[:2], 5.0)
    config = json.loads((model_folder / "config.json").read_text()) | {
        "temperature": 2.0,
        "licence": "CC0-1.0",
    }
    (model_folder / "config.json").write_text(json.dumps(config))
    assert np.allclose(logits(load(model_folder), clips[:2], 5.0), before / 2, atol=1e-6)
    assert (entry(model_folder).labels, entry(model_folder).licence) == (LABELS, "CC0-1.0")


def test_the_encoder_may_lie_elsewhere(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = (model_folder / "encoder").rename(tmp_path / "elsewhere")
    config = json.loads((model_folder / "config.json").read_text())
    (model_folder / "config.json").write_text(json.dumps(config | {"encoder": str(elsewhere)}))
    assert load(model_folder).labels == LABELS
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (model_folder / "config.json").write_text(json.dumps(config | {"encoder": "/nowhere"}))
    with pytest.raises(ConfigurationError, match="there is no folder /nowhere"):
        load(model_folder)


@pytest.mark.parametrize(
    ("lacks", "gains", "message"),
    [
        ("output.weight", "", r"output\.weight is missing"),
        ("projector.bias", "", r"projector\.bias is missing"),
        ("", "encoder.encoder.layers.9.final_layer_norm.bias", r"layers\.9.* is not expected"),
        ("output.bias", "output.bias", r"output\.bias has the shape \(2,\), expected \(7,\)"),
    ],
)
def test_weights_missing_or_left_over_are_named(
    model_folder: Path, lacks: str, gains: str, message: str
) -> None:
    tensors = load_file(model_folder / "model.safetensors")
    tensors.pop(lacks, None)
    if gains:
        tensors[gains] = torch.zeros(2)
    save_file(tensors, model_folder / "model.safetensors")
    with pytest.raises(ConfigurationError, match=message):
        load(model_folder)


def test_a_weight_that_is_not_finite_is_named(model_folder: Path) -> None:
    tensors = load_file(model_folder / "model.safetensors")
    tensors["output.bias"][3] = float("nan")
    save_file(tensors, model_folder / "model.safetensors")
    with pytest.raises(ConfigurationError, match=r"output\.bias is not finite"):
        load(model_folder)


def test_an_encoder_that_lacks_a_weight_is_refused(model_folder: Path) -> None:
    path = model_folder / "encoder" / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if "layers.0.attention.q_proj.weight" in name)
    del tensors[name]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(
        ConfigurationError, match=r"missing_keys: encoder\.layers\.0\.attention\.q_proj\.weight"
    ):
        load(model_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["happy"]}, "labels"),
        ({"pooling": "max"}, "pooling"),
        ({"colour": "red"}, "colour"),
        ({"family": "s3prl"}, "family"),
        ({"encoder": ""}, "encoder"),
    ],
)
def test_a_wrong_configuration_names_the_key(
    model_folder: Path, change: dict[str, Any], message: str
) -> None:
    path = model_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigurationError, match=rf"config\.json is not a configuration[\s\S]*{message}"):
        _ = entry(model_folder).labels


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "bert", "'bert' model; expected one of hubert, wav2vec2, wavlm, whisper"),
        ("add_adapter", True, "adapter"),
    ],
)
def test_another_encoder_is_refused(model_folder: Path, key: str, value: Any, message: str) -> None:
    path = model_folder / "encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ConfigurationError, match=message):
        load(model_folder)


def test_an_extractor_of_another_model_is_refused(tmp_path: Path) -> None:
    write_encoder("Whisper", tmp_path / "encoder")
    transformers.WhisperFeatureExtractor(chunk_length=10).save_pretrained(tmp_path / "encoder")
    with pytest.raises(ConfigurationError, match="650 positions and an extractor of 1000 frames"):
        write_head(tmp_path, tuned=False)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "encoder/config.json",
                                  "encoder/preprocessor_config.json", "encoder/model.safetensors"])  # fmt: skip
def test_missing_truncated_and_changed_files(model_folder: Path, name: str) -> None:
    path = model_folder / name
    content = path.read_bytes()
    before = entry(model_folder).fingerprint
    changed = content.replace(b" ", b"\n", 1) if name.endswith("config.json") else content[:-1] + b"~"
    path.write_bytes(changed)
    assert changed != content
    assert entry(model_folder).fingerprint != before
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigurationError, match=path.name if "encoder/m" not in name else "encoder"):
        load(model_folder)
    path.unlink()
    with pytest.raises(ConfigurationError):
        load(model_folder)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["model.safetensors", "encoder/model.safetensors"])
def test_a_pickle_runs_nothing(model_folder: Path, tmp_path: Path, name: str) -> None:
    torch.save({"output.weight": _Bomb(tmp_path / "executed")}, model_folder / name)
    with pytest.raises(ConfigurationError):
        load(model_folder)
    assert not (tmp_path / "executed").exists()


def test_the_shortest_clip_is_a_frame(model_folder: Path) -> None:
    assert load(model_folder).min_samples == 400
