"""Changes to the waveforms of training clips: less noise, then random ones.

Validation and test clips are never changed, because inference takes clips as they are.
"""

import numpy as np
import soxr
from pydantic import Field
from scipy.fft import next_fast_len
from scipy.ndimage import uniform_filter1d
from scipy.signal import ShortTimeFFT, get_window
from scipy.special import expit

from emolake.options import Options
from emolake.training.call_channel import CallOptions, through_call
from emolake.training.trainer import InputSpec

_WINDOW, _HOP = 512, 128  # samples
_SMOOTH = 9  # frames


class WaveAugmentOptions(Options):
    """How often, and how far, a training clip is changed; the key `augment` of a recipe."""

    chance: float = Field(0.5, ge=0, le=1)
    """Share of clips that each change is made to; 0: none."""
    noise_snr_db: tuple[float, float] = (10.0, 40.0)
    """Signal-to-noise ratio of white to brown noise that is added."""
    gain_db: float = Field(6.0, ge=0)
    """Largest change of the level, up or down."""
    shift_s: float = Field(0.1, ge=0)
    """Longest silence put before a clip, or stretch cut off its beginning."""
    speed: tuple[float, float] = (0.9, 1.1)
    """Factors of speed, which changes the pitch too."""
    copies: int = Field(2, ge=0)
    """Changed versions of each clip, beside the clip itself, where features are computed once."""
    call: CallOptions | None = None
    """Changes that calls make, in training on the fly; none when left out."""
    noise_reduction: bool = False
    """Steady noise is removed from training clips by spectral gating before any change."""


def augment_wave(
    wave: np.ndarray,
    generator: np.random.Generator | None,
    options: WaveAugmentOptions,
    input_spec: InputSpec,
) -> np.ndarray:
    """Return a clip [n] float32 for training: without noise if asked, and changed at random by `generator`, if any."""
    sampling_rate, min_samples = input_spec.sampling_rate, input_spec.min_samples
    if options.noise_reduction:
        wave = reduce_noise(wave)
    if generator is None:
        return wave
    wanted = generator.random(4) < options.chance
    if wanted[0]:
        factor = generator.uniform(*options.speed)
        wave = _at_least(soxr.resample(wave, sampling_rate * factor, sampling_rate), wave, min_samples)
    if wanted[1]:
        wave = _shifted(wave, round(generator.uniform(-1, 1) * options.shift_s * sampling_rate), min_samples)
    if wanted[2]:
        ratio = 10 ** (-generator.uniform(*options.noise_snr_db) / 20)
        wave = wave + ratio * np.sqrt(np.mean(np.square(wave))) * _noise(len(wave), generator)
    if wanted[3]:
        wave = wave * 10 ** (generator.uniform(-options.gain_db, options.gain_db) / 20)
    if options.call is not None:
        wave = through_call(wave, generator, options.call, sampling_rate=sampling_rate)
    return np.ascontiguousarray(wave[: input_spec.max_samples], dtype=np.float32)


def reduce_noise(wave: np.ndarray, *, floor_db: float = -20.0) -> np.ndarray:
    """Return a clip [n] float32 with its steady noise lowered by at most `floor_db`: spectral gating.

    The noise of each frequency is what its quietest tenth of frames has; what is less than 6 dB above is lowered.
    """
    if len(wave) < 2 * _WINDOW:
        return wave
    transform = ShortTimeFFT(get_window("hann", _WINDOW), _HOP, fs=1.0)
    spectrum = transform.stft(wave)
    # Smooth, or the peaks of what is noise alone would pass.
    power = uniform_filter1d(np.square(np.abs(spectrum)), _SMOOTH, axis=1)
    level = 10 * np.log10(power + 1e-12)
    noise = np.quantile(level, 0.1, axis=1, keepdims=True)
    openness = expit(level - noise - 6.0)
    gain = 10 ** (floor_db * (1 - openness) / 20)
    return np.asarray(transform.istft(spectrum * gain, k1=len(wave)), dtype=np.float32)


def _shifted(wave: np.ndarray, samples: int, min_samples: int) -> np.ndarray:
    if samples > 0:
        return np.concatenate([np.zeros(samples, np.float32), wave])
    return _at_least(wave[-samples:], wave, min_samples)


def _at_least(changed: np.ndarray, wave: np.ndarray, min_samples: int) -> np.ndarray:
    return changed if len(changed) >= min_samples else wave


def _noise(size: int, generator: np.random.Generator) -> np.ndarray:
    """Return noise [size] of power 1, from white to brown."""
    longer = next_fast_len(size, real=True)  # a prime number of samples takes ten times as long
    spectrum = np.fft.rfft(generator.normal(size=longer))
    slope = generator.uniform(0, 1)
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** slope
    noise = np.fft.irfft(spectrum, longer)[:size]
    return np.asarray(noise / max(np.sqrt(np.mean(np.square(noise))), 1e-10))
