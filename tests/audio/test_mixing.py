"""The mix-down: the mean of the channels, but of channels that would cancel one another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.audio.mixing import Mixer

from made_voices import utterance

RATE = 16_000
VOICE = np.concatenate([utterance(k, "angry", k) for k in range(5)]).astype(np.float32)
OTHER = np.concatenate([utterance(9 - k, "sad", k) for k in range(5)]).astype(np.float32)
SIZE = min(len(VOICE), len(OTHER))


def mixed(*channels, cuts=()):
    samples = np.stack([channel[:SIZE] for channel in channels], axis=1).astype(np.float32)
    mixer = Mixer(RATE)
    pieces = [piece for block in np.split(samples, sorted(cuts)) for piece in mixer.push(block)]
    return np.concatenate([*pieces, mixer.finish()])


def rms(wave):
    return float(np.sqrt(np.square(wave, dtype=np.float64).mean()))


@settings(max_examples=30, deadline=None)
@given(
    gain=st.floats(0.3, 1.0),
    offsets=st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02)),
    noise=st.floats(0, 0.01),
)
def test_antiphase_does_not_cancel(gain, offsets, noise):
    hiss = noise * np.random.default_rng(1).normal(size=SIZE)
    found = mixed(VOICE + offsets[0], -gain * VOICE[:SIZE] + hiss + offsets[1])
    alone = (1 + gain) / 2 * VOICE[:SIZE]
    assert abs(np.corrcoef(found, alone)[0, 1]) > 0.98
    assert rms(found - found.mean()) == pytest.approx(rms(alone), rel=0.05)


@pytest.mark.parametrize(
    "channels",
    [
        (VOICE, OTHER),
        (VOICE, VOICE),
        (VOICE, 0 * VOICE),
        (0 * VOICE, OTHER),
        (VOICE, -0.03 * VOICE),
        (VOICE, OTHER, VOICE),
    ],
)
def test_everything_else_is_the_mean_to_the_bit(channels):
    samples = np.stack([channel[:SIZE] for channel in channels], axis=1).astype(np.float32)
    np.testing.assert_array_equal(mixed(*channels), samples.mean(axis=1, dtype=np.float32))


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, SIZE), max_size=10), turned=st.booleans())
def test_where_blocks_are_cut_changes_nothing(cuts, turned):
    channels = (VOICE, -0.8 * VOICE if turned else OTHER)
    np.testing.assert_array_equal(mixed(*channels, cuts=cuts), mixed(*channels))


def test_one_channel_passes():
    np.testing.assert_array_equal(mixed(VOICE), VOICE[:SIZE])


def test_a_third_channel_in_antiphase_is_turned_too():
    assert rms(mixed(VOICE, OTHER, -VOICE)) > 0.5 * rms((2 * VOICE[:SIZE] + OTHER[:SIZE]) / 3)
