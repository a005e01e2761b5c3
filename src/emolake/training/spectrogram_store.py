"""Mel power and pitch of all training clips on disk, once for every frequency warp, shared by all processes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from emolake.audio.conditioning import condition
from emolake.audio.features import frame_count, pitch_track, warped_mel_power
from emolake.models.families.spectrogram_options import FeatureOptions

_POWER, _PITCH, _OFFSETS = "power.npy", "pitch.npy", "offsets.npy"


@dataclass(frozen=True)
class SpectrogramStore:
    """Memory-mapped features of N clips, one after the other on the axis of frames."""

    power: np.ndarray  # [warps, frames of all clips, bands] float32
    pitch: np.ndarray  # [frames of all clips, 2] float32: periodicity, Hz
    offsets: np.ndarray  # [N + 1] int64: where each clip begins
    warps: tuple[float, ...]

    @classmethod
    def open(cls, folder: Path, *, warps: Sequence[float]) -> Self:
        """Open what `build_store` wrote into `folder`."""
        return cls(
            power=np.load(folder / _POWER, mmap_mode="r"),
            pitch=np.load(folder / _PITCH, mmap_mode="r"),
            offsets=np.load(folder / _OFFSETS),
            warps=tuple(warps),
        )

    def clip(self, index: int, warp: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return power [bands, frames] and pitch [2, frames] of a clip under the warp of that number."""
        frames = slice(self.offsets[index], self.offsets[index + 1])
        pitch = torch.from_numpy(self.pitch[frames].T.copy())
        pitch[1] /= self.warps[warp]  # the bands' edges are multiplied, so what they read is divided
        return torch.from_numpy(self.power[warp, frames].T.copy()), pitch

    def plain(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return power and pitch of a clip as it is; raises ValueError if 1.0 is not among the warps."""
        return self.clip(index, self.warps.index(1.0))


def build_store(
    folder: Path,
    waves: Iterable[np.ndarray],
    options: FeatureOptions,
    *,
    warps: Sequence[float],
    sizes: Sequence[int],
) -> SpectrogramStore:
    """Compute the features of `waves`, of `sizes` samples each, into `folder`."""
    frames = frame_count(torch.tensor(sizes), options.mel.hop).numpy()
    offsets = np.concatenate([[0], np.cumsum(frames)]).astype(np.int64)
    np.save(folder / _OFFSETS, offsets)
    power = np.lib.format.open_memmap(
        folder / _POWER, mode="w+", dtype=np.float32, shape=(len(warps), int(offsets[-1]), options.mel.bands)
    )
    pitch = np.lib.format.open_memmap(
        folder / _PITCH, mode="w+", dtype=np.float32, shape=(int(offsets[-1]), 2)
    )
    for index, wave in enumerate(waves):
        own = slice(offsets[index], offsets[index + 1])
        batch, length = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
        batch = condition(batch, length, options.conditioning, sampling_rate=options.mel.sampling_rate)
        pitch[own] = pitch_track(batch, length, options.pitch)[0][0].T.numpy()
        warped, _ = warped_mel_power(batch, length, options.mel, warps=warps)
        power[:, own] = warped[:, 0].transpose(1, 2).numpy()
    power.flush()
    pitch.flush()
    return SpectrogramStore.open(folder, warps=warps)
