"""What the signal of a recording is like: its level, clipping, offset and bandwidth, and how its channels agree.

Everything is measured in frames at fixed places of the recording, a second of them at once: where its blocks are cut
changes nothing, to the last bit, and memory does not grow with its length.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len, rfft

from emolake.audio.mixing import CANCELLING

_FRAME_S = 0.032
_FRAMES_AT_ONCE = 32
_CALLS_COUNTED_AT_ONCE = (
    32  # all levels of all bands are most of a megabyte, which would empty the caches each time
)
_BAND_HZ = 125.0
_LOWEST_HZ = 150.0  # what is below is no speech: an offset, hum, wind
_BELOW_LOUDEST_DB = 50.0  # a band further down than this holds nothing but what a filter or a codec left
_SHARE_OF_FRAMES = 0.98  # by the loudest but these: clicks are short, and consonants are not
_FLOOR_DB, _CEILING_DB = -200, 300
_SAME = 0.999
_SILENT_DBFS = -85.0
_QUIET_DBFS = -55.0
_CLIPPED_SHARE = 0.001
_OFFSET = 0.001
_UNSCALED = 16.0

# The largest sample that a codec has, where it is not that of 16 bits or more.
_FULL_SCALE = {
    **dict.fromkeys(("ulaw", "pcm_mulaw"), 32_124 / 32_768),
    **dict.fromkeys(("alaw", "pcm_alaw"), 32_256 / 32_768),
    **dict.fromkeys(("pcm_u8", "pcm_s8"), 127 / 128),
}
_FLOATS = frozenset({"float", "double", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be"})


@dataclass(frozen=True)
class SignalFigures:
    """What the signal of a whole recording is like, at its own sampling rate; the columns of `recordings`."""

    level_dbfs: float | None
    """Root mean square of all channels without their offsets; None where every sample is the same."""
    clipped_share: float
    """Share of the samples that are at full scale."""
    dc_offset: float
    """Mean of the channel whose mean is furthest from 0, as a share of full scale."""
    bandwidth_hz: float | None
    """Upper edge of the highest band that comes within 50 dB of the loudest one; None where there is no sound."""
    channel_correlation: float | None
    """Lowest correlation of two channels with sound; None with fewer than two of them."""
    signal_notes: tuple[str, ...]
    """What is odd of it: some of `emolake.schemas.columns.SIGNAL_NOTES`."""
    voices: tuple[int, ...] = ()
    """For each channel the first one that carries the same voices, as channels of one signal do; else itself."""


class SignalMeter:
    """Measures one recording as its blocks pass."""

    def __init__(self, sampling_rate: int, channels: int, codec: str) -> None:
        self._rate = sampling_rate
        self._is_float = codec in _FLOATS
        # 1 less a rounding, so that 32767 of 32768 counts.
        self._full_scale = _FULL_SCALE.get(codec, 0.9999)
        self._frame = next_fast_len(round(_FRAME_S * sampling_rate), real=True)
        self._window = np.hanning(self._frame + 1)[:-1].astype(np.float32)
        # Bins of the spectrum in a band, and bands below half the rate.
        self._width = max(1, round(_BAND_HZ * self._frame / sampling_rate))
        bands = self._frame // 2 // self._width
        self._band_edges_hz = np.arange(1, bands + 1) * self._width * sampling_rate / self._frame
        # [bands, decibels]: how many frames have that level in that band.
        self._levels = np.zeros((bands, _CEILING_DB - _FLOOR_DB), np.int64)
        self._level_starts = np.arange(bands) * self._levels.shape[1]
        # Places in them that are not counted yet.
        self._places: list[np.ndarray] = []
        self._has_levels = False
        self._held: list[np.ndarray] = []
        self._held_samples = 0
        self._samples = 0
        self._sums = np.zeros(channels)
        self._products = np.zeros((channels, channels))
        self._clipped = 0
        self._peak = 0.0

    def push(self, block: np.ndarray) -> None:
        """Take the next samples [n, channels] float32."""
        whole = self._frame * _FRAMES_AT_ONCE
        start = 0
        while self._held_samples + len(block) - start >= whole:
            end = start + whole - self._held_samples
            self._measure(np.concatenate([*self._held, block[start:end]]) if self._held else block[start:end])
            self._held, self._held_samples, start = [], 0, end
        if start < len(block):
            # A copy: what is held must not keep all of the block.
            self._held.append(block[start:].copy())
            self._held_samples += len(block) - start

    def figures(self) -> SignalFigures:
        """Return what was measured of all that was pushed; nothing can be pushed any more."""
        if self._held:
            self._measure(np.concatenate(self._held))
            self._held = []
        count = max(1, self._samples)
        means = self._sums / count
        covariance = self._products / count - np.outer(means, means)
        powers = np.maximum(np.diag(covariance), 0.0)
        power = float(powers.mean())
        # Less than the rounding of the squares, whose mean this is, is nothing.
        level = (
            10 * math.log10(power) if power > 1e-12 * float(np.diag(self._products).max()) / count else None
        )
        sounding = powers > max(10 ** (_SILENT_DBFS / 10), 1e-6 * float(powers.max(initial=0.0)))
        correlation = _lowest_correlation(covariance[np.ix_(sounding, sounding)])
        offset = float(means[np.argmax(np.abs(means))]) if len(means) else 0.0
        clipped = self._clipped / (count * len(means))
        unscaled = self._is_float and self._peak > _UNSCALED
        notes = {
            "no_signal": level is None or level < _SILENT_DBFS,
            "quiet": level is not None and _SILENT_DBFS <= level < _QUIET_DBFS,
            "clipped": clipped >= _CLIPPED_SHARE,
            "dc_offset": not unscaled and abs(offset) >= 0.999 * _OFFSET,
            "unscaled": unscaled,
            "beyond_full_scale": self._is_float and 1.0001 < self._peak <= _UNSCALED,
            "empty_channel": bool(sounding.any() and not sounding.all()),
            "dual_mono": correlation is not None and correlation > _SAME,
            "antiphase": correlation is not None and correlation < CANCELLING,
        }
        return SignalFigures(
            level,
            clipped,
            offset,
            None if level is None else self._bandwidth(),
            correlation,
            tuple(note for note, holds in notes.items() if holds),
            _voices(covariance, sounding),
        )

    def _measure(self, samples: np.ndarray) -> None:
        """Add samples [n, channels] from a fixed place on: a whole number of frames, or the end."""
        wide = np.ascontiguousarray(samples.T, np.float64)
        self._samples += len(samples)
        self._sums += wide.sum(axis=1)
        self._products += wide @ wide.T
        peak = max(float(samples.max()), -float(samples.min()))
        self._peak = max(self._peak, peak)
        if peak >= self._full_scale:
            magnitudes = np.abs(samples)
            # Floats go on beyond full scale, and are not clipped there.
            most = 1.0001 if self._is_float else math.inf
            self._clipped += int(((magnitudes >= self._full_scale) & (magnitudes <= most)).sum())
        frames = len(samples) // self._frame
        if frames == 0 and self._has_levels:
            return
        window = self._window
        if frames == 0:  # all of a short recording
            frames, window = 1, np.hanning(len(samples) + 2)[1:-1].astype(np.float32)
        # Every other frame: enough of them to know a band by.
        channels = np.moveaxis(samples[: frames * len(window)].reshape(frames, len(window), -1)[::2], 2, 0)
        spectrum = rfft(np.multiply(channels, window, order="C"), n=self._frame)
        power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
        whole = self._levels.shape[0] * self._width
        bands = np.maximum.reduce([power[:, at : whole : self._width] for at in range(self._width)])
        decibels = np.floor(10 * np.log10(bands.astype(np.float64) + 1e-20)).astype(np.int64)
        np.clip(decibels - _FLOOR_DB, 0, self._levels.shape[1] - 1, out=decibels)
        self._places.append((decibels + self._level_starts).ravel())
        self._has_levels = True
        if len(self._places) == _CALLS_COUNTED_AT_ONCE:
            self._count_levels()

    def _count_levels(self) -> None:
        """Count the levels that were found since the last time."""
        if self._places:
            places, self._places = np.concatenate(self._places), []
            self._levels += np.bincount(places, minlength=self._levels.size).reshape(self._levels.shape)

    def _bandwidth(self) -> float | None:
        """Return the upper edge of the highest band that is not far below the loudest one."""
        self._count_levels()
        below = np.cumsum(self._levels, axis=1)
        wanted = np.floor(_SHARE_OF_FRAMES * below[:, -1:])
        levels = (below >= np.maximum(wanted, 1)).argmax(axis=1)
        speech = self._band_edges_hz > _LOWEST_HZ
        if not speech.any() or levels[speech].max() == 0:
            return None
        loud = np.flatnonzero(speech & (levels >= levels[speech].max() - _BELOW_LOUDEST_DB))
        return float(self._band_edges_hz[loud[-1]])


def _lowest_correlation(covariance: np.ndarray) -> float | None:
    """Return the lowest correlation [-1, 1] of two of some channels, from their covariance; None of fewer than two."""
    if len(covariance) < 2:
        return None
    deviations = np.sqrt(np.diag(covariance))
    correlations = covariance / np.outer(deviations, deviations)
    return float(np.clip(correlations[np.triu_indices(len(covariance), 1)].min(), -1.0, 1.0))


def _voices(covariance: np.ndarray, sounding: np.ndarray) -> tuple[int, ...]:
    """Return for each channel the first one that it correlates with as one signal does with itself, else itself."""
    voices: list[int] = []
    for channel in range(len(covariance)):
        powers = covariance[channel, channel] * np.diag(covariance)[:channel]
        alike = np.abs(covariance[channel, :channel]) >= -CANCELLING * np.sqrt(np.maximum(powers, 0.0))
        same = np.flatnonzero(alike & sounding[:channel] & sounding[channel])
        voices.append(voices[same[0]] if len(same) else channel)
    return tuple(voices)
