"""The trace of a recording: its peaks, and who speaks when, however its blocks are cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.audio.talk import talk_spans
from emolake.audio.trace import traced
from emolake.audio.voice_activity import SpeechDetector
from emolake.demo.speech import synthesise

RATE = 16_000


@pytest.fixture(scope="module")
def vad() -> SpeechDetector:
    return SpeechDetector()


@pytest.fixture(scope="module")
def call() -> np.ndarray:
    """Channel 0 speaks from 1 s on, channel 1 from 5 s on: [8 s, 2] float32."""
    import soxr

    samples, rate = synthesise("Good morning, how may I help you today?", voice="en-us+m1")
    speech = soxr.resample(samples, rate, RATE)[: 2 * RATE]
    made = np.zeros((8 * RATE, 2), np.float32)
    made[RATE : RATE + len(speech), 0] = speech
    made[5 * RATE : 5 * RATE + len(speech), 1] = 0.5 * speech
    return made


def test_it_says_who_speaks_when(vad: SpeechDetector, call: np.ndarray) -> None:
    trace = traced([call], vad=vad)
    assert trace.duration_s == 8
    first, second = trace.channels
    assert first.talk[0][0] == pytest.approx(1, abs=0.15)
    assert second.talk[0][0] == pytest.approx(5, abs=0.15)
    assert first.talk[-1][1] < 4
    assert list(first.talk) == [
        (start / RATE, end / RATE) for start, end in talk_spans([call[:, 0].copy()], vad=vad)
    ]


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 8 * RATE - 1), max_size=6))
def test_where_blocks_are_cut_changes_nothing(vad: SpeechDetector, call: np.ndarray, cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(call)]
    whole = traced([call], vad=vad, most_peaks=100)
    parts = traced((call[start:end] for start, end in pairwise(edges)), vad=vad, most_peaks=100)
    for a, b in zip(whole.channels, parts.channels, strict=True):
        np.testing.assert_array_equal(a.peaks, b.peaks)
        assert a.talk == b.talk


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 16_000, 50_001])
@pytest.mark.parametrize("most", [1, 7, 100])
def test_the_peaks_hold_the_least_and_the_greatest_sample(
    vad: SpeechDetector, samples: int, most: int
) -> None:
    noise = np.random.default_rng(samples).uniform(-1, 1, (samples, 1)).astype(np.float32)
    (channel,) = traced([noise], vad=vad, most_peaks=most).channels
    assert 1 <= len(channel.peaks) <= most
    assert channel.peaks[:, 0].min() == noise.min()
    assert channel.peaks[:, 1].max() == noise.max()
    assert (channel.peaks[:, 0] <= channel.peaks[:, 1]).all()


def test_a_channel_that_is_left_out_leaves_nothing(vad: SpeechDetector, call: np.ndarray) -> None:
    trace = traced([call], vad=vad, left_out=[0])
    assert [channel.channel for channel in trace.channels] == [1]
