"""Segments tile a recording: whatever its length, the options, and how its blocks are cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from emolake.audio.cutting import window_bounds
from emolake.audio.voice_activity import CHUNK, SpeechDetector, SpeechStream
from emolake.errors import BadRecordingError, Reason
from emolake.tasks.decode import load_mono
from emolake.tasks.segment import SegmentOptions, segment

RATE = 16_000


class ScriptedStream(SpeechStream):
    """A network's replacement: a chunk's probability is its largest sample, so that tests say what is speech."""

    def __init__(self):
        self.pending = np.empty(0, np.float32)

    def push(self, samples):
        pending = np.concatenate([self.pending, samples])
        chunks = len(pending) // CHUNK
        self.pending = pending[chunks * CHUNK :]
        return pending[: chunks * CHUNK].reshape(chunks, CHUNK).max(axis=1, initial=0)

    def flush(self):
        return np.array([self.pending.max()], np.float32) if len(self.pending) else np.empty(0, np.float32)


class ScriptedDetector(SpeechDetector):
    def __init__(self):
        """It has no network."""

    def stream(self):
        return ScriptedStream()


SCRIPTED = ScriptedDetector()


@pytest.fixture(scope="module")
def detector():
    return SpeechDetector()


def cut(signal, options, splits=(), vad=SCRIPTED):
    signal = signal[:, None] if signal.ndim == 1 else signal
    blocks = [block for block in np.split(signal, sorted(splits)) if len(block)]
    return list(segment(iter(blocks), options=options, vad=vad))


def assert_holds(found, signal, min_speech_ratio=0.1):
    """A segment holds its own samples, and none of silence."""
    own = signal[found.start_sample : found.end_sample]
    np.testing.assert_array_equal(found.samples, own if found.speech_ratio >= min_speech_ratio else own[:0])


def assert_tiles(segments, signal):
    position = 0
    for index, found in enumerate(segments):
        assert (found.index, found.start_sample) == (index, position)
        assert found.end_sample > found.start_sample
        assert (found.start_s, found.end_s) == (found.start_sample / RATE, found.end_sample / RATE)
        assert_holds(found, signal)
        assert 0 <= found.speech_ratio <= 1
        position = found.end_sample
    assert position == len(signal)


def probable(samples, seed, runs=12):
    """Made probabilities, a random level for each of some runs of samples, plus a little of its own for each sample."""
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.integers(0, samples + 1, runs))
    levels = rng.choice([0.0, 0.2, 0.4, 0.45, 0.6, 0.9], runs + 1)
    signal = levels[np.searchsorted(edges, np.arange(samples), side="right")]
    return (signal + 0.01 * rng.random(samples)).astype(np.float32)


@st.composite
def windows(draw):
    window = draw(st.integers(1, 4000))
    return window, draw(st.integers(max(1, window // 20), window)), draw(st.integers(0, window - 1))


@given(st.integers(0, 20_000), windows())
def test_window_bounds_lose_nothing(samples, drawn):
    window, hop, min_tail = drawn
    bounds = window_bounds(samples, window=window, hop=hop, min_tail=min_tail)
    if samples == 0:
        assert bounds == []
        return
    assert [start for start, _ in bounds] == [k * hop for k in range(len(bounds))]
    assert bounds[-1][1] == samples
    assert all(end - start == window for start, end in bounds[:-1])
    assert bounds[-1][1] - bounds[-1][0] < window + max(min_tail, 1)
    assert all(later[1] > earlier[1] for earlier, later in itertools.pairwise(bounds))
    assert len(bounds) == 1 or bounds[-1][1] - bounds[-1][0] >= min_tail
    if hop == window:
        assert sum(end - start for start, end in bounds) == samples


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 20_000), windows(), st.lists(st.integers(0, 20_000), max_size=6), st.integers(0, 9))
def test_windows_stream_as_they_stand(samples, drawn, splits, seed):
    window, hop, min_tail = drawn
    options = SegmentOptions(window_s=window / RATE, hop_s=hop / RATE, min_tail_s=min_tail / RATE)
    signal = probable(samples, seed)
    found = cut(signal, options, [split for split in splits if split < samples])
    expected = window_bounds(samples, window=window, hop=hop, min_tail=min_tail)
    assert [(s.start_sample, s.end_sample) for s in found] == expected
    chunk_max = [signal[at : at + CHUNK].max() for at in range(0, samples, CHUNK)]
    speech = np.repeat(np.array(chunk_max) >= options.vad_threshold, CHUNK)[:samples]
    for index, s in enumerate(found):
        assert s.index == index
        assert_holds(s, signal)
        assert s.speech_ratio == pytest.approx(speech[s.start_sample : s.end_sample].mean())


VAD = SegmentOptions(
    method="vad", vad_min_speech_ms=100, vad_min_silence_ms=200, vad_pad_ms=30, vad_max_segment_s=1.0
)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 120_000),
    st.lists(st.integers(0, 120_000), max_size=6),
    st.integers(0, 10_000),
    st.integers(1, 40),
)
def test_speech_and_silence_tile(samples, splits, seed, runs):
    signal = probable(samples, seed, runs)
    found = cut(signal, VAD, [split for split in splits if split < samples])
    assert_tiles(found, signal)
    longest = RATE * (VAD.vad_max_segment_s + (VAD.vad_min_speech_ms + VAD.vad_min_silence_ms) / 1000)
    for s in found:
        assert s.end_sample - s.start_sample <= longest + CHUNK
        assert s.speech_ratio == 0 or s.speech_ratio >= VAD.least_speech_ratio
    whole = cut(signal, VAD)
    assert [(s.start_sample, s.end_sample, s.speech_ratio) for s in found] == [
        (s.start_sample, s.end_sample, s.speech_ratio) for s in whole
    ]


def levels(*stretches):
    """A signal of (chunks, probability) stretches."""
    return np.concatenate([np.full(chunks * CHUNK, level, np.float32) for chunks, level in stretches])


def spans(segments):
    """Segments as (first chunk, last chunk, is speech), where they lie on chunks."""
    return [(s.start_sample / CHUNK, s.end_sample / CHUNK, s.speech_ratio > 0) for s in segments]


PLAIN = VAD.model_copy(update={"vad_pad_ms": 0})


def test_hysteresis_holds_speech_between_the_thresholds():
    signal = levels((20, 0.0), (10, 0.9), (10, 0.4), (10, 0.9), (20, 0.0))
    assert spans(cut(signal, PLAIN)) == [(0, 20, False), (20, 50, True), (50, 70, False)]
    assert spans(cut(levels((20, 0.0), (10, 0.4), (20, 0.0)), PLAIN)) == [
        (0, 31.25, False),
        (31.25, 50, False),
    ]


def test_short_silence_does_not_part_and_long_does():
    assert spans(cut(levels((8, 0.9), (6, 0.0), (8, 0.9)), PLAIN)) == [(0, 22, True)]
    assert spans(cut(levels((8, 0.9), (7, 0.0), (8, 0.9)), PLAIN)) == [
        (0, 8, True),
        (8, 15, False),
        (15, 23, True),
    ]


def test_a_short_sound_is_silence_with_ratio_zero():
    found = cut(levels((10, 0.0), (3, 0.99), (10, 0.0)), PLAIN)
    assert spans(found) == [(0, 23, False)]
    assert found[0].speech_ratio == 0


def test_padding_widens_speech_on_both_sides():
    speech = cut(levels((20, 0.0), (10, 0.9), (20, 0.0)), VAD)[1]
    assert (speech.start_sample, speech.end_sample) == (20 * CHUNK - 480, 30 * CHUNK + 480)
    assert speech.speech_ratio == pytest.approx(10 * CHUNK / (10 * CHUNK + 960))


def test_long_speech_is_split_in_its_longest_late_pause():
    found = cut(levels((18, 0.9), (3, 0.0), (3, 0.9), (5, 0.0), (20, 0.9)), PLAIN)
    assert spans(found) == [(0, 26.5, True), (26.5, 49, True)]


def test_long_speech_without_a_pause_is_split_hard():
    found = cut(levels((100, 0.9)), PLAIN)
    assert [s.end_sample for s in found] == [16_000, 32_000, 48_000, 51_200]
    assert all(s.speech_ratio == 1 for s in found)


def test_long_silence_comes_out_in_pieces_at_once():
    def hours():
        for _ in range(3600):
            yield np.zeros((RATE, 1), np.float32)

    taken = [next(segment(hours(), options=VAD, vad=SCRIPTED)) for _ in range(2)]
    assert [s.end_sample for s in taken] == [16_000, 16_000]


@pytest.mark.parametrize("method", ["window", "vad"])
def test_held_memory_is_bounded(method, monkeypatch):
    """The most samples held at once, over ten minutes that keep changing between speech and silence."""
    import emolake.tasks.segment as module

    most = 0
    push = module._Track.push

    def watched(self, samples):
        nonlocal most
        yield from push(self, samples)
        most = max(most, len(self._held))

    monkeypatch.setattr(module._Track, "push", watched)
    options = VAD.model_copy(update={"method": method, "window_s": 2.0, "hop_s": 2.0, "min_tail_s": 0.5})
    signal = probable(600 * RATE, 3, runs=900)
    segments = cut(signal, options, range(RATE, 600 * RATE, RATE))
    assert_tiles(segments, signal)
    assert most <= 4 * RATE


def test_channels():
    stereo = np.stack([probable(30_000, 1), probable(30_000, 2)], axis=1)
    options = {"window_s": 0.5, "hop_s": 0.5, "min_tail_s": 0.1}
    mixed = cut(stereo, SegmentOptions(**options))
    assert {s.channel for s in mixed} == {0}
    assert_tiles(mixed, stereo.mean(axis=1, dtype=np.float32))
    split = cut(stereo, SegmentOptions(channels="split", **options), [1, 777, 20_000])
    for channel in (0, 1):
        assert_tiles([s for s in split if s.channel == channel], stereo[:, channel])
    chosen = cut(stereo, SegmentOptions(channels=[1, 7], **options))
    assert {s.channel for s in chosen} == {1}
    assert_tiles(chosen, stereo[:, 1])


def test_channels_that_do_not_exist():
    with pytest.raises(BadRecordingError, match=r"has 1 channel\(s\).*\[1, 2\].*none exists") as caught:
        cut(np.zeros(100, np.float32), SegmentOptions(channels=[1, 2]))
    assert (caught.value.reason, caught.value.stage) == (Reason.UNSUPPORTED, "segment")


@pytest.mark.parametrize("method", ["window", "vad"])
def test_an_open_gate_lets_silence_through(method):
    signal = levels((80, 0.1), (80, 0.9), (80, 0.1))
    options = VAD.model_copy(
        update={"method": method, "min_speech_ratio": 0.0, "window_s": 1.0, "hop_s": 1.0, "min_tail_s": 0.1}
    )
    found = cut(signal, options)
    assert min(s.speech_ratio for s in found) == 0
    for s in found:
        assert_holds(s, signal, min_speech_ratio=0.0)


def test_segments_do_not_keep_the_stream_alive():
    options = SegmentOptions(window_s=1, hop_s=1, min_tail_s=0.5, min_speech_ratio=0)
    found = cut(np.zeros(RATE * 3, np.float32), options)
    assert len(found) == 3
    assert all(s.samples.base is None and s.samples.dtype == np.float32 for s in found)


def test_no_blocks_no_segments():
    assert cut(np.zeros((0, 2), np.float32), SegmentOptions()) == []


def test_another_rate_is_refused():
    with pytest.raises(ValueError, match="8000 Hz, expected 16000"):
        list(
            segment(
                iter([np.zeros((10, 1), np.float32)]),
                options=SegmentOptions(),
                sampling_rate=8000,
                vad=SCRIPTED,
            )
        )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hop_s": 11}, "loses the audio"),
        ({"hop_s": 0}, "greater than 0"),
        ({"window_s": -1}, "greater than 0"),
        ({"min_tail_s": 10}, "lower min_tail_s"),
        ({"channels": []}, "at least one index"),
        ({"channels": [0, 0]}, "none twice"),
        ({"channels": [-1]}, "greater than or equal to 0"),
        ({"channels": "left"}, "mix"),
        ({"min_speech_ratio": 1.5}, "less than or equal to 1"),
        ({"vad_pad_ms": 300}, "halve vad_pad_ms"),
        ({"vad_max_segment_s": 1.0}, "raise it"),
        ({"method": "vad", "min_speech_ratio": 0.5}, "lower min_speech_ratio"),
        ({"window": 10}, "Extra inputs"),
    ],
)
def test_wrong_options_say_what_to_do(wrong, said):
    with pytest.raises(ValidationError, match=said):
        SegmentOptions(**wrong)


def test_options_are_frozen_and_have_the_documented_defaults():
    options = SegmentOptions()
    assert (options.method, options.window_s, options.hop_s, options.min_tail_s) == (
        "window",
        10.0,
        10.0,
        1.0,
    )
    assert (options.channels, options.min_speech_ratio) == ("mix", 0.1)
    with pytest.raises(ValidationError):
        options.window_s = 5  # type: ignore[misc]


@pytest.mark.parametrize("method", ["window", "vad"])
def test_real_speech_is_found_and_silence_is_not(method, shared_data, detector):
    clips = sorted(shared_data.rglob("*.flac"))[::150]
    silence = np.zeros(4 * RATE, np.float32)
    signal = np.concatenate([part for clip in clips for part in (load_mono(clip), silence)])
    options = SegmentOptions(method=method, window_s=2.0, hop_s=2.0, min_tail_s=0.5)
    found = cut(signal, options, range(5000, len(signal), 16_000), vad=detector)
    assert_tiles(found, signal)
    ratio = np.array([s.speech_ratio for s in found])
    own = [signal[s.start_sample : s.end_sample] for s in found]
    sounding = np.array([np.mean(samples != 0) for samples in own])
    loud = np.array([np.sqrt(np.mean(samples**2)) > 0.01 for samples in own])
    assert (sounding < 0.5).sum() >= len(clips)
    assert (ratio <= sounding + 0.1).all()
    assert np.mean(ratio[loud & (sounding > 0.5)] >= options.min_speech_ratio) > 0.9
    speech_s = sum(s.speech_ratio * (s.end_s - s.start_s) for s in found)
    assert 0.3 < speech_s / (len(signal) / RATE - 4 * len(clips)) < 1.1


def test_state_is_reset_for_each_recording(detector):
    signal = (0.1 * np.random.default_rng(0).standard_normal(3 * RATE)).astype(np.float32)
    options = SegmentOptions(window_s=1, hop_s=1, min_tail_s=0.5, vad_threshold=0.05)
    first, second = cut(signal, options, vad=detector), cut(signal, options, vad=detector)
    assert [s.speech_ratio for s in first] == [s.speech_ratio for s in second]
