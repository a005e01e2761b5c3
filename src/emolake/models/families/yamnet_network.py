"""YAMNet's arithmetic: waveform to log-mel patches of 0.96 s, and the network that scores them.

After https://github.com/tensorflow/models/tree/master/research/audioset/yamnet (`features.py`, `yamnet.py`).
"""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import nn

SAMPLING_RATE = 16_000
WINDOW = 400
PATCH_SAMPLES = 15_600  # 96 frames of 25 ms every 10 ms
PATCH_HOP = 7_680  # 48 frames
FRAMES = 96
BANDS = 64
_HOP, _N_FFT = 160, 512
_MEL_MIN_HZ, _MEL_MAX_HZ = 125.0, 7500.0
_LOG_OFFSET = 0.001
_NORM_EPS = 1e-4
# Channels and stride of the 13 depthwise separable convolutions after the first, full one (MobileNet v1).
_FIRST_CHANNELS = 32
_SEPARABLE = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)


class YamnetNetwork(nn.Module):
    """Patches [N, 96, 64] of log-mel to independent scores [N, events] of sound events."""

    def __init__(self, events: int) -> None:
        super().__init__()
        blocks: dict[str, nn.Module] = {"layer1_conv": _Convolution(1, _FIRST_CHANNELS, stride=2)}
        channels = _FIRST_CHANNELS
        for index, (out_channels, stride) in enumerate(_SEPARABLE, start=2):
            blocks[f"layer{index}_depthwise_conv"] = _Convolution(
                channels, channels, stride=stride, groups=channels
            )
            blocks[f"layer{index}_pointwise_conv"] = _Convolution(channels, out_channels, kernel=1)
            channels = out_channels
        self.blocks = nn.ModuleDict(blocks)
        self.dense = nn.Linear(channels, events)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return scores [N, events] of patches [N, 96, 64]."""
        maps = patches[:, None]
        for block in self.blocks.values():
            maps = block(maps)
        return torch.sigmoid(self.dense(maps.mean(dim=(2, 3))))


class _Convolution(nn.Module):
    """Convolution with TensorFlow's SAME padding, batch norm without scale, ReLU; [N, C, time, bands]."""

    def __init__(
        self, channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, kernel, stride, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=_NORM_EPS)
        nn.init.ones_(self.bn.weight)  # not in the file: the published norms have no scale
        self._kernel, self._stride = kernel, stride

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps [N, out_channels, time, bands] of maps [N, C, time, bands]."""
        # At stride 2 the odd zero of SAME goes to the end, where torch's own padding puts one on each side.
        edges = [edge for size in (maps.shape[3], maps.shape[2]) for edge in self._edges(size)]
        return torch.relu(self.bn(self.conv(nn.functional.pad(maps, edges))))

    def _edges(self, size: int) -> tuple[int, int]:
        total = max(0, (math.ceil(size / self._stride) - 1) * self._stride + self._kernel - size)
        return total // 2, total - total // 2


def patch_counts(lengths: torch.Tensor) -> torch.Tensor:
    """Return the number of patches of clips of `lengths` [B] samples: the last one is filled up with zeros.

    >>> patch_counts(torch.tensor([400, 15_600, 15_601, 30_960])).tolist()
    [1, 1, 2, 3]
    """
    return 1 + (-(-(lengths - PATCH_SAMPLES) // PATCH_HOP)).clamp_min(0)


def log_mel_patches(patches: torch.Tensor) -> torch.Tensor:
    """Return the log of the magnitude in mel bands plus 0.001, [N, 96, 64], of samples [N, 15600]."""
    window = torch.hann_window(WINDOW, periodic=True, device=patches.device)
    magnitude = torch.fft.rfft(patches.unfold(1, WINDOW, _HOP) * window, n=_N_FFT).abs()
    return torch.log(magnitude @ torch.from_numpy(_mel_bank()).to(patches.device) + _LOG_OFFSET)


@lru_cache(maxsize=1)
def _mel_bank() -> np.ndarray:
    """Return triangles [257, 64] float32 in HTK's mel, 1127 ln(1 + f / 700), not normalised, without the 0 Hz bin."""
    edges = np.linspace(1127 * math.log1p(_MEL_MIN_HZ / 700), 1127 * math.log1p(_MEL_MAX_HZ / 700), BANDS + 2)
    bins = 1127 * np.log1p(np.arange(_N_FFT // 2 + 1)[:, None] * SAMPLING_RATE / _N_FFT / 700)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    bank[0] = 0
    single: np.ndarray = bank.astype(np.float32)
    return single
