"""What a call does to a training clip: finite, of the same length, decided by a seed, and of the kind that is named."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.training.call_channel import CallOptions, CodecName, round_trip, through_call

RATE = 16_000
NEVER = CallOptions(
    **{name: 0.0 for name in CallOptions.model_fields if name.endswith("_chance")}  # type: ignore[arg-type]
)


def generator(seed=0):
    return np.random.default_rng(seed)


def only(**changes):
    return NEVER.model_copy(update=changes)


def level_db(wave):
    return 20 * np.log10(np.sqrt(np.mean(np.square(wave))) + 1e-12)


@pytest.fixture
def voice():
    """Tones of 300, 1000 and 6000 Hz that come and go."""
    time = np.arange(RATE) / RATE
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in (300, 1000, 6000))
    return (0.1 * tones * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))).astype(np.float32)


def test_nothing_asked_changes_nothing(voice):
    np.testing.assert_array_equal(through_call(voice, generator(), NEVER, sampling_rate=RATE), voice)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(400, 20_000), seed=st.integers(0, 9999), level=st.floats(0, 1))
def test_a_changed_clip_is_still_one(size, seed, level):
    options = CallOptions(**{name: 0.7 for name in CallOptions.model_fields if name.endswith("_chance")})
    wave = (np.random.default_rng(size).normal(size=size) * 0.3 * level).astype(np.float32)
    found = through_call(wave, generator(seed), options, sampling_rate=RATE)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert size <= len(found) <= size + 2 * RATE
    again = through_call(wave, generator(seed), options, sampling_rate=RATE)
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("codec", get_args(CodecName))
def test_a_codec_gives_back_the_voice_without_what_it_does_not_carry(codec, voice):
    found = round_trip(voice, codec, generator(), sampling_rate=RATE)
    assert len(found) == len(voice)
    assert not np.array_equal(found, voice)
    spectrum, before = (np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) for wave in (found, voice))
    assert spectrum[1000] > 0.3 * before[1000]  # a hertz a bin
    narrow = codec in ("gsm", "mulaw", "alaw", "amr")
    assert (spectrum[6000] < 0.05 * before[6000]) == narrow or codec in ("opus", "mp3")
    assert abs(level_db(found) - level_db(voice)) < 6


@pytest.mark.parametrize("codec", get_args(CodecName))
def test_silence_and_the_shortest_clip_survive_a_codec(codec):
    assert np.abs(round_trip(np.zeros(RATE, np.float32), codec, generator(), sampling_rate=RATE)).max() < 0.01
    assert len(round_trip(np.full(400, 0.1, np.float32), codec, generator(), sampling_rate=RATE)) == 400


def test_a_line_takes_the_lows_and_the_highs(voice):
    found = through_call(voice, generator(), only(band_chance=1.0), sampling_rate=RATE)
    spectrum, before = (np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) for wave in (found, voice))
    assert spectrum[6000] < 0.1 * before[6000]
    assert spectrum[1000] > 0.8 * before[1000]


def test_offset_hum_clipping_silence_and_room_are_what_they_say(voice):
    offset = through_call(voice, generator(), only(offset_chance=1.0), sampling_rate=RATE) - voice
    assert np.ptp(offset) < 1e-6
    assert 0 < abs(offset.mean()) <= 0.02
    hum = through_call(voice, generator(), only(hum_chance=1.0, hum_dbfs=(-40.0, -40.0)), sampling_rate=RATE)
    assert level_db(hum - voice) == pytest.approx(-40, abs=0.1)
    clipped = through_call(voice, generator(), only(clip_chance=1.0), sampling_rate=RATE)
    assert 0.3 <= np.abs(clipped).max() / np.abs(voice).max() <= 0.9
    longer = through_call(voice, generator(), only(silence_chance=1.0), sampling_rate=RATE)
    start = np.flatnonzero(longer)[0]
    np.testing.assert_array_equal(longer[start : start + 100], voice[np.flatnonzero(voice)[0] :][:100])
    click = np.zeros(RATE, np.float32)
    click[0] = 1
    room = through_call(click, generator(), only(room_chance=1.0), sampling_rate=RATE)
    assert room[0] == pytest.approx(1, abs=1e-3)
    assert 0.2 <= np.sqrt(np.sum(room[1:] ** 2)) <= 1.01
    assert np.abs(room[-RATE // 4 :]).max() < 1e-2
