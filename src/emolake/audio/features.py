"""Waveforms to features, batched on whatever device the waveforms are on.

Every function takes `waves` [B, T] float32, zero-padded on the right, and `lengths` [B] int64 in samples, and
treats each member as if it were alone: padding takes part in no sum, no mean and no maximum. With lengths on the host
nothing waits for a GPU. Powers and
logarithms are computed in float64, because float32 leaves only half of the 1e-3 that features are promised to
agree within (see `log_mel`).
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import next_fast_len

from emolake.audio.feature_options import MelOptions, MfccOptions, PitchOptions

_POWER_FLOOR = 1e-10  # -100 dB: librosa.power_to_db's amin
# Frames whose spectra are held at once, for recordings of any length. A processor keeps few enough of them in its
# caches, which makes pitch four times as fast as a block in memory does; a GPU wants long runs.
_FRAMES_PER_BLOCK = 8192
_FRAMES_PER_BLOCK_ON_CPU = 128


def frame_count(lengths: torch.Tensor, hop: int) -> torch.Tensor:
    """Return the frames of each clip, 1 + length // hop: the first and the last are centred on its edges."""
    return 1 + lengths // hop


def valid_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Return a mask [B, size] bool of `lengths` [B]: True before the length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def beside(lengths: torch.Tensor, waves: torch.Tensor) -> torch.Tensor:
    """Return lengths [B] on the device of what they are lengths of, without waiting for that device."""
    if lengths.device == waves.device:
        return lengths
    if lengths.device.type != "cpu":
        return lengths.to(waves.device)
    return _on_device(tuple(lengths.tolist()), str(waves.device))


@lru_cache(maxsize=256)
def _on_device(lengths: tuple[int, ...], device: str) -> torch.Tensor:
    """Keep lengths on a device: those of full batches come again and again, and a recorded graph reads them there."""
    with torch.inference_mode(False):
        return torch.tensor(lengths).to(device, non_blocking=True)


def normalise_waveform(waves: torch.Tensor, lengths: torch.Tensor, eps: float) -> torch.Tensor:
    """Return (x - mean) / sqrt(variance + eps) of each member over its own samples, [B, T] float32; padding stays 0.

    The variance is the population's, as in the HuBERT and wav2vec 2.0 extractors (eps 1e-7 there, 1e-5 in
    S3PRL).
    """
    _check(waves, lengths)
    mask = valid_mask(beside(lengths, waves), waves.shape[1])
    samples = waves.to(wide(waves.device)) * mask
    count = mask.sum(dim=1, keepdim=True)
    centred = (samples - samples.sum(dim=1, keepdim=True) / count) * mask
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return (centred / torch.sqrt(variance + eps)).to(torch.float32)


def mel_power(
    waves: torch.Tensor, lengths: torch.Tensor, options: MelOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return power in mel bands, [B, bands, frames], and frame lengths [B]; frames past a member's length are 0.

    Equals librosa.feature.melspectrogram(center=True, pad_mode="constant", power=2).
    """
    power, frames = warped_mel_power(waves, lengths, options, warps=(1.0,))
    return power[0], frames


def warped_mel_power(
    waves: torch.Tensor, lengths: torch.Tensor, options: MelOptions, *, warps: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `mel_power` with the edges of all bands multiplied by each warp, [warps, B, bands, frames].

    At 0.9 the clip reads as if all frequencies of the voice were divided by 0.9.
    """
    _check(waves, lengths)
    frames = frame_count(lengths, options.hop)
    banks = _banks_on_device(options, tuple(warps), str(waves.device))
    blocks = [
        torch.matmul(spectrum, banks.T)
        for spectrum in _power_spectra(
            waves, lengths, window=options.n_fft, n_fft=options.n_fft, hop=options.hop
        )
    ]
    longest, frames = int(frames.max()), beside(frames, waves)
    mel = torch.cat(blocks, dim=1) * valid_mask(frames, longest)[:, :, None]
    return mel.view(*mel.shape[:2], len(warps), options.bands).permute(2, 0, 3, 1), frames


def pitch_track(
    waves: torch.Tensor, lengths: torch.Tensor, options: PitchOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return periodicity (0 to 1) and fundamental frequency (Hz) per frame, [B, 2, frames] float32, and lengths [B].

    The autocorrelation of each Hann-windowed frame, divided by that of the window (Boersma 1993), peaks at
    the period; its height is the periodicity. A frame without a period still has a frequency, with a low
    periodicity. Frames past the length are 0.
    """
    _check(waves, lengths)
    shortest = math.ceil(options.sampling_rate / options.f_max_hz)
    longest = math.floor(options.sampling_rate / options.f_min_hz)
    if not shortest < longest < options.window:
        raise ValueError(
            f"pitch from {options.f_min_hz} to {options.f_max_hz} Hz has periods of {shortest} to {longest} samples; "
            f"expected a rising range below the window, {options.window} samples"
        )
    dtype = wide(waves.device)
    # so long that the transform's circular autocorrelation does not wrap onto the lags searched
    n_fft = next_fast_len(options.window + longest, real=True)
    window = torch.hann_window(options.window, periodic=True, dtype=dtype, device=waves.device)
    of_window = torch.fft.irfft(torch.fft.rfft(window, n=n_fft).abs().square(), n=n_fft)
    searched = slice(shortest, longest + 1)
    gain = of_window[0] / of_window[searched]
    lags = torch.arange(shortest, longest + 1, dtype=dtype, device=waves.device)
    blocks = []
    for spectrum in _power_spectra(waves, lengths, window=options.window, n_fft=n_fft, hop=options.hop):
        correlation = torch.fft.irfft(spectrum, n=n_fft, dim=2)
        periodicity = correlation[:, :, searched] / (correlation[:, :, :1] + _POWER_FLOOR) * gain
        best = (periodicity - options.octave_cost * lags).argmax(dim=2, keepdim=True)
        height = periodicity.gather(2, best).clamp(0, 1)
        blocks.append(torch.cat([height, options.sampling_rate / lags[best]], dim=2))
    frames = beside(frame_count(lengths, options.hop), waves)
    track = torch.cat(blocks, dim=1).transpose(1, 2)
    return (track * valid_mask(frames, track.shape[2])[:, None]).to(torch.float32), frames


def power_to_db(power: torch.Tensor, frames: torch.Tensor, top_db: float) -> torch.Tensor:
    """Return 10 log10 of [B, bands, frames], raised to `top_db` below each member's own maximum.

    Frames past the length are 0.
    """
    mask = valid_mask(frames, power.shape[2])[:, None]
    decibels = 10 * torch.log10(power.clamp_min(_POWER_FLOOR))
    loudest = decibels.masked_fill(~mask, -math.inf).amax(dim=(1, 2), keepdim=True)
    return torch.maximum(decibels, loudest - top_db) * mask


def log_mel(
    waves: torch.Tensor, lengths: torch.Tensor, options: MelOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-mel spectrogram in dB re 1, [B, bands, frames] float32, and frame lengths [B] int64.

    Equals librosa.power_to_db(librosa.feature.melspectrogram(...), ref=1.0, top_db=...) of each clip alone to
    1e-3.
    """
    power, frames = mel_power(waves, lengths, options)
    return power_to_db(power, frames, options.top_db).to(torch.float32), frames


def mfcc(
    waves: torch.Tensor, lengths: torch.Tensor, options: MfccOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cepstral coefficients [B, coefficients, frames] float32, and frame lengths [B] int64.

    Equals librosa.feature.mfcc of each clip alone to 1e-3.
    """
    power, frames = mel_power(waves, lengths, options.mel)
    return cepstrum(power_to_db(power, frames, options.mel.top_db), options.coefficients).to(
        torch.float32
    ), frames


def cepstrum(decibels: torch.Tensor, coefficients: int) -> torch.Tensor:
    """Return the first `coefficients` of the orthonormal DCT-II over the bands of [B, bands, frames].

    Raises ValueError if there are fewer bands than coefficients.
    """
    bands = decibels.shape[1]
    if coefficients > bands:
        raise ValueError(
            f"{coefficients} coefficients of {bands} mel bands were asked for; ask for at most {bands}"
        )
    order = torch.arange(coefficients, dtype=decibels.dtype, device=decibels.device)[:, None]
    centre = torch.arange(bands, dtype=decibels.dtype, device=decibels.device)[None] + 0.5
    basis = torch.cos(math.pi / bands * order * centre) * math.sqrt(2 / bands)
    basis[0] /= math.sqrt(2)
    return torch.matmul(basis, decibels)


def band_centres_hz(options: MelOptions) -> np.ndarray:
    """Return where each mel band has its peak, [bands] in Hz."""
    return _band_edges(options)[1:-1]


def hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Return frequencies on Slaney's mel scale (Auditory Toolbox, 1998): linear to 1 kHz or 15 mel, logarithmic above.

    >>> hz_to_mel(np.array([0.0, 1000.0, 6400.0])).tolist()
    [0.0, 15.0, 42.0]
    """
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / math.log(6.4))


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """Return frequencies in Hz: the inverse of `hz_to_mel`."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * math.log(6.4) / 27))


@lru_cache(maxsize=64)
def _mel_bank(options: MelOptions, warp: float) -> np.ndarray:
    """Return triangular filters [bands, n_fft // 2 + 1], each of unit area in Hz, all edges multiplied by `warp`."""
    edges = _band_edges(options)
    height = 2 / (edges[2:] - edges[:-2])  # without the warp, which is not to change the level
    edges = edges * warp
    bins = np.arange(options.n_fft // 2 + 1) * options.sampling_rate / options.n_fft
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * height[:, None])


@lru_cache(maxsize=64)
def _banks_on_device(options: MelOptions, warps: tuple[float, ...], device: str) -> torch.Tensor:
    """Return the filters of all warps, [warps * bands, n_fft // 2 + 1]."""
    with torch.inference_mode(False):
        banks = torch.from_numpy(np.concatenate([_mel_bank(options, warp) for warp in warps]))
        return banks.to(device, wide(torch.device(device)))


def _band_edges(options: MelOptions) -> np.ndarray:
    """Return edges and centres in Hz of the triangular filters, [bands + 2], evenly apart in mel."""
    f_max_hz = options.f_max_hz if options.f_max_hz is not None else options.sampling_rate / 2
    if f_max_hz <= options.f_min_hz:
        raise ValueError(f"f_max_hz is {f_max_hz} and must be above f_min_hz, {options.f_min_hz}")
    limits = hz_to_mel(np.array([options.f_min_hz, f_max_hz]))
    return np.asarray(mel_to_hz(np.linspace(limits[0], limits[1], options.bands + 2)))


def _power_spectra(
    waves: torch.Tensor, lengths: torch.Tensor, *, window: int, n_fft: int, hop: int
) -> Iterator[torch.Tensor]:
    """Yield power spectra of centred, zero-padded, Hann-windowed frames, in blocks [B, frames, n_fft // 2 + 1]."""
    half = window // 2
    samples = waves.to(wide(waves.device)) * valid_mask(beside(lengths, waves), waves.shape[1])
    padded = torch.nn.functional.pad(samples, (half, window - half))
    taper = torch.hann_window(window, periodic=True, dtype=padded.dtype, device=waves.device)
    views = padded.unfold(1, window, hop)
    total = int(frame_count(lengths, hop).max())
    block = _FRAMES_PER_BLOCK_ON_CPU if waves.device.type == "cpu" else _FRAMES_PER_BLOCK
    size = max(1, block // waves.shape[0])
    for start in range(0, total, size):
        spectrum = torch.fft.rfft(views[:, start : min(start + size, total)] * taper, n=n_fft, dim=2)
        yield spectrum.real.square() + spectrum.imag.square()


def wide(device: torch.device) -> torch.dtype:
    """Return float64 wherever the device has it (Apple's MPS has not)."""
    return torch.float32 if device.type == "mps" else torch.float64


def _check(waves: torch.Tensor, lengths: torch.Tensor) -> None:
    if waves.ndim != 2 or lengths.ndim != 1 or lengths.shape[0] != waves.shape[0]:
        raise ValueError(
            f"found waves {tuple(waves.shape)} and lengths {tuple(lengths.shape)}; expected [B, T] and [B]: "
            "pad the clips with zeros to one length"
        )
    if waves.shape[0] == 0 or int(lengths.min()) < 1 or int(lengths.max()) > waves.shape[1]:
        raise ValueError(
            f"found lengths {lengths.tolist()} for waves {tuple(waves.shape)}; expected 1 to {waves.shape[1]} samples"
        )
