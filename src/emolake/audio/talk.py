"""The stretches of speech of one channel, from its voice activity: what counts as talk, and how loud it is.

Silences shorter than 200 ms are bridged, as they are stops and breaths rather than pauses (Brady 1968, A statistical
analysis of on-off patterns in 16 conversations, Bell System Technical Journal 47). What is then shorter than 100 ms is
a click and no talk.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from emolake.audio.voice_activity import CHUNK, HYSTERESIS, SAMPLING_RATE, SpeechDetector

_BRIDGED = round(0.2 * SAMPLING_RATE)
_CLICK = round(0.1 * SAMPLING_RATE)


@dataclass(slots=True)
class _Power:
    """Some samples: how many, their sum, and the sum of their squares."""

    samples: int = 0
    first: float = 0.0
    second: float = 0.0

    def __iadd__(self, other: "_Power") -> "_Power":
        self.samples += other.samples
        self.first += other.first
        self.second += other.second
        return self

    @property
    def level_dbfs(self) -> float | None:
        """Root mean square without the offset; None of no sample, and of digital silence."""
        if not self.samples:
            return None
        square = self.second / self.samples
        power = square - (self.first / self.samples) ** 2
        return 10 * math.log10(power) if power > 1e-12 * square else None


class Talk:
    """The stretches of speech of one channel, and how loud they are."""

    def __init__(self, threshold: float) -> None:
        self._on = threshold
        self._off = max(threshold - HYSTERESIS, 0.01)
        self._seen = 0
        self._voice: int | None = None
        """Where the stretch at hand begins."""
        self._quiet: int | None = None
        """Where the silence at its end begins, which may yet be bridged."""
        self._is_certain = False
        """Whether it is long enough to be no click."""
        self._pending = np.empty(0, np.float32)
        # All talk, the stretch at hand, and the silence at its end.
        self._total, self._stretch, self._rest = _Power(), _Power(), _Power()

    @property
    def certain_until(self) -> int:
        """Up to which sample no later one changes who speaks."""
        if self._voice is None:
            return self._seen
        if not self._is_certain:
            return self._voice
        return self._seen if self._quiet is None else self._quiet

    @property
    def level_dbfs(self) -> float | None:
        """Root mean square of all talk without its offset; None of no talk, and of digital silence."""
        return self._total.level_dbfs

    def push(self, probabilities: np.ndarray, samples: np.ndarray) -> list[tuple[int, bool]]:
        """Take the next samples and the chunks that they complete; return where speech begins (True) and stops."""
        self._pending = np.concatenate([self._pending, samples])
        used = len(probabilities) * CHUNK
        chunks = self._pending[:used].reshape(-1, CHUNK).astype(np.float64)
        self._pending = self._pending[used:].copy()
        sums, squares = chunks.sum(axis=1).tolist(), (chunks**2).sum(axis=1).tolist()
        changes: list[tuple[int, bool]] = []
        for probability, first, second in zip(probabilities.tolist(), sums, squares, strict=True):
            self._take(probability, _Power(CHUNK, first, second), changes)
        return changes

    def finish(self, probabilities: np.ndarray) -> tuple[int, list[tuple[int, bool]]]:
        """Take the chunk that the end cut short, if any; return how many samples there were, and the last changes."""
        changes: list[tuple[int, bool]] = []
        if len(probabilities):
            left = self._pending.astype(np.float64)
            power = _Power(len(left), float(left.sum()), float((left**2).sum()))
            self._take(float(probabilities[0]), power, changes)
        if self._voice is not None:
            self._close(self._seen if self._quiet is None else self._quiet, changes)
        return self._seen, changes

    def _take(self, probability: float, power: "_Power", changes: list[tuple[int, bool]]) -> None:
        start = self._seen
        self._seen += power.samples
        if self._voice is None:
            if probability < self._on:
                return
            self._voice, self._stretch, self._rest = start, _Power(), _Power()
        elif probability >= self._on:
            self._quiet = None
        elif probability < self._off and self._quiet is None:
            self._quiet = start
        if self._quiet is not None:
            self._rest += power
            if self._seen - self._quiet >= _BRIDGED:
                self._close(self._quiet, changes)
            return
        self._stretch += power
        if self._rest.samples:
            self._stretch += self._rest
            self._rest = _Power()
        if not self._is_certain and self._seen - self._voice >= _CLICK:
            self._is_certain = True
            changes.append((self._voice, True))

    def _close(self, end: int, changes: list[tuple[int, bool]]) -> None:
        if self._is_certain:
            changes.append((end, False))
            self._total += self._stretch
        self._voice, self._quiet, self._is_certain = None, None, False


def talk_spans(
    blocks: Iterable[np.ndarray], *, vad: SpeechDetector, threshold: float = 0.5
) -> list[tuple[int, int]]:
    """Return where one channel speaks, `[start, end)` in samples at 16 kHz.

    Args:
        blocks: the channel's samples, each [n] float32.
        vad: finds speech.
        threshold: probability from which a chunk of 32 ms is speech.
    """
    stream, talk = vad.stream(), Talk(threshold)
    changes: list[tuple[int, bool]] = []
    for block in blocks:
        changes += talk.push(stream.push(block), block)
    changes += talk.finish(stream.flush())[1]
    edges = [at for at, _ in changes]
    return list(zip(edges[::2], edges[1::2], strict=True))
