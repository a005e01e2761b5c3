"""Features against librosa, and a batch against its members alone."""

from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.audio.feature_options import MelOptions, MfccOptions, PitchOptions
from emolake.audio.features import (
    frame_count,
    log_mel,
    mel_power,
    mfcc,
    normalise_waveform,
    pitch_track,
    warped_mel_power,
)

RATE = 16000
pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")  # librosa's, of the shortest clip


def tone(hertz, seconds, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def voice(hertz, seconds):
    """Harmonics falling by 6 dB an octave under a slow envelope, with a little noise: something like a vowel."""
    generator = np.random.default_rng(3)
    parts = sum(tone(hertz * k, seconds, 0.4 / k) for k in range(1, 12))
    envelope = np.hanning(len(parts))
    return (parts * envelope + generator.normal(size=len(parts)) * 1e-4).astype(np.float32)


def made_clips():
    generator = np.random.default_rng(1)
    return {
        "silence": np.zeros(RATE, np.float32),
        "tone": tone(440, 1.3),
        "noise": (generator.normal(size=12345) * 0.1).astype(np.float32),
        "quiet": (generator.normal(size=9000) * 0.002).astype(np.float32),
        "click": np.eye(1, 5000, 2500, dtype=np.float32)[0],
        "voice": voice(140, 1.7),
        "short": (generator.normal(size=400) * 0.1).astype(np.float32),
    }


def padded(clips, extra=0) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(clip) for clip in clips])
    waves = torch.zeros(len(clips), int(lengths.max()) + extra)
    for row, clip in zip(waves, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    return waves, lengths


def librosa_log_mel(clip, options):
    power = librosa.feature.melspectrogram(
        y=clip,
        sr=options.sampling_rate,
        n_fft=options.n_fft,
        hop_length=options.hop,
        n_mels=options.bands,
        fmin=options.f_min_hz,
        fmax=options.f_max_hz,
        pad_mode="constant",
    )
    return librosa.power_to_db(power, ref=1.0, top_db=options.top_db)


def assert_log_mel_equals_librosa(clip, options):
    features, frames = log_mel(*padded([clip]), options)
    assert features.shape == (1, options.bands, 1 + len(clip) // options.hop)
    assert frames.tolist() == [features.shape[2]]
    np.testing.assert_allclose(features[0].numpy(), librosa_log_mel(clip, options), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", made_clips())
@pytest.mark.parametrize(
    "options",
    [
        MelOptions(),
        MelOptions(n_fft=2048, hop=512, bands=128),
        MelOptions(n_fft=400, hop=160, bands=40, f_min_hz=60, f_max_hz=7600),
    ],
)
def test_log_mel_equals_librosa_on_made_clips(name, options):
    assert_log_mel_equals_librosa(made_clips()[name], options)


@pytest.mark.parametrize("name", made_clips())
def test_mfcc_equals_librosa_on_made_clips(name):
    clip = made_clips()[name]
    features, _ = mfcc(*padded([clip]), MfccOptions())
    np.testing.assert_allclose(
        features[0].numpy(), librosa.feature.mfcc(y=clip, sr=RATE, n_mfcc=40), atol=1e-3, rtol=0
    )


def test_features_equal_librosa_on_real_clips(shared_data):
    paths = (
        sorted(shared_data.glob("ravdess/**/*.flac"))[::160] + sorted(shared_data.glob("emodb/*.flac"))[::100]
    )
    assert len(paths) > 8
    clips = [soundfile.read(path, dtype="float32")[0] for path in paths]
    waves, lengths = padded(clips, extra=321)
    mel, mel_frames = log_mel(waves, lengths, MelOptions())
    coefficients, frames = mfcc(waves, lengths, MfccOptions())
    for row, clip in enumerate(clips):
        own = mel[row, :, : mel_frames[row]].numpy()
        np.testing.assert_allclose(own, librosa_log_mel(clip, MelOptions()), atol=1e-3, rtol=0)
        own = coefficients[row, :, : frames[row]].numpy()
        expected = librosa.feature.mfcc(y=clip, sr=RATE, n_mfcc=40)
        np.testing.assert_allclose(own, expected, atol=1e-3, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(400, 6000), min_size=1, max_size=4),
    extra=st.integers(0, 3000),
    loudness=st.floats(1e-4, 1.0),
    seed=st.integers(0, 2**16),
)
def test_a_batch_changes_no_member(sizes, extra, loudness, seed):
    generator = np.random.default_rng(seed)
    clips = [(generator.normal(size=size) * loudness).astype(np.float32) for size in sizes]
    waves, lengths = padded(clips, extra)
    dirty = waves.clone()
    dirty[torch.arange(waves.shape[1]) >= lengths[:, None]] = (
        7.0  # even padding that is not zero takes no part
    )
    functions: list[Any] = [(MelOptions(), log_mel), (MfccOptions(), mfcc), (PitchOptions(), pitch_track)]
    for options, function in functions:
        batch, frames = function(dirty, lengths, options)
        for row, clip in enumerate(clips):
            alone, own = function(*padded([clip]), options)
            assert own[0] == frames[row]
            torch.testing.assert_close(batch[row, :, : frames[row]], alone[0], atol=1e-5, rtol=0)
            assert batch[row, :, frames[row] :].abs().sum() == 0


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 3000), min_size=1, max_size=4),
    extra=st.integers(0, 500),
    seed=st.integers(0, 99),
)
def test_normalise_waveform_is_of_valid_samples_only(sizes, extra, seed):
    generator = np.random.default_rng(seed)
    clips = [(generator.normal(size=size) * 0.01 + 0.3).astype(np.float32) for size in sizes]
    waves, lengths = padded(clips, extra)
    normalised = normalise_waveform(waves, lengths, 1e-7)
    assert normalised.dtype == torch.float32
    for row, clip in enumerate(clips):
        wide = clip.astype(np.float64)
        expected = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)
        np.testing.assert_allclose(normalised[row, : len(clip)].numpy(), expected, atol=1e-5)
        assert normalised[row, len(clip) :].abs().sum() == 0


def test_normalise_waveform_of_silence_is_silence():
    assert normalise_waveform(torch.zeros(1, 500), torch.tensor([500]), 1e-7).abs().sum() == 0


@pytest.mark.parametrize("hertz", [80, 125, 233, 410])
def test_pitch_of_a_voice_is_found(hertz):
    track, frames = pitch_track(*padded([voice(hertz, 1.0)]), PitchOptions())
    middle = track[0, :, 10 : int(frames[0]) - 10]
    assert middle[0].min() > 0.9
    np.testing.assert_allclose(middle[1].numpy(), hertz, rtol=0.03)


def test_pitch_does_not_depend_on_the_length_of_the_transform(monkeypatch):
    clips, options = padded([voice(150, 1.0), tone(300, 0.5)]), PitchOptions(window=409)
    taken, _ = pitch_track(*clips, options)  # by transforms of 675 samples, an odd number
    monkeypatch.setattr("emolake.audio.features.next_fast_len", lambda length, real: 2048)
    longer, _ = pitch_track(*clips, options)
    torch.testing.assert_close(taken, longer)


def test_noise_has_no_period():
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    track, _ = pitch_track(*padded([noise]), PitchOptions())
    assert track[0, 0].median() < 0.4


def test_a_warp_moves_a_tone_to_another_band():
    waves, lengths = padded([tone(1000, 1.0)])
    plain, _ = mel_power(waves, lengths, MelOptions())
    warped, _ = warped_mel_power(waves, lengths, MelOptions(), warps=(1.0, 0.8, 1.25))
    torch.testing.assert_close(warped[0], plain)
    loudest = warped.mean(dim=(1, 3)).argmax(dim=1)
    lower, _ = mel_power(*padded([tone(800, 1.0)]), MelOptions())
    assert loudest[2] == lower.mean(dim=(0, 2)).argmax()
    assert loudest[2] < loudest[0] < loudest[1]


def test_long_recordings_are_worked_in_blocks(monkeypatch):
    waves, lengths = padded([voice(150, 2.0), voice(90, 1.0)])
    whole, _ = log_mel(waves, lengths, MelOptions())
    monkeypatch.setattr("emolake.audio.features._FRAMES_PER_BLOCK_ON_CPU", 14)
    in_blocks, _ = log_mel(waves, lengths, MelOptions())
    torch.testing.assert_close(in_blocks, whole, atol=1e-5, rtol=0)


def test_frames_are_counted_from_lengths():
    assert frame_count(torch.tensor([0, 255, 256, 16000]), 256).tolist() == [1, 1, 2, 63]


@pytest.mark.parametrize(
    ("waves", "lengths", "message"),
    [
        (torch.zeros(500), torch.tensor([500]), r"expected \[B, T\] and \[B\]"),
        (torch.zeros(2, 500), torch.tensor([500]), r"expected \[B, T\] and \[B\]"),
        (torch.zeros(1, 500), torch.tensor([501]), "expected 1 to 500"),
        (torch.zeros(1, 500), torch.tensor([0]), "expected 1 to 500"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(waves, lengths, message):
    with pytest.raises(ValueError, match=message):
        log_mel(waves, lengths, MelOptions())


def test_options_that_cannot_be_are_refused():
    waves, lengths = padded([tone(300, 0.2)])
    with pytest.raises(ValueError, match="at most 20"):
        mfcc(waves, lengths, MfccOptions(mel=MelOptions(bands=20)))
    with pytest.raises(ValueError, match="must be above"):
        log_mel(waves, lengths, MelOptions(f_min_hz=5000, f_max_hz=4000))
    with pytest.raises(ValueError, match="rising range"):
        pitch_track(waves, lengths, PitchOptions(f_min_hz=500, f_max_hz=60))
    with pytest.raises(ValueError, match="Extra inputs"):
        MelOptions.model_validate({"window": 3})
