"""Cuts a stream of audio into segments that tile it: fixed windows, or speech and what lies between.

All positions are whole samples, so lengths add up exactly. Segments come out when they are certain, a few seconds
later at most, and no more than the longest of them, the silence before it and those seconds is held for each channel.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from emolake.audio.conversation import ConversationMeter
from emolake.audio.cutting import Cutter, Span, SpeechCutter, WindowCutter
from emolake.audio.mixing import Mixer
from emolake.audio.voice_activity import SpeechDetector
from emolake.errors import BadRecordingError, Reason
from emolake.options import Options

Channel = Annotated[int, Field(ge=0)]


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


_SILENCE = np.empty(0, np.float32)
_AT_ONCE_S = 4.0
"""Seconds of a channel that are searched for speech together: each search has its costs, and moves what is held."""


def _cutter(options: SegmentOptions, sampling_rate: int) -> Cutter:
    def samples(ms: float) -> int:
        return round(ms * sampling_rate / 1000)

    if options.method == "window":
        window = max(1, round(options.window_s * sampling_rate))
        return WindowCutter(
            window=window,
            hop=max(1, round(options.hop_s * sampling_rate)),
            min_tail=min(window - 1, round(options.min_tail_s * sampling_rate)),
            threshold=options.vad_threshold,
        )
    return SpeechCutter(
        threshold=options.vad_threshold,
        min_speech=samples(options.vad_min_speech_ms),
        min_silence=samples(options.vad_min_silence_ms),
        pad=samples(options.vad_pad_ms),
        longest=samples(options.vad_max_segment_s * 1000),
    )


class _Track:
    """One channel on its way: its samples since the last cut, its detector's state and its cutter."""

    def __init__(
        self,
        channel: int,
        options: SegmentOptions,
        vad: SpeechDetector,
        sampling_rate: int,
        meter: ConversationMeter | None,
    ) -> None:
        self._channel = channel
        self._cutter = _cutter(options, sampling_rate)
        self._min_speech_ratio = options.min_speech_ratio
        self._stream = vad.stream()
        self._meter = meter
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
        samples = np.concatenate([_SILENCE, *self._waiting])
        self._waiting, self._waiting_samples = [], 0
        probabilities = self._stream.push(samples)
        if self._meter is not None:
            self._meter.push(self._channel, probabilities, samples)
        self._held = np.concatenate([self._held, samples])
        yield from self._segments(self._cutter.advance(probabilities))
        self._held = self._held[self._cutter.kept_from - self._offset :]
        self._offset = self._cutter.kept_from

    def finish(self) -> Iterator[Segment]:
        yield from self._search()
        probabilities = self._stream.flush()
        if self._meter is not None:
            self._meter.finish(self._channel, probabilities)
        length = self._offset + len(self._held)
        yield from self._segments(self._cutter.finish(probabilities, length))

    def _segments(self, spans: Iterator[Span]) -> Iterator[Segment]:
        for start, end, ratio in spans:
            samples = _SILENCE
            if ratio >= self._min_speech_ratio:
                # A copy: the segment must not keep alive all that is held.
                samples = self._held[start - self._offset : end - self._offset].copy()
            start_s, end_s = start / self._rate, end / self._rate
            yield Segment(self._channel, self._index, start, end, start_s, end_s, samples, ratio)
            self._index += 1


class _Measured:
    """A channel of which only its voice activity is taken, for the meter."""

    def __init__(self, channel: int, vad: SpeechDetector, meter: ConversationMeter) -> None:
        self._channel = channel
        self._stream = vad.stream()
        self._meter = meter

    def push(self, samples: np.ndarray) -> Iterator[Segment]:
        self._meter.push(self._channel, self._stream.push(samples), samples)
        return iter(())

    def finish(self) -> Iterator[Segment]:
        self._meter.finish(self._channel, self._stream.flush())
        return iter(())


def _chosen(
    options: SegmentOptions, available: int, excluded: Collection[int], unscored: Collection[int]
) -> tuple[list[int], list[int]]:
    """Return the indices of the channels to segment or to mix, and of those that are only measured.

    Channels that the recording does not have are left out.
    """
    wanted = range(available) if isinstance(options.channels, str) else options.channels
    existing = [channel for channel in wanted if channel < available]
    # One channel is all voices, whoever's channel 0 is of recordings with several.
    unscored = unscored if available > 1 else ()
    measured = [channel for channel in existing if channel not in excluded and channel in unscored]
    chosen = [channel for channel in existing if channel not in excluded and channel not in unscored]
    if existing and not chosen:
        why = "policy.exclude_channels leaves" if not measured else "[policy] and the roles leave"
        raise BadRecordingError(Reason.EXCLUDED, f"{why} none of its channels {existing}", stage="segment")
    if not chosen:
        raise BadRecordingError(
            Reason.UNSUPPORTED,
            f"the recording has {available} channel(s), and of the chosen {list(options.channels)}, counted "
            'from 0, none exists; choose others, or "mix"',
            stage="segment",
        )
    return chosen, measured


def segment(
    blocks: Iterator[np.ndarray],
    *,
    options: SegmentOptions,
    excluded_channels: Collection[int] = (),
    unscored_channels: Collection[int] = (),
    sampling_rate: int = 16_000,
    vad: SpeechDetector,
    meter: ConversationMeter | None = None,
) -> Iterator[Segment]:
    """Cut a recording into segments, from its blocks [n, channels] float32; where blocks are cut changes nothing.

    Each channel's segments come in the order of time; those of several channels alternate. Those with less speech than
    `options.min_speech_ratio` come without their samples, so that silence is neither kept nor sent on.

    Args:
        blocks: the recording.
        options: how it is cut.
        excluded_channels: channels that are segmented neither by themselves nor in the mix, and are not measured.
        unscored_channels: channels that are not segmented either, and whose voice activity `meter` is given; a
            recording of one channel has none of them.
        sampling_rate: of the blocks in Hz.
        vad: finds speech.
        meter: is given the voice activity of every channel, or of the mix.

    Raises:
        BadRecordingError: none of the chosen channels exists, or all are excluded.
    """
    if sampling_rate != vad.sampling_rate:
        raise ValueError(f"found blocks of {sampling_rate} Hz, expected {vad.sampling_rate} Hz; resample")
    tracks: dict[int, _Track | _Measured] = {}
    mixer = Mixer(sampling_rate) if options.channels == "mix" else None
    for block in blocks:
        if not tracks:
            chosen, aside = _chosen(options, block.shape[1], excluded_channels, unscored_channels)
            own = chosen if mixer is None else [0]
            tracks = {c: _Track(c, options, vad, sampling_rate, meter) for c in own}
            if meter is not None:
                # Beside a mix, whose channels are not distinguished, there is nothing to measure.
                tracks |= {c: _Measured(c, vad, meter) for c in aside if mixer is None}
                meter.begin(list(tracks))
        for channel, track in tracks.items():
            for mono in [block[:, channel]] if mixer is None else mixer.push(block[:, chosen]):
                yield from track.push(mono)
    for track in tracks.values():
        if mixer is not None:
            yield from track.push(mixer.finish())
        yield from track.finish()
