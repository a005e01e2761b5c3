"""Changes to the waveforms of training clips: what a change keeps, and that a seed decides it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.training.trainer import InputSpec
from emolake.training.waves import WaveAugmentOptions, augment_wave, reduce_noise

ALWAYS = WaveAugmentOptions(chance=1.0)
NEVER = WaveAugmentOptions(chance=0.0)
SPEC = InputSpec(max_samples=40_000)


def changed(wave, options, seed=0):
    return augment_wave(wave, np.random.default_rng(seed), options, SPEC)


def test_nothing_asked_changes_nothing(tone):
    np.testing.assert_array_equal(changed(tone, NEVER), tone)
    assert augment_wave(tone, None, ALWAYS, SPEC) is tone


@settings(max_examples=30)
@given(size=st.integers(400, 40_000), seed=st.integers(0, 999))
def test_a_changed_clip_is_still_one(size, seed):
    wave = np.random.default_rng(size).normal(size=size).astype(np.float32) * 0.1
    found = changed(wave, ALWAYS, seed)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert 400 <= len(found) <= 40_000
    np.testing.assert_array_equal(found, changed(wave, ALWAYS, seed))
    assert not np.array_equal(found, changed(wave, ALWAYS, seed + 1))


def test_noise_has_the_ratio_that_was_asked(tone):
    options = ALWAYS.model_copy(
        update={"noise_snr_db": (20.0, 20.0), "gain_db": 0.0, "shift_s": 0.0, "speed": (1.0, 1.0)}
    )
    noise = changed(tone, options) - tone
    assert 10 * np.log10(np.mean(tone**2) / np.mean(noise**2)) == pytest.approx(20, abs=0.1)


def test_speed_changes_length_and_pitch(tone):
    options = ALWAYS.model_copy(
        update={"noise_snr_db": (200.0, 200.0), "gain_db": 0.0, "shift_s": 0.0, "speed": (1.25, 1.25)}
    )
    faster = changed(tone, options)
    assert len(faster) == pytest.approx(len(tone) / 1.25, abs=2)
    spectrum = np.abs(np.fft.rfft(faster * np.hanning(len(faster))))
    assert spectrum.argmax() * 16_000 / len(faster) == pytest.approx(440 * 1.25, rel=0.01)


def test_silence_stays_silent():
    assert np.abs(changed(np.zeros(8_000, np.float32), ALWAYS)).max() == 0
    assert np.abs(reduce_noise(np.zeros(8_000, np.float32))).max() == 0


def test_noise_reduction_lowers_the_noise_and_keeps_the_sound(noise):
    time = np.arange(32_000) / 16_000
    sound = (0.5 * np.sin(2 * np.pi * 440 * time) * (time > 1)).astype(np.float32)
    cleaned = reduce_noise(sound + 0.1 * noise)
    before, after = slice(2_000, 14_000), slice(18_000, 30_000)
    assert np.std(cleaned[before]) < 0.4 * np.std(0.1 * noise[before])
    assert np.std(cleaned[after] - sound[after]) < 0.1 * np.std(sound[after])
    assert cleaned.shape == sound.shape
    short = noise[:500]
    np.testing.assert_array_equal(reduce_noise(short), short)
