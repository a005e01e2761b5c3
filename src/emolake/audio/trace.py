"""What a page draws of a recording's sound: its peaks, and where somebody speaks, by channel."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from emolake.audio.talk import Talk
from emolake.audio.voice_activity import SAMPLING_RATE, SpeechDetector

_FINEST = SAMPLING_RATE // 100
MOST_PEAKS = 1600


@dataclass(frozen=True)
class ChannelTrace:
    """One channel: `peaks` are the least and the greatest sample of equal parts of its time, -1 to 1."""

    channel: int
    peaks: np.ndarray
    """[parts, 2] float32"""
    talk: tuple[tuple[float, float], ...]
    """Stretches of speech, `[start, end)` in seconds."""


@dataclass(frozen=True)
class Trace:
    """A recording's channels, all of the same length in seconds."""

    duration_s: float
    channels: tuple[ChannelTrace, ...]


class _Channel:
    def __init__(self, channel: int, vad: SpeechDetector, threshold: float) -> None:
        self._channel = channel
        self._stream = vad.stream()
        self._talk = Talk(threshold)
        self._changes: list[tuple[int, bool]] = []
        self._peaks: list[np.ndarray] = []
        self._pending = np.empty(0, np.float32)

    def push(self, samples: np.ndarray) -> None:
        self._changes += self._talk.push(self._stream.push(samples), samples)
        pending = np.concatenate([self._pending, samples])
        whole = len(pending) // _FINEST * _FINEST
        self._note(pending[:whole].reshape(-1, _FINEST))
        self._pending = pending[whole:].copy()

    def finish(self, parts: int) -> ChannelTrace:
        self._changes += self._talk.finish(self._stream.flush())[1]
        if len(self._pending):
            self._note(self._pending[None])
        edges = [at / SAMPLING_RATE for at, _ in self._changes]
        talk = tuple(zip(edges[::2], edges[1::2], strict=True))
        return ChannelTrace(self._channel, _joined(np.concatenate(self._peaks), parts), talk)

    def _note(self, parts: np.ndarray) -> None:
        if len(parts):
            self._peaks.append(np.stack([parts.min(1), parts.max(1)], axis=1))


def _joined(peaks: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many peaks [parts, 2], each of as many of the given ones as its neighbours, or one less."""
    starts = np.unique(np.linspace(0, len(peaks), min(most, len(peaks)), endpoint=False).astype(int))
    return np.stack(
        [np.minimum.reduceat(peaks[:, 0], starts), np.maximum.reduceat(peaks[:, 1], starts)], axis=1
    )


def traced(
    blocks: Iterable[np.ndarray],
    *,
    vad: SpeechDetector,
    threshold: float = 0.5,
    left_out: Collection[int] = (),
    most_peaks: int = MOST_PEAKS,
) -> Trace:
    """Return the trace of a recording; memory grows by 800 bytes a second and channel.

    Args:
        blocks: the recording at 16 kHz, each [n, channels] float32; at least one sample.
        vad: finds speech.
        threshold: probability from which a chunk of 32 ms is speech.
        left_out: channels of which nothing is taken.
        most_peaks: parts that the time is divided into, or fewer.
    """
    channels: dict[int, _Channel] = {}
    samples = 0
    for block in blocks:
        if samples == 0:
            wanted = [channel for channel in range(block.shape[1]) if channel not in left_out]
            channels = {channel: _Channel(channel, vad, threshold) for channel in wanted}
        samples += len(block)
        for channel, trace in channels.items():
            trace.push(np.ascontiguousarray(block[:, channel]))
    return Trace(samples / SAMPLING_RATE, tuple(trace.finish(most_peaks) for trace in channels.values()))
