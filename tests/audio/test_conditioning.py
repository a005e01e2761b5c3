"""What features do not see of a recording: a DC offset, a gain, mains hum; and what is left of odd input."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emolake.audio.conditioning import condition, high_pass
from emolake.audio.feature_options import ConditioningOptions
from emolake.models.families.spectrogram_network import waveform_features
from emolake.tasks.decode import load_mono
from emolake.training.trainers.spectrogram_trainer import LOGMEL, MFCC

from made_voices import EMOTIONS, utterance

pytestmark = pytest.mark.slow

RATE = 16_000
OPTIONS = ConditioningOptions(high_pass_hz=80, level_dbfs=-20)
MADE = [utterance(speaker, emotion, 0).astype(np.float32) for speaker in range(3) for emotion in EMOTIONS]


def hum(samples, hertz, level, phase, offset=0.0):
    time = np.arange(samples) / RATE
    return offset + level * np.sin(2 * np.pi * hertz * time + phase)


def features(wave, recipe=LOGMEL.recipe):
    wave = torch.from_numpy(np.asarray(wave, np.float32))[None]
    return waveform_features(wave, torch.tensor([wave.shape[1]]), recipe.features)


def assert_unseen(wave, offset, gain_db, hertz, level, phase, recipe=LOGMEL.recipe):
    """Features of a clip and of what a bad line makes of it are the same: to a twentieth of a decibel on average."""
    plain = features(wave, recipe)
    other = features(wave * 10 ** (gain_db / 20) + hum(len(wave), hertz, level, phase, offset), recipe)
    assert plain.frames == other.frames
    assert (plain.image - other.image).abs().mean() < 0.05
    assert (plain.image - other.image).abs().max() < 12  # of the last frame, where a drifting hum ends
    assert (plain.tracks - other.tracks).abs().mean() < 0.001
    torch.testing.assert_close(plain.clip, other.clip, atol=1e-3, rtol=0)


LINES = {
    "offset": st.floats(-0.02, 0.02),
    "gain_db": st.floats(-12, 12),
    "hertz": st.sampled_from([50.0, 60.0]).flatmap(lambda mains: st.floats(mains - 0.2, mains + 0.2)),
    "level": st.floats(0, 0.005),
    "phase": st.floats(0, 2 * np.pi),
}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(MADE) - 1), st.sampled_from([LOGMEL.recipe, MFCC.recipe]), st.fixed_dictionaries(LINES)
)
def test_features_of_made_voices_see_no_offset_gain_or_hum(number, recipe, line):
    assert_unseen(MADE[number], recipe=recipe, **line)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.fixed_dictionaries(LINES))
def test_features_of_real_clips_see_no_offset_gain_or_hum(shared_data, number, line):
    with (shared_data / "manifest_all.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert_unseen(load_mono(shared_data / rows[number % len(rows)]["path"]), **line)


def test_features_without_conditioning_see_them_all():
    """The law is the options', and not that of the features: folders from before keep theirs."""
    recipe = LOGMEL.recipe.model_copy(
        update={"features": LOGMEL.recipe.features.model_copy(update={"conditioning": ConditioningOptions()})}
    )
    for offset, gain_db, hertz, level in ((0.005, 0, 50, 0), (0, 12, 50, 0), (0, 0, 60, 0.005)):
        with pytest.raises(AssertionError):
            for wave in MADE:
                assert_unseen(wave, offset, gain_db, hertz, level, 1.0, recipe)


def test_nothing_is_done_unless_it_is_asked_for():
    waves = torch.randn(2, 1000)
    assert condition(waves, torch.tensor([1000, 400]), ConditioningOptions(), sampling_rate=RATE) is waves


@pytest.mark.parametrize("hertz", [0.1, 25, 50, 60, 61])
def test_what_is_below_goes(hertz):
    wave = torch.from_numpy(hum(4 * RATE, hertz, 0.5, 0.3))[None]
    left = high_pass(wave, torch.tensor([4 * RATE]), 80, RATE)[0, RATE:-RATE]
    assert left.abs().max() < 0.5 * 10 ** (-85 / 20)


@pytest.mark.parametrize("hertz", [99, 120, 440, 3400, 7900])
def test_what_is_above_stays(hertz):
    wave = torch.from_numpy(hum(4 * RATE, hertz, 0.5, 0.3))[None]
    left = high_pass(wave, torch.tensor([4 * RATE]), 80, RATE)
    torch.testing.assert_close(left[0, RATE:-RATE], wave[0, RATE:-RATE], atol=1e-3, rtol=0)


@pytest.mark.parametrize("hertz", [49.9, 50, 50.1, 59.9, 60, 60.1])
def test_hum_makes_no_step_at_the_ends(hertz):
    for phase in np.linspace(0, 2 * np.pi, 8, endpoint=False):
        wave = torch.from_numpy(hum(2 * RATE, hertz, 0.1, phase, offset=0.05))[None]
        assert high_pass(wave, torch.tensor([2 * RATE]), 80, RATE).abs().max() < 0.1 * 10 ** (-30 / 20)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9000), min_size=2, max_size=4), st.integers(0, 2**16))
def test_the_batch_changes_no_member(sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    waves = [0.1 * torch.randn(size, generator=generator) + 0.02 for size in sizes]
    batch = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    together = condition(batch, torch.tensor(sizes), OPTIONS, sampling_rate=RATE)
    for wave, row in zip(waves, together, strict=True):
        alone = condition(wave[None], torch.tensor([len(wave)]), OPTIONS, sampling_rate=RATE)
        torch.testing.assert_close(row[: len(wave)], alone[0], atol=1e-9, rtol=1e-9)
        assert not row[len(wave) :].any()


@pytest.mark.parametrize("samples", [1, 2, 3, 10, 160, 400, 8000, 16_000])
@pytest.mark.parametrize("value", [0.0, 0.5, -1.0, 1e6])
def test_constants_leave_nothing(samples, value):
    left = condition(torch.full((1, samples), value), torch.tensor([samples]), OPTIONS, sampling_rate=RATE)
    assert left.isfinite().all()
    assert left.abs().max() < 1e-3


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(400), np.zeros(16_000), np.full(400, 0.3), np.full(16_000, -1.0), np.eye(1, 400, 200)[0],
        np.eye(1, 16_000, 0)[0], np.full(16_000, 1e-30), np.random.default_rng(0).normal(size=400),
        1e6 * np.random.default_rng(1).normal(size=5000), hum(16_000, 50, 0.5, 0), np.tile([1.0, -1.0], 400),
    ],
)  # fmt: skip
def test_odd_input_stays_finite(wave):
    found = features(wave)
    for values in (found.image, found.tracks, found.clip):
        assert values.isfinite().all()


def test_the_level_is_the_one_asked_for():
    wave = torch.from_numpy(MADE[0])[None]
    left = condition(wave, torch.tensor([wave.shape[1]]), OPTIONS, sampling_rate=RATE)
    assert 20 * torch.log10(left.square().mean().sqrt()) == pytest.approx(-20, abs=1e-3)
