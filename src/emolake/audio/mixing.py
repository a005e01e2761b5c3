"""The mix-down of several channels: their mean, in which channels of opposite polarity do not cancel."""

from collections.abc import Iterator

import numpy as np

CANCELLING = -0.8
"""Correlation from which down channels cancel in their mean: less than a tenth of their power is left."""
_BLOCK_S = 1.0
_SILENCE = 1e-9  # of mean square, -90 dBFS
_COMPARABLE = 0.01  # of the other's mean square: a fainter channel, an echo perhaps, cancels nothing


class Mixer:
    """The mean of channels [n, channels], second by second from the start: where blocks are cut changes nothing.

    A channel that would cancel the first one with sound is turned around, from the second in which it shows on, and
    back when it would cancel it the other way. Channels of different voices never come near that.
    """

    def __init__(self, sampling_rate: int) -> None:
        self._size = max(1, round(_BLOCK_S * sampling_rate))
        self._held: list[np.ndarray] = []
        self._count = 0
        self._signs: np.ndarray | None = None

    def push(self, block: np.ndarray) -> Iterator[np.ndarray]:
        """Take the next samples [n, channels] float32; yield what is mixed of them, [m] float32."""
        if block.shape[1] == 1:
            yield block[:, 0]
            return
        start = 0
        while self._count + len(block) - start >= self._size:
            end = start + self._size - self._count
            yield self._mixed(np.concatenate([*self._held, block[start:end]]))
            self._held, self._count, start = [], 0, end
        if start < len(block):
            self._held.append(block[start:].copy())
            self._count += len(block) - start

    def finish(self) -> np.ndarray:
        """Return what is left, [m] float32."""
        held, self._held = self._held, []
        return self._mixed(np.concatenate(held)) if held else np.empty(0, np.float32)

    def _mixed(self, samples: np.ndarray) -> np.ndarray:
        signs = np.ones(samples.shape[1], np.float32) if self._signs is None else self._signs
        # A row a channel: sums along rows are quick.
        wide = np.ascontiguousarray(samples.T, np.float64)
        wide -= wide.mean(axis=1, keepdims=True)
        products = wide @ wide.T / len(samples)
        powers = np.diag(products)
        sounding = np.flatnonzero(powers > _SILENCE)
        if len(sounding):
            first = sounding[0]
            alike = products[first] / np.sqrt(powers[first] * powers.clip(_SILENCE))
            ratio = powers / powers[first]
            clear = (np.abs(alike) > -CANCELLING) & (ratio > _COMPARABLE) & (ratio < 1 / _COMPARABLE)
            signs = np.where(clear, signs[first] * np.sign(alike), signs).astype(np.float32)
        self._signs = signs
        turned = samples if (signs == 1).all() else samples * signs
        if turned.shape[1] == 2:  # the same to the bit, and several times as quick
            halves: np.ndarray = (turned[:, 0] + turned[:, 1]) * np.float32(0.5)
            return halves
        return np.asarray(turned.mean(axis=1, dtype=np.float32))
