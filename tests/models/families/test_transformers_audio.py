"""Checkpoints of transformers agree with transformers' own answer, clip by clip, in any batch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.settings import Settings
from emolake.tasks.classify import classify
from emolake.tasks.segment import Segment

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
LABELS = ("neutral", "joy", "anger", "sadness")
NAMED = {
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: index for index, label in enumerate(LABELS)},
}
ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 24,
}


def _encoder(name: str, norm: str) -> tuple[Any, Any]:
    config = getattr(transformers, f"{name}Config")(
        **ENCODER, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", **NAMED
    )
    model = getattr(transformers, f"{name}ForSequenceClassification")(config)
    return model, transformers.Wav2Vec2FeatureExtractor(
        do_normalize=True, return_attention_mask=norm == "layer"
    )


def _whisper() -> tuple[Any, Any]:
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=64, decoder_layers=1,
        decoder_attention_heads=4, decoder_ffn_dim=64, classifier_proj_size=24, vocab_size=100, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
        **NAMED,
    )  # fmt: skip
    return transformers.WhisperForAudioClassification(config), transformers.WhisperFeatureExtractor()


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "wav2vec2-layer": lambda: _encoder("Wav2Vec2", "layer"),
    "wav2vec2-group": lambda: _encoder("Wav2Vec2", "group"),
    "hubert-layer": lambda: _encoder("Hubert", "layer"),
    "hubert-group": lambda: _encoder("Hubert", "group"),
    "wavlm-layer": lambda: _encoder("WavLM", "layer"),
    "whisper": _whisper,
}


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise and tones of mixed lengths, one frame, silence, clipped, quiet, with an offset."""
    generator = np.random.default_rng(3)
    made = [generator.normal(0, 0.1, length) for length in (400, 16_000, 9_000, 33_333, 16_000)]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), generator.normal(0, 0.002, 20_000)]
    made += [0.3 + generator.normal(0, 0.05, 24_000)]
    return [clip.astype(np.float32) for clip in made]


@pytest.fixture(scope="module", params=KINDS)
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any, Any]:
    """A folder with a tiny random checkpoint, the model that wrote it and its extractor."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp(str(request.param))
    model, extractor = KINDS[str(request.param)]()
    # Random heads answer the same to everything: spread the logits, so that an error would show.
    with torch.no_grad():
        model.classifier.weight.mul_(50)
    model.eval().save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder, model, extractor


def entry(folder: Path, **options: Any) -> ModelEntry:
    return Settings(
        models={"tiny": {"family": "transformers", "model": str(folder), **options}}
    ).registry.entry("tiny")


def logits(model: Any, clips: list[np.ndarray], batch_seconds: float) -> np.ndarray:
    segments = [((), Segment(0, 0, 0, len(clip), 0.0, len(clip) / 16_000, clip, 1.0)) for clip in clips]
    scored = classify(segments, model, batch_seconds=batch_seconds)
    return np.stack([scores.logits for _, _, scores in scored if scores is not None])


def reference(model: Any, extractor: Any, clips: list[np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        answers = [
            model(**extractor(clip, sampling_rate=16_000, return_tensors="pt")).logits[0] for clip in clips
        ]
    return torch.stack(answers).numpy()


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("batch_seconds", [0.01, 5.0, 1000.0], ids=["alone", "small batches", "one batch"])
def test_logits_equal_transformers_in_any_batch(
    checkpoint: tuple[Path, Any, Any], clips: list[np.ndarray], batch_seconds: float, runtime: Any
) -> None:
    folder, model, extractor = checkpoint
    loaded = entry(folder).load(InferenceOptions(device="cpu", runtime=runtime))
    wanted = reference(model, extractor, clips)
    assert wanted.std() > 10 * TOLERANCE
    assert np.abs(logits(loaded, clips, batch_seconds) - wanted).max() < TOLERANCE


def test_padding_a_group_norm_model_would_change_the_answer(
    checkpoint: tuple[Path, Any, Any], clips: list[np.ndarray]
) -> None:
    folder, model, extractor = checkpoint
    loaded = entry(folder).load(InferenceOptions(device="cpu"))
    if loaded.batching is not Batching.EQUAL_LENGTH:
        pytest.skip("only group-normalised encoders may not be padded")
    loaded.batching = Batching.MASKED
    assert np.abs(logits(loaded, clips, 1000.0) - reference(model, extractor, clips)).max() > 10 * TOLERANCE


def test_labels_are_the_checkpoints_own(checkpoint: tuple[Path, Any, Any]) -> None:
    assert entry(checkpoint[0]).labels == LABELS


@pytest.fixture
def hubert(tmp_path: Path) -> Path:
    model, extractor = KINDS["hubert-layer"]()
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    return tmp_path


def test_a_checkpoint_without_a_head_is_refused(hubert: Path) -> None:
    transformers.HubertModel(transformers.HubertConfig(**ENCODER, **NAMED)).save_pretrained(hubert)
    with pytest.raises(ConfigurationError, match=r"missing_keys: classifier\.bias, classifier\.weight"):
        entry(hubert).load(InferenceOptions(device="cpu"))


def test_made_up_label_names_are_refused(hubert: Path) -> None:
    config = json.loads((hubert / "config.json").read_text())
    config["id2label"] = {str(index): f"LABEL_{index}" for index in range(4)}
    (hubert / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="does not name its labels.*set labels"):
        _ = entry(hubert).labels
    assert entry(hubert, labels=["neu", "hap", "ang", "sad"]).labels == ("neu", "hap", "ang", "sad")
    with pytest.raises(ConfigurationError, match="4 outputs, and labels names 2"):
        _ = entry(hubert, labels=["neu", "hap"]).labels


def test_older_checkpoints_load_as_tensors_only(hubert: Path, clips: list[np.ndarray]) -> None:
    before = logits(entry(hubert).load(InferenceOptions(device="cpu")), clips, 5.0)
    torch.save(load_file(hubert / "model.safetensors"), hubert / "pytorch_model.bin")
    (hubert / "model.safetensors").unlink()
    assert np.array_equal(logits(entry(hubert).load(InferenceOptions(device="cpu")), clips, 5.0), before)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_runs_code_runs_nothing(hubert: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    executed = tmp_path_factory.mktemp("bomb") / "executed"
    torch.save({"classifier.bias": _Bomb(executed)}, hubert / "pytorch_model.bin")
    (hubert / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=str(hubert)):
        entry(hubert).load(InferenceOptions(device="cpu"))
    assert not executed.exists()


def test_a_checkpoint_without_weights_is_refused(hubert: Path) -> None:
    (hubert / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        entry(hubert).load(InferenceOptions(device="cpu"))


def test_code_of_a_checkpoint_is_not_run(hubert: Path) -> None:
    config = json.loads((hubert / "config.json").read_text())
    config |= {"model_type": "surprise", "auto_map": {"AutoModelForAudioClassification": "code.Model"}}
    (hubert / "config.json").write_text(json.dumps(config))
    (hubert / "code.py").write_text("raise SystemExit('the code of a checkpoint was run')")
    with pytest.raises(ConfigurationError, match="'surprise' model; expected one of"):
        entry(hubert).load(InferenceOptions(device="cpu"))


def test_a_truncated_checkpoint_names_the_folder(hubert: Path) -> None:
    weights = hubert / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match=str(hubert)):
        entry(hubert).load(InferenceOptions(device="cpu"))
