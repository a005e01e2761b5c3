"""A Whisper encoder that sees the clip's own frames alone: the same states in any batch, and recorded as such."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models.families.test_encoder_head import (
    LABELS,
    TOLERANCE,
    WHISPER_S,
    entry,
    load,
    logits,
    write_encoder,
    write_head,
)
from safetensors.torch import load_file
from torch.nn import functional

from emolake.errors import ConfigurationError
from emolake.models.encoders.encoder_model import SpeechEncoder
from emolake.models.families.encoder_head_network import new_network, read_encoder
from emolake.models.inference import InferenceOptions

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers")

LENGTHS = (400, 479, 480, 640, 16_000, 9_000, 33_333, 16_160, 12_000, 150_000, WHISPER_S * 16_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on a tiny random Whisper encoder, trained on the clip alone."""
    folder = tmp_path_factory.mktemp("whisper")
    write_encoder("Whisper", folder / "encoder")
    return write_head(folder, tuned=True, projector=24, context="clip")


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    made = [generator.normal(0, 0.1, length) for length in LENGTHS]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), 0.3 * np.sin(np.arange(24_080) / 9)]
    return [clip.astype(np.float32) for clip in made]


def batch(clips: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.from_numpy(clip) for clip in clips]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor([len(w) for w in waves])


def reference_states(encoder: Any, extractor: Any, clip: np.ndarray) -> torch.Tensor:
    """The first log-mel frames of the clip, of transformers' 30 s, through the encoder's parts: one clip, no mask."""
    mel = extractor(clip, sampling_rate=16_000, return_tensors="pt").input_features[:, :, : len(clip) // 160]
    states = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(mel)))).transpose(1, 2)
    states = states + encoder.embed_positions.weight[: states.shape[1]]
    for layer in encoder.layers:
        states = layer(states, None)
    last: torch.Tensor = encoder.layer_norm(states)[0]
    return last


def reference(folder: Path, clips: list[np.ndarray]) -> np.ndarray:
    saved = load_file(folder / "model.safetensors")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder / "encoder")
    encoder = transformers.AutoModel.from_pretrained(folder / "encoder").eval().encoder
    tuned = {name.removeprefix("encoder."): tensor for name, tensor in saved.items() if "encoder." in name}
    assert not encoder.load_state_dict(tuned, strict=False).unexpected_keys
    answers = []
    with torch.inference_mode():
        for clip in clips:
            vector = reference_states(encoder, extractor, clip).mean(dim=0)
            vector = saved["projector.weight"] @ vector + saved["projector.bias"]
            answers.append(saved["output.weight"] @ vector + saved["output.bias"])
    return torch.stack(answers).numpy()


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_logits_equal_the_parts_of_transformers_in_any_batch(
    folder: Path, clips: list[np.ndarray], runtime: Any
) -> None:
    model = entry(folder).load(InferenceOptions(device="cpu", runtime=runtime))
    wanted = reference(folder, clips)
    assert wanted.std(axis=0).min() > 100 * TOLERANCE
    for batch_seconds in (0.01, 25.0, 1000.0):  # each alone, some together, all together
        assert np.abs(logits(model, clips, batch_seconds) - wanted).max() < TOLERANCE, batch_seconds
    assert np.abs(logits(model, clips[::-1], 1000.0)[::-1] - wanted).max() < TOLERANCE


def test_on_as_many_frames_as_it_was_trained_on_it_is_transformers_own_encoder(folder: Path) -> None:
    encoder = transformers.AutoModel.from_pretrained(folder / "encoder").eval().encoder
    described = SpeechEncoder.read(folder / "encoder", own_frames=True)
    mel = torch.randn(2, 80, 100 * WHISPER_S)
    whole = torch.tensor([WHISPER_S * 16_000] * 2)
    with torch.inference_mode():
        states, frames = described.encode(encoder, mel, whole)
        assert (states - encoder(mel).last_hidden_state).abs().max() < 1e-6
    assert frames.tolist() == [50 * WHISPER_S] * 2


@cache
def small_encoder() -> Any:
    torch.manual_seed(5)
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=80,
        vocab_size=100, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder(config).eval()


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(400, 40_000), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_who_is_beside_a_clip_changes_no_state(lengths: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    clips = [generator.normal(0, 0.1, length).astype(np.float32) for length in lengths]
    described = SpeechEncoder(Path(), {}, transformers.WhisperFeatureExtractor(), own_frames=True)

    def states(members: list[np.ndarray]) -> list[torch.Tensor]:
        waves, counts = batch(members)
        with torch.inference_mode():
            found, frames = described.encode(small_encoder(), described.prepare(waves, counts), counts)
        return [own[:count] for own, count in zip(found, frames.tolist(), strict=True)]

    for together, clip in zip(states(clips), clips, strict=True):
        [alone] = states([clip])
        assert together.shape == alone.shape
        assert (together - alone).abs().max() < TOLERANCE


def test_the_input_is_as_long_as_the_longest_clip(clips: list[np.ndarray]) -> None:
    extractor = transformers.WhisperFeatureExtractor()
    waves, lengths = batch(clips[:6])
    own = SpeechEncoder(Path(), {}, extractor, own_frames=True).prepare(waves, lengths)
    whole = SpeechEncoder(Path(), {}, extractor).prepare(waves, lengths)
    assert (own.shape, whole.shape) == ((6, 80, 100), (6, 80, 3000))
    for mel, every, length in zip(own, whole, lengths.tolist(), strict=True):
        assert (mel[:, : length // 160] - every[:, : length // 160]).abs().max() < 1e-6
        assert not mel[:, length // 160 :].any()


def test_a_folder_from_before_the_key_is_padded_and_another_model(
    folder: Path, clips: list[np.ndarray], tmp_path: Path
) -> None:
    write_encoder("Whisper", tmp_path / "encoder")
    before = write_head(tmp_path, tuned=True, projector=24)
    assert "context" not in json.loads((before / "config.json").read_text())
    named = write_head(folder, tuned=True, projector=24, context="padded")
    assert np.abs(logits(load(before), clips[:5], 5.0) - logits(load(named), clips[:5], 5.0)).max() < 1e-6
    own = write_head(folder, tuned=True, projector=24, context="clip")
    assert np.abs(logits(load(before), clips[:5], 5.0) - logits(load(own), clips[:5], 5.0)).max() > 0.01
    fingerprint = entry(own).fingerprint
    assert fingerprint != entry(before).fingerprint


def test_a_longer_clip_than_there_are_positions_for_is_refused(folder: Path) -> None:
    model = load(folder)
    assert model.max_samples == WHISPER_S * 16_000
    with pytest.raises(ConfigurationError, match=r"14\.0 s was given to a Whisper encoder.*at most 13 s"):
        model.predict(torch.zeros(1, 224_000), torch.tensor([224_000]))


def test_an_encoder_saved_without_its_decoder_gives_the_same(tmp_path: Path) -> None:
    write_encoder("Whisper", tmp_path / "whole")
    whole = SpeechEncoder.read(tmp_path / "whole")
    encoder = whole.load()
    encoder.save_pretrained(tmp_path / "alone")
    whole.extractor.save_pretrained(tmp_path / "alone")
    alone = SpeechEncoder.read(tmp_path / "alone").load()
    assert alone.state_dict().keys() == encoder.state_dict().keys()
    assert all(torch.equal(alone.state_dict()[name], value) for name, value in encoder.state_dict().items())
    # transformers writes defaults for the decoder that is not there, which need not fit the encoder's width
    path = tmp_path / "alone" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"d_model": 32, "decoder_attention_heads": 6}))
    assert SpeechEncoder.read(tmp_path / "alone").load() is not None


def test_gradients_reach_every_layer_that_asks_for_them(folder: Path, clips: list[np.ndarray]) -> None:
    described = read_encoder(folder / "encoder", own_frames=True)
    network = new_network(described, labels=len(LABELS), projector=None).train()
    network(*batch(clips[4:7])).sum().backward()
    layers: Any = network.encoder.layers
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in layers.parameters())
