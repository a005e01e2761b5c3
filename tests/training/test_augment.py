"""Changes to clips: what they keep, and that a seed fixes them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.audio.feature_options import MelOptions
from emolake.audio.features import band_centres_hz
from emolake.models.families.spectrogram_network import clip_features
from emolake.models.families.spectrogram_options import FeatureOptions
from emolake.training.augment import AugmentOptions, choose_warps, crop_and_hide, disturb, mix, stretch

NOTHING = AugmentOptions(
    noise_chance=0, room_chance=0, band_chance=0, tilt_db=0, level_db=0, mixup=0, band_mask=0, frame_mask=0
)


def batch(frames=(150, 40), seed=0):
    torch.manual_seed(seed)
    lengths = torch.tensor(frames)
    valid = (torch.arange(max(frames)) < lengths[:, None])[:, None]
    return (torch.rand(len(frames), 64, max(frames)) + 0.1) * valid, lengths


PLACE: Any = {"hop_s": 0.016, "centres_hz": band_centres_hz(MelOptions())}


def features(frames=(150, 40)):
    power, lengths = batch(frames)
    pitch = torch.rand(len(frames), 2, max(frames)) * 100 + 80
    return clip_features(power, pitch, lengths, FeatureOptions())


def test_nothing_asked_changes_nothing():
    power, frames = batch()
    torch.testing.assert_close(
        disturb(power.clone(), frames, np.random.default_rng(0), NOTHING, **PLACE), power
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 9999))
def test_disturbed_power_is_power_and_padding_stays_silent(seed):
    power, frames = batch()
    options = AugmentOptions(noise_chance=1, room_chance=1, band_chance=1)
    changed = disturb(power.clone(), frames, np.random.default_rng(seed), options, **PLACE)
    assert changed.isfinite().all()
    assert (changed[0] > 0).all()
    assert (changed[1, :, :40] > 0).all()
    assert changed[1, :, 40:].abs().sum() == 0
    again = disturb(power.clone(), frames, np.random.default_rng(seed), options, **PLACE)
    torch.testing.assert_close(again, changed, atol=0, rtol=0)


def test_noise_has_the_ratio_that_was_asked():
    power, frames = batch((400,))
    options = NOTHING.model_copy(update={"noise_chance": 1.0, "noise_snr_db": (10.0, 10.0)})
    noise = disturb(power.clone(), frames, np.random.default_rng(1), options, **PLACE) - power
    assert 10 * torch.log10(power.mean() / noise.mean()) == pytest.approx(10, abs=0.3)


def test_a_room_only_adds_after_the_sound():
    power, frames = torch.zeros(1, 64, 60), torch.tensor([60])
    power[:, :, 20] = 1
    options = NOTHING.model_copy(update={"room_chance": 1.0})
    reverberant = disturb(power.clone(), frames, np.random.default_rng(1), options, **PLACE)[0, 5]
    assert reverberant[:20].abs().sum() == 0
    assert reverberant[20] == 1
    assert (reverberant[21:40].diff() < 0).all()


def test_stretch_changes_length_and_not_range():
    power, _ = batch((100,))
    pitch = torch.rand(1, 2, 100)
    longer, track = stretch(power[0], pitch[0], 1.2)
    assert longer.shape == (64, 120)
    assert track.shape == (2, 120)
    assert longer.max() <= power.max()
    assert set(track[1].tolist()) <= set(pitch[0, 1].tolist())  # no pitch between two pitches


def test_warps_are_mostly_none():
    drawn = choose_warps(np.random.default_rng(0), 5000, AugmentOptions())
    counts = np.bincount(drawn, minlength=9)
    assert counts.argmax() == 4
    assert (counts > 0).all()


def test_a_long_clip_is_cut_and_a_short_one_is_whole():
    given_clips = features()
    cut = crop_and_hide(given_clips, np.random.default_rng(2), NOTHING)
    assert cut.frames.tolist() == [112, int(given_clips.frames[1])]
    size = int(given_clips.frames[1])
    torch.testing.assert_close(cut.image[1, :, :size], given_clips.image[1, :, :size])
    starts = [s for s in range(150) if torch.equal(given_clips.image[0, :, s : s + 112], cut.image[0])]
    assert len(starts) == 1
    torch.testing.assert_close(cut.tracks[0], given_clips.tracks[0, :, starts[0] : starts[0] + 112])


def test_masks_hide_bands_and_frames():
    plain = crop_and_hide(features((100,)), np.random.default_rng(2), NOTHING)
    hidden = crop_and_hide(features((100,)), np.random.default_rng(2), AugmentOptions())
    gone = (hidden.image == 0) & (plain.image != 0)
    assert 0 < gone.float().mean() < 0.5
    torch.testing.assert_close(hidden.image[~gone], plain.image[~gone])


def test_mixing_keeps_targets_a_distribution_and_the_first_clip_in_front():
    clips = features((120, 120, 120, 60))
    targets = torch.eye(4)
    mixed, shares = mix(clips, targets, np.random.default_rng(0), AugmentOptions(mixup=1.0))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    assert (shares.diagonal() >= 0.5).all()
    assert (shares.diagonal() < 1).any()
    assert (mixed.frames >= clips.frames).all()
    assert mix(clips, targets, np.random.default_rng(0), NOTHING)[0] is clips


def test_a_narrow_channel_takes_away_what_lies_outside_of_it():
    power, frames = torch.ones(1, 64, 50), torch.tensor([50])
    options = NOTHING.model_copy(
        update={"band_chance": 1.0, "band_low_hz": (300.0, 300.0), "band_high_hz": (3400.0, 3400.0)}
    )
    narrow = 10 * torch.log10(disturb(power, frames, np.random.default_rng(1), options, **PLACE)[0, :, 7])
    centres = torch.from_numpy(PLACE["centres_hz"])
    inside = (centres > 300) & (centres < 3400)
    assert narrow[inside].abs().max() < 1e-4
    assert (narrow[~inside] < 0).all()
    octave = int((centres - 6800).abs().argmin())
    expected = -60 * float(torch.log2(centres[octave] / 3400))
    assert float(narrow[octave]) == pytest.approx(expected, abs=1e-3)
