"""Silero's network through onnxruntime: equal to its streaming form, and blind to how audio is pushed."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from emolake.audio.voice_activity import _CHUNKS_PER_CALL, CHUNK, SpeechDetector, model_path
from emolake.audio.voice_activity_graph import matrix_form
from emolake.errors import ConfigurationError
from emolake.tasks.decode import load_mono


@pytest.fixture(scope="module")
def detector():
    return SpeechDetector()


@pytest.fixture(scope="module")
def speech(shared_data):
    clips = sorted(Path(shared_data).rglob("*.flac"))[:8]
    return np.concatenate([load_mono(clip) for clip in clips])


def voiced(seconds, seed=0):
    """A made voice: harmonics under a slow envelope, in noise; enough to move the network off zero."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    tone = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 12))
    envelope = np.clip(np.sin(2 * np.pi * 3 * time), 0, None)
    return (0.2 * tone * envelope + 0.005 * rng.standard_normal(len(time))).astype(np.float32)


def streaming_probabilities(samples):
    """The reference: Silero's streaming file, chunk after chunk with its context and state."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model_path().with_name("silero_vad.onnx"), options, providers=["CPUExecutionProvider"]
    )
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
    found = []
    for start in range(0, len(samples), CHUNK):
        chunk = np.pad(samples[start : start + CHUNK], (0, max(0, start + CHUNK - len(samples))))
        frame = np.concatenate([context, chunk])[None]
        probability, state = session.run(None, {"input": frame, "state": state, "sr": np.array(16_000)})
        found.append(probability[0, 0])
        context = chunk[-64:]
    return np.array(found)


def whole(detector, samples):
    stream = detector.stream()
    return np.concatenate([stream.push(samples), stream.flush()])


def test_equals_the_streaming_network_on_made_audio(detector):
    samples = voiced(4.321)
    reference = streaming_probabilities(samples)
    assert reference.max() > 0.1, "audio that leaves the network at zero would prove nothing"
    np.testing.assert_allclose(whole(detector, samples), reference, atol=1e-5)


def test_equals_the_streaming_network_on_speech(detector, speech):
    reference = streaming_probabilities(speech)
    assert reference.max() > 0.9
    found = whole(detector, speech)
    np.testing.assert_allclose(found, reference, atol=1e-5)
    np.testing.assert_array_equal(found >= 0.5, reference >= 0.5)


@pytest.mark.parametrize("cuts", [[1], [511, 512], [512, 1024], [3, 700, 701, 9000]])
def test_pushes_do_not_change_the_probabilities(detector, cuts):
    samples = voiced(1.0)
    stream = detector.stream()
    pieces = [stream.push(piece) for piece in np.split(samples, cuts)]
    np.testing.assert_allclose(np.concatenate([*pieces, stream.flush()]), whole(detector, samples), atol=1e-6)


def test_long_pushes_go_through_several_calls(detector):
    samples = np.tile(voiced(5.0), 5)
    assert len(samples) // CHUNK > 5 * _CHUNKS_PER_CALL
    stream = detector.stream()
    pieces = [stream.push(piece) for piece in np.split(samples, 50)]
    np.testing.assert_allclose(np.concatenate([*pieces, stream.flush()]), whole(detector, samples), atol=1e-5)


def test_one_probability_for_each_chunk(detector):
    for samples, chunks in ((0, 0), (1, 1), (511, 1), (512, 1), (513, 2), (16_000, 32)):
        assert len(whole(detector, np.zeros(samples, np.float32))) == chunks


def test_streams_do_not_share_state(detector):
    samples = voiced(2.0)
    first = whole(detector, samples)
    other = detector.stream()
    other.push(voiced(3.0, seed=5))
    np.testing.assert_array_equal(whole(detector, samples), first)


def test_silence_and_noise_are_no_speech(detector):
    noise = (0.01 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
    assert whole(detector, np.zeros(32_000, np.float32)).max() < 0.1
    assert np.mean(whole(detector, noise) >= 0.5) < 0.05


def test_speech_is_found(detector, speech):
    assert np.mean(whole(detector, speech) >= 0.5) > 0.3


def test_the_package_is_not_imported(detector):
    whole(detector, voiced(0.5))
    assert "silero_vad" not in sys.modules


def test_fingerprint_is_that_of_the_file(detector):
    assert len(detector.fingerprint) == 64
    assert detector.fingerprint == SpeechDetector().fingerprint


def test_another_network_is_refused():
    with pytest.raises(ConfigurationError, match=r"silero_vad\.onnx is not the network of silero-vad 6"):
        matrix_form(model_path().with_name("silero_vad.onnx"))


def test_a_missing_package_names_the_remedy(monkeypatch):
    monkeypatch.setattr("emolake.audio.voice_activity.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install silero-vad"):
        SpeechDetector()
