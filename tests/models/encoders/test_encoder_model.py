"""A new family on a speech encoder is two short files; it is listed, diagnosed, and predicts alike on both runtimes."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import peak_family
import peak_family_network
import pytest
import torch
from models.families.test_encoder_head import write_encoder

from emolake.errors import ConfigurationError
from emolake.models import registry
from emolake.models.encoders.encoder_model import SpeechEncoder
from emolake.models.health_gate import HealthOptions
from emolake.models.inference import InferenceOptions
from emolake.models.known_families import FAMILIES
from emolake.models.protocol import Batching
from emolake.prediction.diagnosis import diagnose
from emolake.settings import Settings
from emolake.tasks.classify import Engine

TOLERANCE = 1e-4
LABELS = ("anger", "neutral", "sadness")


@pytest.fixture(params=["Wav2Vec2-layer", "Hubert-group", "Whisper"])
def entry(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> registry.ModelEntry:
    """A model of the family on a tiny random encoder, by its name in the configuration."""
    monkeypatch.setitem(FAMILIES, "peak", "peak_family:Peak")
    write_encoder(request.param, tmp_path / "encoder")
    torch.manual_seed(3)
    output = torch.nn.Linear(32, len(LABELS))
    from safetensors.torch import save_file

    save_file(
        {name: 10 * tensor for name, tensor in output.state_dict().items()}, tmp_path / "model.safetensors"
    )
    (tmp_path / "config.json").write_text(json.dumps({"family": "peak", "labels": LABELS}))
    return Settings(models={"mine": {"path": str(tmp_path)}}).registry.entry("mine")


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    lengths = (400, 16_000, 9_000, 33_333, 16_000)
    return [generator.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def logits(model: Any, clips: list[np.ndarray], batch_seconds: float) -> np.ndarray:
    return np.stack([each.logits for each in Engine(model, int(batch_seconds * 16_000)).scores(clips)])


def test_the_family_is_about_sixty_lines() -> None:
    modules = (peak_family, peak_family_network)
    lines = [line for module in modules for line in Path(str(module.__file__)).read_text().splitlines()]
    assert len([line for line in lines if line]) <= 66


def test_both_runtimes_agree_alone_and_in_any_batch(
    entry: registry.ModelEntry, clips: list[np.ndarray]
) -> None:
    alone = logits(entry.load(InferenceOptions(device="cpu", runtime="torch")), clips, 0.01)
    assert alone.std(axis=0).min() > 100 * TOLERANCE
    for runtime in ("torch", "onnx"):
        model = entry.load(InferenceOptions(device="cpu", runtime=runtime))
        for batch_seconds in (0.01, 2.0, 1000.0):
            assert np.abs(logits(model, clips, batch_seconds) - alone).max() < TOLERANCE
        assert np.abs(logits(model, clips[::-1], 1000.0)[::-1] - alone).max() < TOLERANCE


def test_a_lower_precision_goes_by_equal_lengths(
    entry: registry.ModelEntry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        try:
            model = entry.load(InferenceOptions(device="cpu", precision="bf16"))
        except ConfigurationError as error:
            pytest.skip(str(error))
    assert model.batching is Batching.EQUAL_LENGTH


def test_the_registry_describes_it(entry: registry.ModelEntry) -> None:
    assert (entry.family, entry.labels) == ("peak", LABELS)
    assert set(entry.precisions) == {"torch", "onnx"}
    before = entry.fingerprint
    weights = entry.description.files["encoder/model.safetensors"]
    weights.write_bytes(weights.read_bytes()[:-1] + b"~")
    assert registry.ModelEntry(entry.name, entry.family, entry.options).fingerprint != before


def test_it_is_diagnosed_stage_by_stage(entry: registry.ModelEntry, clips: list[np.ndarray]) -> None:
    model = entry.load(InferenceOptions(device="cpu", runtime="torch"))
    found = diagnose(model, clips[1:2], HealthOptions())
    stages = [stage.name for stage in found.stages]
    assert {"model", "model.encoder", "model.output"} <= set(stages)
    assert (found.logits.shape, found.labels, found.layer_weights) == ((1, 3), LABELS, {})
    graph = diagnose(entry.load(InferenceOptions(device="cpu", runtime="onnx")), clips[1:2], HealthOptions())
    assert graph.stages == []
    assert np.abs(graph.logits - found.logits).max() < TOLERANCE


def test_a_head_that_does_not_fit_is_refused_by_name(entry: registry.ModelEntry) -> None:
    folder = entry.folder
    assert folder is not None
    (folder / "config.json").write_text(json.dumps({"family": "peak", "labels": ["anger", "fear"]}))
    with pytest.raises(ConfigurationError, match=r"weight has the shape \(3, 32\), expected \(2, 32\)"):
        entry.load(InferenceOptions(device="cpu", runtime="torch"))


def test_an_encoder_of_another_kind_or_rate_is_refused(tmp_path: Path) -> None:
    import transformers

    write_encoder("Wav2Vec2-layer", tmp_path)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="takes 8000 Hz, expected 16000 Hz; use a 16 kHz model"):
        SpeechEncoder.read(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"model_type": "bert"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ConfigurationError, match="'bert' model; expected one of hubert, wav2vec2, wavlm, whisper"
    ):
        SpeechEncoder.read(tmp_path)
