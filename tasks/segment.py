"""Cuts a stream of audio into segments that tile it: fixed windows, or speech and what lies between.

All positions are whole samples, so lengths add up exactly. Segments come out when they are certain, a few
seconds later at most, and no more than the longest of them, the silence before it and those seconds is held for each
channel.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol, Self

import numpy as np
from pydantic import Field, model_validator

from emolake.audio.mixing import Mixer
from emolake.audio.voice_activity import CHUNK, SpeechDetector
from emolake.errors import BadRecordingError, Reason
from emolake.options import Options

Channel = Annotated[int, Field(ge=0)]
_HYSTERESIS = 0.15
"""Speech ends below the threshold less this, as in Silero's own segmentation."""
_PAUSE_CHUNKS = 3
"""A long stretch of speech is split in a pause of at least so many chunks, 96 ms."""


class SegmentOptions(Options):
    """How recordings are cut; the keys of [segmentation]."""

    method: Literal["window", "vad"] = "window"
    """Fixed windows, or stretches of speech and what lies between them."""
    window_s: float = Field(10.0, gt=0)
    """Length of a window in seconds."""
    hop_s: float = Field(10.0, gt=0)
    """Seconds from one window's start to the next one's."""
    min_tail_s: float = Field(1.0, ge=0)
    """A last window shorter than this, in seconds, is joined to the one before it."""
    channels: Literal["mix", "split"] | tuple[Channel, ...] = "mix"
    """The mean of all channels (none cancels another), each channel by itself, or those of a list of indices."""
    min_speech_ratio: float = Field(0.1, ge=0, le=1)
    """A segment with a smaller share of speech gets no label; 0 labels all."""
    vad_threshold: float = Field(0.5, gt=0, lt=1)
    """Probability from which a chunk of 32 ms is speech."""
    vad_min_speech_ms: int = Field(250, gt=0)
    """Shorter speech, in milliseconds, is no segment."""
    vad_min_silence_ms: int = Field(500, gt=0)
    """A shorter silence, in milliseconds, does not part two stretches of speech."""
    vad_pad_ms: int = Field(30, ge=0)
    """Milliseconds of silence kept on both sides of speech."""
    vad_max_segment_s: float = Field(15.0, gt=0)
    """Longer speech, in seconds, is split at a long pause, and longer silence anywhere; a remainder below the
    shortest speech or silence stays with it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hop_s > self.window_s:
            raise ValueError(
                f"hop_s is {self.hop_s:g} and window_s is {self.window_s:g}: a hop beyond the window loses "
                "the audio between two windows; set hop_s to window_s or less"
            )
        if self.min_tail_s >= self.window_s:
            raise ValueError(
                f"min_tail_s is {self.min_tail_s:g} and window_s is {self.window_s:g}: a tail must be "
                "shorter than a window; lower min_tail_s"
            )
        if isinstance(self.channels, tuple) and not 0 < len(set(self.channels)) == len(self.channels):
            raise ValueError(
                f"channels is {list(self.channels)}: expected at least one index and none twice; "
                'name each channel once, or use "mix" or "split"'
            )
        if 2 * self.vad_pad_ms > self.vad_min_silence_ms:
            raise ValueError(
                f"vad_pad_ms is {self.vad_pad_ms} and vad_min_silence_ms is {self.vad_min_silence_ms}: the "
                "padding of two neighbours must fit into the silence between them; halve vad_pad_ms"
            )
        least_s = 2 * (self.vad_min_speech_ms + self.vad_min_silence_ms) / 1000
        if self.vad_max_segment_s < least_s:
            raise ValueError(
                f"vad_max_segment_s is {self.vad_max_segment_s:g}: expected at least {least_s:g}, twice the "
                "shortest speech and silence together; raise it"
            )
        if self.method == "vad" and self.min_speech_ratio > self.least_speech_ratio:
            raise ValueError(
                f"min_speech_ratio is {self.min_speech_ratio:g}: with these vad_min_speech_ms and "
                f"vad_min_silence_ms a segment of speech may hold as little as {self.least_speech_ratio:.3f} "
                "of it, and would get no label; lower min_speech_ratio or vad_min_silence_ms"
            )
        return self

    @property
    def least_speech_ratio(self) -> float:
        """Bound of a speech segment's ratio from below: the shortest speech with a silence on either side."""
        return self.vad_min_speech_ms / (self.vad_min_speech_ms + 2 * self.vad_min_silence_ms)

    @property
    def longest_s(self) -> float:
        """The longest that a segment can be, in seconds."""
        if self.method == "vad":
            return self.vad_max_segment_s + (self.vad_min_speech_ms + self.vad_min_silence_ms) / 1000
        return self.window_s + self.min_tail_s

    def ungated(self) -> Self:
        """Return the same cuts, of which every segment has its samples, silent ones too."""
        return self.model_copy(update={"min_speech_ratio": 0.0})


@dataclass(frozen=True, eq=False)
class Segment:
    """One stretch of one channel, `[start_sample, end_sample)` at the rate of the stream."""

    channel: int
    """The recording's own channel; 0 for the mix-down."""
    index: int
    """Counts each channel's segments from 0, in the order of time."""
    start_sample: int
    end_sample: int
    start_s: float
    end_s: float
    samples: np.ndarray
    """[end_sample - start_sample] float32; empty where there is less speech than `min_speech_ratio` asks for."""
    speech_ratio: float
    """Share of the segment that is speech, 0 to 1."""


class _Span(NamedTuple):
    start: int
    end: int
    speech_ratio: float


class _Cutter(Protocol):
    """Decides where to cut one channel, from the probabilities of its chunks alone."""

    kept_from: int
    """No span to come begins before this sample."""

    def advance(self, probabilities: np.ndarray) -> Iterator[_Span]:
        """Take the next whole chunks; return the spans that no later sample can change."""
        ...

    def finish(self, probabilities: np.ndarray, samples: int) -> Iterator[_Span]:
        """Take the chunk that the end cut short, if any, and the length of the channel; return the rest."""
        ...


def window_bounds(samples: int, *, window: int, hop: int, min_tail: int) -> list[tuple[int, int]]:
    """Start and end of each window over so many samples; all in samples.

    Windows start at multiples of `hop`; the last one reaches the end, and none lies within the one before it.
    A last window shorter than `min_tail` is joined to the one before it.

    >>> window_bounds(25, window=10, hop=10, min_tail=3)
    [(0, 10), (10, 20), (20, 25)]
    >>> window_bounds(22, window=10, hop=10, min_tail=3)
    [(0, 10), (10, 22)]
    """
    if samples == 0:
        return []
    following = max(0, -(-(samples - window) // hop))
    bounds = [(k * hop, min(k * hop + window, samples)) for k in range(following + 1)]
    if following and samples - following * hop < min_tail:
        bounds.pop()
        bounds[-1] = (bounds[-1][0], samples)
    return bounds


class _WindowCutter:
    """Fixed windows; the ratio is the share of samples in chunks at or over the threshold."""

    def __init__(self, options: SegmentOptions, sampling_rate: int) -> None:
        self._window = max(1, round(options.window_s * sampling_rate))
        self._hop = max(1, round(options.hop_s * sampling_rate))
        self._min_tail = min(self._window - 1, round(options.min_tail_s * sampling_rate))
        self._threshold = options.vad_threshold
        self._speech = np.empty(0, bool)
        self._first_chunk = 0
        self.kept_from = 0

    def advance(self, probabilities: np.ndarray) -> Iterator[_Span]:
        self._speech = np.concatenate([self._speech, probabilities >= self._threshold])
        seen = (self._first_chunk + len(self._speech)) * CHUNK
        # A window is certain once another must follow it, long enough not to be joined to it.
        while seen > self.kept_from + max(self._window, self._hop + self._min_tail):
            yield self._span(self.kept_from, self.kept_from + self._window)
            self.kept_from += self._hop
            done = self.kept_from // CHUNK - self._first_chunk
            self._speech = self._speech[done:]
            self._first_chunk += done

    def finish(self, probabilities: np.ndarray, samples: int) -> Iterator[_Span]:
        self._speech = np.concatenate([self._speech, probabilities >= self._threshold])
        left = samples - self.kept_from
        for start, end in window_bounds(left, window=self._window, hop=self._hop, min_tail=self._min_tail):
            yield self._span(self.kept_from + start, self.kept_from + end)

    def _span(self, start: int, end: int) -> _Span:
        first, last = start // CHUNK, -(-end // CHUNK)
        edges = np.clip(np.arange(first, last + 1) * CHUNK, start, end)
        speech = self._speech[first - self._first_chunk : last - self._first_chunk]
        return _Span(start, end, float(np.diff(edges)[speech].sum()) / (end - start))


class _SpeechCutter:
    """Speech with hysteresis, and the stretches between; the ratio is the share of detected speech.

    A chunk over the threshold begins speech, and a silence of the shortest length ends it. What lies between
    counts as speech, pauses included, and what lies outside does not. So a stretch of silence has ratio 0,
    even where it holds a sound too short to be speech; and a segment of speech has at least the
    least_speech_ratio of the options, which they hold against the gate.
    """

    def __init__(self, options: SegmentOptions, sampling_rate: int) -> None:
        def samples(ms: float) -> int:
            return round(ms * sampling_rate / 1000)

        self._on = options.vad_threshold
        self._off = max(options.vad_threshold - _HYSTERESIS, 0.01)
        self._min_speech = samples(options.vad_min_speech_ms)
        self._min_silence = samples(options.vad_min_silence_ms)
        self._pad = samples(options.vad_pad_ms)
        # What padding leaves of the shortest silence; less than that at the start goes with the first speech.
        self._min_gap = max(CHUNK, self._min_silence - 2 * self._pad)
        self._longest = samples(options.vad_max_segment_s * 1000)
        self._seen = 0
        self.kept_from = 0
        self._voice: int | None = None
        """Where the speech at hand begins, or goes on from a split; None in silence."""
        self._quiet: int | None = None
        """Where the running pause of the speech at hand begins."""
        self._pauses: list[tuple[int, int]] = []
        """Pauses of the speech at hand, in which it can be split."""

    def advance(self, probabilities: np.ndarray) -> Iterator[_Span]:
        for probability in probabilities.tolist():
            self._note(probability)
            voice, quiet = self._voice, self._quiet
            if voice is None:
                yield from self._silence(self._seen - self._pad)
            elif quiet is not None and self._seen - quiet >= self._min_silence:
                yield from self._end_speech(voice, quiet, quiet + self._pad)
            elif (
                quiet is None and self._seen - self._segment_start(voice) >= self._longest + self._min_speech
            ):
                yield from self._split_speech(voice)

    def finish(self, probabilities: np.ndarray, samples: int) -> Iterator[_Span]:
        for probability in probabilities.tolist():
            self._note(probability)
        if self._voice is not None:
            quiet = samples if self._quiet is None else self._quiet
            # A pause that did not last long enough to end the speech belongs to it.
            end = quiet + self._pad if samples - quiet >= self._min_silence else samples
            yield from self._end_speech(self._voice, quiet, end)
        yield from self._silence(samples)
        if samples > self.kept_from:
            yield _Span(self.kept_from, samples, 0.0)

    def _note(self, probability: float) -> None:
        """Take one chunk: find where speech and its pauses begin and end."""
        start, self._seen = self._seen, self._seen + CHUNK
        if self._voice is None:
            self._voice = start if probability >= self._on else None
        elif probability >= self._on:
            if self._quiet is not None and start - self._quiet >= _PAUSE_CHUNKS * CHUNK:
                self._pauses.append((self._quiet, start))
            self._quiet = None
        elif probability < self._off and self._quiet is None:
            self._quiet = start

    def _segment_start(self, voice: int) -> int:
        """Return where the segment of the speech at hand begins: padded, or at the last cut where that is near."""
        start = voice - self._pad
        return start if start - self.kept_from >= self._min_gap else self.kept_from

    def _silence(self, end: int) -> Iterator[_Span]:
        """Yield pieces of silence of the greatest length, while what they leave is long enough to be a piece."""
        while end - self.kept_from >= self._longest + self._min_gap:
            yield _Span(self.kept_from, self.kept_from + self._longest, 0.0)
            self.kept_from += self._longest

    def _speech(self, voice: int, voice_end: int, end: int) -> Iterator[_Span]:
        """Yield the silence before the speech at hand, and the speech up to `end`."""
        start = self._segment_start(voice)
        yield from self._silence(start)
        if start > self.kept_from:
            yield _Span(self.kept_from, start, 0.0)
        yield _Span(start, end, (voice_end - max(voice, start)) / (end - start))
        self.kept_from = end

    def _end_speech(self, voice: int, voice_end: int, end: int) -> Iterator[_Span]:
        if voice_end - voice >= self._min_speech:
            yield from self._speech(voice, voice_end, end)
        self._voice, self._quiet, self._pauses = None, None, []

    def _split_speech(self, voice: int) -> Iterator[_Span]:
        """Cut in the middle of the longest pause of the second half, else at the greatest length."""
        limit = self._segment_start(voice) + self._longest
        usable = [
            (min(end, limit) - start, (start + min(end, limit)) // 2)
            for start, end in self._pauses
            if limit - self._longest // 2 <= start < limit
        ]
        cut = max(usable)[1] if usable else limit
        yield from self._speech(voice, cut, cut)
        self._voice = cut
        self._pauses = [(max(start, cut), end) for start, end in self._pauses if end > cut]


_SILENCE = np.empty(0, np.float32)
_AT_ONCE_S = 4.0
"""Seconds of a channel that are searched for speech together: each search has its costs, and moves what is held."""


class _Track:
    """One channel on its way: its samples since the last cut, its detector's state and its cutter."""

    def __init__(
        self, channel: int, options: SegmentOptions, vad: SpeechDetector, sampling_rate: int
    ) -> None:
        self._channel = channel
        cutter = _WindowCutter if options.method == "window" else _SpeechCutter
        self._cutter: _Cutter = cutter(options, sampling_rate)
        self._min_speech_ratio = options.min_speech_ratio
        self._stream = vad.stream()
        self._rate = sampling_rate
        self._held = np.empty(0, np.float32)
        self._waiting: list[np.ndarray] = []
        self._waiting_samples = 0
        self._offset = 0
        self._index = 0

    def push(self, samples: np.ndarray) -> Iterator[Segment]:
        self._waiting.append(samples)
        self._waiting_samples += len(samples)
        if self._waiting_samples >= _AT_ONCE_S * self._rate:
            yield from self._search()

    def _search(self) -> Iterator[Segment]:
        known = len(self._held)
        self._held = np.concatenate([self._held, *self._waiting])
        self._waiting, self._waiting_samples = [], 0
        yield from self._segments(self._cutter.advance(self._stream.push(self._held[known:])))
        self._held = self._held[self._cutter.kept_from - self._offset :]
        self._offset = self._cutter.kept_from

    def finish(self) -> Iterator[Segment]:
        yield from self._search()
        length = self._offset + len(self._held)
        yield from self._segments(self._cutter.finish(self._stream.flush(), length))

    def _segments(self, spans: Iterator[_Span]) -> Iterator[Segment]:
        for start, end, ratio in spans:
            samples = _SILENCE
            if ratio >= self._min_speech_ratio:
                # A copy: the segment must not keep alive all that is held.
                samples = self._held[start - self._offset : end - self._offset].copy()
            start_s, end_s = start / self._rate, end / self._rate
            yield Segment(self._channel, self._index, start, end, start_s, end_s, samples, ratio)
            self._index += 1


def _chosen(options: SegmentOptions, available: int, excluded: Collection[int]) -> list[int]:
    """Return the indices of the channels to analyse or to mix; those that the recording does not have are left out."""
    wanted = range(available) if isinstance(options.channels, str) else options.channels
    existing = [channel for channel in wanted if channel < available]
    chosen = [channel for channel in existing if channel not in excluded]
    if existing and not chosen:
        raise BadRecordingError(
            Reason.EXCLUDED,
            f"policy.exclude_channels leaves none of its channels {existing}",
            stage="segment",
        )
    if not chosen:
        raise BadRecordingError(
            Reason.UNSUPPORTED,
            f"the recording has {available} channel(s), and of the chosen {list(options.channels)}, counted "
            'from 0, none exists; choose others, or "mix"',
            stage="segment",
        )
    return chosen


def segment(
    blocks: Iterator[np.ndarray],
    *,
    options: SegmentOptions,
    excluded_channels: Collection[int] = (),
    sampling_rate: int = 16_000,
    vad: SpeechDetector,
) -> Iterator[Segment]:
    """Cut a recording into segments, from its blocks [n, channels] float32; where blocks are cut changes nothing.

    Each channel's segments come in the order of time; those of several channels alternate. Those with less speech than
    `options.min_speech_ratio` come without their samples, so that silence is neither kept nor sent on.
    `excluded_channels` are segmented neither by themselves nor in the mix. Raises BadRecordingError where none of the
    chosen channels exists, or all are excluded.
    """
    if sampling_rate != vad.sampling_rate:
        raise ValueError(f"found blocks of {sampling_rate} Hz, expected {vad.sampling_rate} Hz; resample")
    tracks: dict[int, _Track] = {}
    mixer = Mixer(sampling_rate) if options.channels == "mix" else None
    for block in blocks:
        if not tracks:
            chosen = _chosen(options, block.shape[1], excluded_channels)
            own = chosen if mixer is None else [0]
            tracks = {c: _Track(c, options, vad, sampling_rate) for c in own}
        for channel, track in tracks.items():
            for mono in [block[:, channel]] if mixer is None else mixer.push(block[:, chosen]):
                yield from track.push(mono)
    for track in tracks.values():
        if mixer is not None:
            yield from track.push(mixer.finish())
        yield from track.finish()
