"""Level, clipping, offset, bandwidth and correlation of signals that were made to have them."""

import math

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import firwin, lfilter

from emolake.audio.signal_meter import SignalMeter
from emolake.schemas.columns import SIGNAL_NOTES

from made_voices import utterance

RATE = 16_000
TELEPHONE = firwin(801, [300, 3400], pass_zero=False, fs=RATE)


def voice(seconds=3.0, rate=RATE):
    """Made voices with something at all frequencies, as consonants have it, [n] float64."""
    wave = np.concatenate([utterance(k, "angry", k) for k in range(8)])[: int(seconds * RATE)]
    hiss = np.random.default_rng(5).normal(size=len(wave)) * 0.02 * (np.arange(len(wave)) % 4000 < 1500)
    return soxr.resample(0.5 * wave + hiss, RATE, rate) if rate != RATE else 0.5 * wave + hiss


def measured(*channels, rate=RATE, codec="pcm_16"):
    meter = SignalMeter(rate, len(channels), codec)
    meter.push(np.stack(channels, axis=1).astype(np.float32))
    return meter.figures()


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 90_000),
    channels=st.integers(1, 3),
    rate=st.sampled_from([8_000, 11_025, 16_000, 44_100]),
    cuts=st.lists(st.integers(0, 90_000), max_size=12),
    seed=st.integers(0, 2**16),
)
def test_where_blocks_are_cut_changes_nothing(samples, channels, rate, cuts, seed):
    signal = np.random.default_rng(seed).normal(0.01, 0.3, (samples, channels)).astype(np.float32)
    whole, pieces = SignalMeter(rate, channels, "pcm_16"), SignalMeter(rate, channels, "pcm_16")
    whole.push(signal)
    for piece in np.split(signal, sorted(min(cut, samples) for cut in cuts)):
        pieces.push(piece)
    assert pieces.figures() == whole.figures()


@settings(max_examples=40, deadline=None)
@given(
    amplitude=st.floats(0.003, 0.9),
    offset=st.floats(-0.05, 0.05),
    rate=st.sampled_from([8_000, 16_000, 48_000]),
)
def test_level_and_offset_of_a_tone(amplitude, offset, rate):
    time = np.arange(rate * 2) / rate
    found = measured(offset + amplitude * np.sin(2 * np.pi * 440 * time), rate=rate)
    assert found.level_dbfs == pytest.approx(20 * math.log10(amplitude / math.sqrt(2)), abs=0.01)
    assert found.dc_offset == pytest.approx(offset, abs=1e-5)
    assert ("dc_offset" in found.signal_notes) == (abs(offset) >= 0.000999)
    assert found.clipped_share == 0


@pytest.mark.parametrize("gain", [1.5, 3, 10])
def test_the_clipped_share_is_what_was_clipped(gain):
    loud = gain * voice() / np.abs(voice()).max()
    clipped = np.round(np.clip(loud, -1, 1) * 32_767) / 32_768
    found = measured(clipped)
    assert found.clipped_share == pytest.approx(np.mean(np.abs(loud) >= 0.9999), abs=1e-4)
    assert ("clipped" in found.signal_notes) == (found.clipped_share >= 0.001)


@pytest.mark.parametrize(
    ("codec", "largest"), [("pcm_u8", 127 / 128), ("ulaw", 32_124 / 32_768), ("pcm_alaw", 32_256 / 32_768)]
)
def test_full_scale_is_the_codecs(codec, largest):
    assert measured(np.full(RATE, largest) * np.sign(voice(1)), codec=codec).clipped_share == 1
    assert measured(np.full(RATE, largest) * np.sign(voice(1))).clipped_share == 0


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_telephone_call_is_one_at_whatever_rate(rate):
    call = np.round(soxr.resample(lfilter(TELEPHONE, 1, voice()), RATE, rate) * 32_767) / 32_768
    assert 3200 <= measured(call, rate=rate).bandwidth_hz <= 4000


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
def test_a_wide_band_recording_is_one_at_whatever_rate(rate):
    wide = np.round(voice(rate=rate) * 32_767) / 32_768
    assert 7000 <= measured(wide, rate=rate).bandwidth_hz <= 8200


def test_neither_hum_nor_offset_nor_clicks_change_the_bandwidth():
    time = np.arange(3 * RATE) / RATE
    call = lfilter(TELEPHONE, 1, voice())[: len(time)]
    clicks = np.zeros(len(call))
    clicks[100] = 0.9
    spoiled = call + 0.1 * np.sin(2 * np.pi * 50 * time[: len(call)]) + 0.05 + clicks
    assert measured(spoiled).bandwidth_hz == measured(call).bandwidth_hz


def test_a_gain_changes_the_level_alone():
    plain, quiet = measured(voice()), measured(voice() * 0.1)
    assert quiet.level_dbfs == pytest.approx(plain.level_dbfs - 20, abs=1e-4)
    assert quiet.bandwidth_hz == plain.bandwidth_hz


@pytest.mark.parametrize(
    ("channels", "notes", "correlation"),
    [
        (lambda a, b: (a, b), set(), 0),
        (lambda a, b: (a, -a), {"antiphase"}, -1),
        (lambda a, b: (a, -0.7 * a + 0.05 * b), {"antiphase"}, -1),
        (lambda a, b: (a, a), {"dual_mono"}, 1),
        (lambda a, b: (a, 0.4 * a), {"dual_mono"}, 1),
        (lambda a, b: (a, 0 * a), {"empty_channel"}, None),
        (lambda a, b: (0 * a + 0.0002, a), {"empty_channel"}, None),
        (lambda a, b: (0 * a, 0 * a), {"no_signal"}, None),
        (lambda a, b: (a, b, -a), {"antiphase"}, -1),
    ],
)
def test_how_channels_agree(channels, notes, correlation):
    one, other = voice(), np.random.default_rng(9).normal(size=len(voice())) * 0.1
    found = measured(*channels(one, other))
    assert set(found.signal_notes) == notes
    if correlation is None:
        assert found.channel_correlation is None
    else:
        assert found.channel_correlation == pytest.approx(correlation, abs=0.03)


@pytest.mark.parametrize(
    ("gain", "codec", "note"),
    [
        (32_768, "float", "unscaled"), (32_768, "pcm_f32le", "unscaled"), (2.5, "double", "beyond_full_scale"),
        (0.3, "float", None), (2.5, "mp3", None), (0.002, "pcm_16", "quiet"),
    ],
)  # fmt: skip
def test_what_levels_are_named(gain, codec, note):
    found = set(measured(gain * voice() / np.abs(voice()).max(), codec=codec).signal_notes)
    assert found - {"clipped"} == ({note} if note else set())


def test_eight_bits_around_127_have_an_offset():
    stored = np.round(voice() * 127) + 127
    found = measured((stored - 128) / 128, codec="pcm_u8")
    assert found.dc_offset == pytest.approx(-1 / 128, abs=1e-3)
    assert "dc_offset" in found.signal_notes


@pytest.mark.parametrize("samples", [1, 2, 5, 100, 511, 512, 513])
def test_very_short_recordings_have_figures(samples):
    found = measured(voice()[4000 : 4000 + samples])
    assert found.bandwidth_hz is None or 0 < found.bandwidth_hz <= RATE / 2
    assert measured(np.zeros(samples)).level_dbfs is None


def test_every_note_is_one_of_the_tables():
    names = {"no_signal", "quiet", "clipped", "dc_offset", "unscaled", "beyond_full_scale"}
    assert set(SIGNAL_NOTES) == names | {"empty_channel", "dual_mono", "antiphase"}
