"""Changes to training clips, in the domain of mel power: other voices, rates, rooms, microphones and noises.

All work on batches [B, bands, frames] of power with `frames` [B] valid ones, and draw from one numpy
generator, so that a seed fixes them.
"""

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from emolake.audio.features import valid_mask
from emolake.models.families.spectrogram_network import ClipFeatures
from emolake.options import Options


class AugmentOptions(Options):
    """How far, and how often, a training clip is changed."""

    warps: tuple[float, ...] = (0.80, 0.85, 0.90, 0.95, 1.0, 1.05, 1.10, 1.15, 1.20)
    """Factors that a clip's frequencies are multiplied by, the middle one most often: other vocal tracts."""
    tempo: float = Field(0.15, ge=0)
    """Largest natural logarithm of the change of rate."""
    noise_chance: float = Field(0.3, ge=0, le=1)
    """Share of clips with noise added."""
    noise_snr_db: tuple[float, float] = (5.0, 40.0)
    """Signal-to-noise ratio of it."""
    room_chance: float = Field(0.15, ge=0, le=1)
    """Share of clips with a decaying tail added."""
    room_rt60_s: tuple[float, float] = (0.1, 0.5)
    """Time in which the tail falls by 60 dB."""
    band_chance: float = Field(0.2, ge=0, le=1)
    """Share of clips that go through a channel of less bandwidth."""
    band_low_hz: tuple[float, float] = (60.0, 350.0)
    """Lower edge of that channel."""
    band_high_hz: tuple[float, float] = (3000.0, 7000.0)
    """Upper edge of that channel; a telephone's is 3400 Hz."""
    band_slope_db: float = Field(60.0, gt=0)
    """Attenuation per octave outside of it."""
    tilt_db: float = Field(2.0, ge=0)
    """Standard deviation of a smooth change of the spectrum."""
    level_db: float = Field(4.0, ge=0)
    """Standard deviation of a change of the level."""
    window_frames: int = Field(112, ge=16)
    """A longer clip is cut to a random stretch of it."""
    band_mask: int = Field(8, ge=0)
    """Most bands hidden by one of two masks."""
    frame_mask: int = Field(12, ge=0)
    """Most frames hidden by one of two masks."""
    mixup: float = Field(0.2, ge=0)
    """Both parameters of the beta distribution of mixing; 0: none."""


def choose_warps(generator: np.random.Generator, size: int, options: AugmentOptions) -> np.ndarray:
    """Draw indices into `options.warps`, [size]: normal around the middle, which is the clip as it is."""
    middle = len(options.warps) // 2
    spread = np.rint(middle + generator.normal(size=size) * middle / 2)
    return np.clip(spread, 0, len(options.warps) - 1).astype(np.int64)


def stretch(power: torch.Tensor, pitch: torch.Tensor, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one clip [bands, frames] and its pitch [2, frames], `factor` times as long, at least 8 frames."""
    size = max(8, round(power.shape[1] * factor))
    slower = functional.interpolate(power[None], size=size, mode="linear", align_corners=False)[0]
    return slower, functional.interpolate(pitch[None], size=size, mode="nearest")[0]


def disturb(
    power: torch.Tensor,
    frames: torch.Tensor,
    generator: np.random.Generator,
    options: AugmentOptions,
    *,
    hop_s: float,
    centres_hz: np.ndarray,
) -> torch.Tensor:
    """Add rooms, noise and narrow channels to shares of the batch, and a change of spectrum and level to all of it.

    `power` [B, bands, frames] is changed in place too; `centres_hz` [bands] are the bands' middles.
    """
    size, bands, width = power.shape
    mask = valid_mask(frames, width)[:, None]
    for member in np.flatnonzero(generator.random(size) < options.room_chance):
        power[member] = _room(power[member], generator, options, hop_s=hop_s)
    noisy = np.flatnonzero(generator.random(size) < options.noise_chance)
    if noisy.size:
        mean = power[noisy].sum(dim=(1, 2)) / (frames[noisy] * bands)
        ratio = _tensor(10 ** (-generator.uniform(*options.noise_snr_db, size=noisy.size) / 10))
        slope = generator.uniform(
            -4.0, 1.0, size=(noisy.size, 1)
        )  # nepers of power over all bands: brown to blue
        colour = np.exp(slope * np.linspace(0, 1, bands))
        colour /= colour.mean(axis=1, keepdims=True)
        flutter = generator.gamma(
            2.0, 0.5, size=(noisy.size, bands, width)
        )  # as the power of noise in one band
        power[noisy] += (mean * ratio)[:, None, None] * _tensor(colour[:, :, None] * flutter)
    knots = generator.normal(size=(size, 4)) * options.tilt_db
    level = generator.normal(size=(size, 1)) * options.level_db
    position = np.linspace(0, 3, bands)
    decibels = np.stack([np.interp(position, np.arange(4), own) for own in knots]) + level
    for member in np.flatnonzero(generator.random(size) < options.band_chance):
        decibels[member] -= _attenuation(centres_hz, generator, options)
    return power * _tensor(10 ** (decibels / 10))[:, :, None] * mask


def crop_and_hide(
    features: ClipFeatures, generator: np.random.Generator, options: AugmentOptions
) -> ClipFeatures:
    """Return a random stretch of each clip, with bands and frames of the image set to its mean, 0."""
    frames = features.frames.clamp_max(options.window_frames)
    spare = (features.frames - frames).numpy()
    start = torch.from_numpy(generator.integers(0, spare + 1))
    index = (start[:, None] + torch.arange(int(frames.max()))).clamp_max(features.image.shape[2] - 1)
    image = features.image.gather(2, index[:, None].expand(-1, features.image.shape[1], -1))
    tracks = features.tracks.gather(2, index[:, None].expand(-1, features.tracks.shape[1], -1))
    rows, width = image.shape[1:]
    for member in range(len(image)):
        for _ in range(2):
            first, count = _stretch_of(generator, rows, options.band_mask)
            image[member, first : first + count] = 0
            first, count = _stretch_of(generator, width, options.frame_mask)
            image[member, :, first : first + count] = 0
    return ClipFeatures(image, tracks, features.clip, frames)


def mix(
    features: ClipFeatures, targets: torch.Tensor, generator: np.random.Generator, options: AugmentOptions
) -> tuple[ClipFeatures, torch.Tensor]:
    """Mix each clip with a share, at most a half, of another, and the targets likewise: mixup (Zhang et al. 2018)."""
    if options.mixup == 0:
        return features, targets
    size = len(targets)
    other = torch.from_numpy(generator.permutation(size))
    share = generator.beta(options.mixup, options.mixup, size=size)
    own = _tensor(np.maximum(share, 1 - share))[:, None]

    def blend(values: torch.Tensor) -> torch.Tensor:
        weight = own.view(size, *([1] * (values.ndim - 1)))
        return values * weight + values[other] * (1 - weight)

    mixed = ClipFeatures(
        image=blend(features.image),
        tracks=blend(features.tracks),
        clip=blend(features.clip),
        frames=torch.maximum(features.frames, features.frames[other]),
    )
    return mixed, blend(targets)


def _room(
    power: torch.Tensor, generator: np.random.Generator, options: AugmentOptions, *, hop_s: float
) -> torch.Tensor:
    """Return one clip [bands, frames] with a tail whose power decays exponentially after every frame."""
    rt60_s = generator.uniform(*options.room_rt60_s)
    steps = np.arange(24)
    tail = 10 ** (-6 * steps * hop_s / rt60_s) * np.where(steps == 0, 1, generator.uniform(0.05, 0.4))
    kernel = _tensor(tail[::-1].copy())[None, None]
    padded = functional.pad(power[:, None], (len(steps) - 1, 0))
    reverberant: torch.Tensor = functional.conv1d(padded, kernel)[:, 0]
    return reverberant


def _attenuation(
    centres_hz: np.ndarray, generator: np.random.Generator, options: AugmentOptions
) -> np.ndarray:
    """Return the decibels [bands] by which a channel with random edges attenuates."""
    low, high = generator.uniform(*options.band_low_hz), generator.uniform(*options.band_high_hz)
    octaves = np.maximum(np.log2(low / centres_hz), np.log2(centres_hz / high))
    return np.asarray(options.band_slope_db * np.maximum(octaves, 0))


def _stretch_of(generator: np.random.Generator, size: int, most: int) -> tuple[int, int]:
    """Draw start and length, at most `most`, of a random stretch of `size` places."""
    count = int(generator.integers(0, min(most, size) + 1))
    return int(generator.integers(0, size - count + 1)), count


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
