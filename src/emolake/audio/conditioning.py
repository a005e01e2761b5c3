"""What a waveform is freed of before its features: a DC offset, mains hum, and the level it was recorded at.

Batches are as in `emolake.audio.features`: zero-padded on the right, and each member treated as if it were alone.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import next_fast_len
from scipy.signal import firwin

from emolake.audio.feature_options import AS_IT_IS, ConditioningOptions
from emolake.audio.features import beside, valid_mask, wide

_TRANSITION = 0.45  # width of the filter's slope, as a share of its cutoff
_STOPBAND_DB = 90.0
_MAINS_HZ = (50.0, 60.0)
_FITTED_S = 0.5  # of either end, from which offset and hum are continued
_RIDGE = 1e-5  # of the fit, for clips shorter than that
_SILENCE = 1e-6  # -120 dBFS: what is quieter is rounding, and is raised no further


def condition(
    waves: torch.Tensor, lengths: torch.Tensor, options: ConditioningOptions, *, sampling_rate: int
) -> torch.Tensor:
    """Return waves [B, T] of `lengths` [B] samples with what the options name removed; padding stays 0.

    They come back in float64 where anything was removed (in float32 on devices without it).
    """
    if options == AS_IT_IS:
        return waves
    mask = valid_mask(beside(lengths, waves), waves.shape[1])
    if options.high_pass_hz is not None:
        waves = high_pass(waves, lengths, options.high_pass_hz, sampling_rate) * mask
    if options.level_dbfs is not None:
        samples = waves.to(wide(waves.device)) * mask
        rms = (samples.square().sum(dim=1) / beside(lengths, waves)).sqrt().clamp_min(_SILENCE)
        waves = samples * (10 ** (options.level_dbfs / 20) / rms)[:, None]
    return waves


def high_pass(
    waves: torch.Tensor, lengths: torch.Tensor, cutoff_hz: float, sampling_rate: int
) -> torch.Tensor:
    """Return waves [B, T] without what is below a cutoff, by a linear-phase filter without delay.

    It is 90 dB down at 0.775 of the cutoff and flat from 1.225. Before its first sample and behind its last one a
    member goes on with the offset and the hum that it has there, so that neither makes a step.
    """
    taps = _taps(cutoff_hz, sampling_rate)
    margin = len(taps) // 2
    counts = beside(lengths, waves)
    mask = valid_mask(counts, waves.shape[1])
    samples = waves.to(wide(waves.device)) * mask
    # The mean first, so that a constant leaves nothing at all.
    samples = (samples - samples.sum(dim=1, keepdim=True) / counts[:, None]) * mask
    extended = torch.nn.functional.pad(samples, (margin, margin))
    for row, length in zip(extended, lengths.tolist(), strict=True):
        own = row[margin : margin + length]
        fitted = min(length, round(_FITTED_S * sampling_rate))
        fit, following = _continuation(fitted, margin, sampling_rate, str(row.device))
        before = following @ (fit @ own[: fit.shape[1]].flip(0))
        behind = following @ (fit @ own[-fit.shape[1] :])
        row[:margin] = before.flip(0)
        row[margin + length : 2 * margin + length] = behind
    n_fft = next_fast_len(extended.shape[1] + len(taps) - 1, real=True)
    spectrum = torch.fft.rfft(extended, n=n_fft)
    spectrum *= _response(cutoff_hz, sampling_rate, n_fft, str(spectrum.device))
    filtered: torch.Tensor = torch.fft.irfft(spectrum, n=n_fft)
    return filtered[:, 2 * margin : 2 * margin + waves.shape[1]]


@lru_cache(maxsize=16)
def _continuation(
    size: int, margin: int, sampling_rate: int, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return matrices that fit offset and hum to the last `size` samples, and that continue them for `margin` more.

    [terms, size] and [margin, terms]: a regularised least-squares fit of a constant and of waves of the mains'
    frequencies, whose amplitude and phase may drift, which stands for a small error of the frequency.
    """
    time = np.arange(1 - size, margin + 1) / sampling_rate
    waves = [function(2 * np.pi * hum * time) for hum in _MAINS_HZ for function in (np.cos, np.sin)]
    terms = np.stack([np.ones_like(time), *waves, *(time / _FITTED_S * each for each in waves)], axis=1)
    seen = terms[:size]
    normal = seen.T @ seen + _RIDGE * size * np.eye(terms.shape[1])
    return _on_device(np.linalg.solve(normal, seen.T), device), _on_device(terms[size:], device)


@lru_cache(maxsize=4)
def _response(cutoff_hz: float, sampling_rate: int, n_fft: int, device: str) -> torch.Tensor:
    return _on_device(np.fft.rfft(_taps(cutoff_hz, sampling_rate), n=n_fft), device)


def _on_device(values: np.ndarray, device: str) -> torch.Tensor:
    """Return constants as they are computed with on a device, to be kept there."""
    real = wide(torch.device(device))
    with torch.inference_mode(False):
        dtype = real.to_complex() if np.iscomplexobj(values) else real
        return torch.from_numpy(values).to(device, dtype)


@lru_cache(maxsize=16)
def _taps(cutoff_hz: float, sampling_rate: int) -> np.ndarray:
    """Return the filter, of odd length and symmetric: a Kaiser window's (Kaiser 1974)."""
    width = _TRANSITION * cutoff_hz
    beta = 0.1102 * (_STOPBAND_DB - 8.7)
    half = math.ceil((_STOPBAND_DB - 7.95) / (2.285 * 2 * math.pi * width / sampling_rate) / 2)
    taps = firwin(2 * half + 1, cutoff_hz, window=("kaiser", beta), pass_zero=False, fs=sampling_rate)
    return np.asarray(taps - taps.sum() / len(taps))  # exactly nothing of a constant
