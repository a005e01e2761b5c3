"""Where one channel is cut, from its voice activity alone: into fixed windows, or speech and what lies between.

All positions are whole samples. A span comes out as soon as no later sample can change it.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from emolake.audio.voice_activity import CHUNK, HYSTERESIS

_PAUSE_CHUNKS = 3
"""A long stretch of speech is split in a pause of at least so many chunks, 96 ms."""


class Span(NamedTuple):
    """One segment to be: `[start, end)` in samples, and the share of it that is speech."""

    start: int
    end: int
    speech_ratio: float


class Cutter(Protocol):
    """Decides where to cut one channel, from the probabilities of its chunks alone."""

    kept_from: int
    """No span to come begins before this sample."""

    def advance(self, probabilities: np.ndarray) -> Iterator[Span]:
        """Take the next whole chunks; return the spans that no later sample can change."""
        ...

    def finish(self, probabilities: np.ndarray, samples: int) -> Iterator[Span]:
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


class WindowCutter:
    """Fixed windows; the ratio is the share of samples in chunks at or over the threshold."""

    def __init__(self, *, window: int, hop: int, min_tail: int, threshold: float) -> None:
        """Take lengths in samples, and the probability from which a chunk is speech."""
        self._window = window
        self._hop = hop
        self._min_tail = min_tail
        self._threshold = threshold
        self._speech = np.empty(0, bool)
        self._first_chunk = 0
        self.kept_from = 0

    def advance(self, probabilities: np.ndarray) -> Iterator[Span]:
        """Yield the windows that the next chunks make certain."""
        self._speech = np.concatenate([self._speech, probabilities >= self._threshold])
        seen = (self._first_chunk + len(self._speech)) * CHUNK
        # A window is certain once another must follow it, long enough not to be joined to it.
        while seen > self.kept_from + max(self._window, self._hop + self._min_tail):
            yield self._span(self.kept_from, self.kept_from + self._window)
            self.kept_from += self._hop
            done = self.kept_from // CHUNK - self._first_chunk
            self._speech = self._speech[done:]
            self._first_chunk += done

    def finish(self, probabilities: np.ndarray, samples: int) -> Iterator[Span]:
        """Yield the windows that are left, the last of which reaches the end."""
        self._speech = np.concatenate([self._speech, probabilities >= self._threshold])
        left = samples - self.kept_from
        for start, end in window_bounds(left, window=self._window, hop=self._hop, min_tail=self._min_tail):
            yield self._span(self.kept_from + start, self.kept_from + end)

    def _span(self, start: int, end: int) -> Span:
        first, last = start // CHUNK, -(-end // CHUNK)
        edges = np.clip(np.arange(first, last + 1) * CHUNK, start, end)
        speech = self._speech[first - self._first_chunk : last - self._first_chunk]
        return Span(start, end, float(np.diff(edges)[speech].sum()) / (end - start))


class SpeechCutter:
    """Speech with hysteresis, and the stretches between; the ratio is the share of detected speech.

    A chunk over the threshold begins speech, and a silence of the shortest length ends it. What lies between
    counts as speech, pauses included, and what lies outside does not. So a stretch of silence has ratio 0,
    even where it holds a sound too short to be speech; and a segment of speech has at least the
    `SegmentOptions.least_speech_ratio`, which the options compare with the gate.
    """

    def __init__(
        self, *, threshold: float, min_speech: int, min_silence: int, pad: int, longest: int
    ) -> None:
        """Take the probability from which a chunk begins speech, and lengths in samples."""
        self._on = threshold
        self._off = max(threshold - HYSTERESIS, 0.01)
        self._min_speech = min_speech
        self._min_silence = min_silence
        self._pad = pad
        # What padding leaves of the shortest silence; less than that at the start goes with the first speech.
        self._min_gap = max(CHUNK, self._min_silence - 2 * self._pad)
        self._longest = longest
        self._seen = 0
        self.kept_from = 0
        self._voice: int | None = None
        """Where the speech at hand begins, or goes on from a split; None in silence."""
        self._quiet: int | None = None
        """Where the running pause of the speech at hand begins."""
        self._pauses: list[tuple[int, int]] = []
        """Pauses of the speech at hand, in which it can be split."""

    def advance(self, probabilities: np.ndarray) -> Iterator[Span]:
        """Yield the speech and the silences that the next chunks make certain."""
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

    def finish(self, probabilities: np.ndarray, samples: int) -> Iterator[Span]:
        """Yield what is left, up to the end."""
        for probability in probabilities.tolist():
            self._note(probability)
        if self._voice is not None:
            quiet = samples if self._quiet is None else self._quiet
            # A pause that did not last long enough to end the speech belongs to it.
            end = quiet + self._pad if samples - quiet >= self._min_silence else samples
            yield from self._end_speech(self._voice, quiet, end)
        yield from self._silence(samples)
        if samples > self.kept_from:
            yield Span(self.kept_from, samples, 0.0)

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

    def _silence(self, end: int) -> Iterator[Span]:
        """Yield pieces of silence of the greatest length, while what they leave is long enough to be a piece."""
        while end - self.kept_from >= self._longest + self._min_gap:
            yield Span(self.kept_from, self.kept_from + self._longest, 0.0)
            self.kept_from += self._longest

    def _speech(self, voice: int, voice_end: int, end: int) -> Iterator[Span]:
        """Yield the silence before the speech at hand, and the speech up to `end`."""
        start = self._segment_start(voice)
        yield from self._silence(start)
        if start > self.kept_from:
            yield Span(self.kept_from, start, 0.0)
        yield Span(start, end, (voice_end - max(voice, start)) / (end - start))
        self.kept_from = end

    def _end_speech(self, voice: int, voice_end: int, end: int) -> Iterator[Span]:
        if voice_end - voice >= self._min_speech:
            yield from self._speech(voice, voice_end, end)
        self._voice, self._quiet, self._pauses = None, None, []

    def _split_speech(self, voice: int) -> Iterator[Span]:
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
