"""What the family "keras" computes: a clip's excerpt, its cepstral vector, and the network's outputs."""

from typing import Any, Literal

import numpy as np
import soxr
import torch
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from emolake.audio.feature_options import MfccOptions
from emolake.audio.features import mfcc
from emolake.models.families.keras_file import import_keras
from emolake.models.families.mfcc_mlp_network import mean_over_time

SAMPLING_RATE = 16_000


class KerasNetwork:
    """A loaded network of Keras behind the features that it was trained on."""

    def __init__(
        self,
        model: Any,
        *,
        width: int,
        mfcc: MfccOptions,
        mean_over: Literal["time", "coefficients"],
        expand: Literal["none", "first", "last"],
        mean: tuple[float, ...] | None,
        scale: tuple[float, ...] | None,
        device: str,
    ) -> None:
        """Take a network of vectors of `width` numbers; the other options are those of the family."""
        self._model = model
        self._width = width
        self._mfcc = mfcc
        self._mean_over = mean_over
        self._expand = expand
        self._mean = mean
        self._scale = scale
        self._device = device

    def outputs(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return outputs [B, labels] float32 on the CPU of excerpts [B, T] of `lengths` [B] samples."""
        return self._outputs(self._features(waves.to(self._device), lengths.to(self._device))).float()

    def probe(self) -> torch.Tensor:
        """Return the outputs [2, labels] float64 for two constructed vectors."""
        vectors = torch.stack([torch.zeros(self._width), torch.linspace(-3, 3, self._width)])
        return self._outputs(self._expanded(vectors.to(self._device))).double()

    def _features(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the network's input, [B, width] with the axis that `expand` asks for."""
        if self._mean_over == "time":
            vector = mean_over_time(waves, lengths, self._mfcc)
        else:
            frames = mfcc(waves, lengths, self._mfcc)[0].mean(dim=1)  # 0 past a clip's own frames
            vector = pad(frames, (0, max(0, self._width - frames.shape[1])))[:, : self._width]
        if self._mean is not None:
            vector = vector - torch.tensor(self._mean, device=vector.device)
            vector = vector / torch.tensor(self._scale, device=vector.device)
        return self._expanded(vector)

    def _expanded(self, vector: torch.Tensor) -> torch.Tensor:
        return {"none": vector, "first": vector[:, None], "last": vector[:, :, None]}[self._expand]

    def _outputs(self, features: torch.Tensor) -> torch.Tensor:
        with import_keras().device(self._device):
            outputs: torch.Tensor = self._model(features, training=False)
        return outputs.to("cpu")


def excerpt(
    waves: torch.Tensor, lengths: torch.Tensor, *, start: int, most: int | None, sampling_rate: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut clips [B, T] of `lengths` [B] samples at 16 kHz to an excerpt and resample it, as librosa.load does.

    Args:
        waves: on the CPU.
        lengths: more than `start` each.
        start: samples left out at the beginning.
        most: samples kept from there on; all of them if None.
        sampling_rate: of what is returned.
    """
    count = waves.shape[1] if most is None else most
    waves, lengths = waves[:, start : start + count], (lengths - start).clamp_max(count)
    if sampling_rate == SAMPLING_RATE:
        return waves, lengths
    # soxr_hq, librosa's own; each clip by itself, because the filter reaches across its end.
    clips = [
        np.asarray(soxr.resample(wave[:length].numpy(), SAMPLING_RATE, sampling_rate, quality="HQ"))
        for wave, length in zip(waves, lengths.tolist(), strict=True)
    ]
    resampled = pad_sequence([torch.from_numpy(clip) for clip in clips], batch_first=True)
    return resampled, torch.tensor([len(clip) for clip in clips])
