"""What the family "mfcc_mlp" computes: a clip's mean cepstral coefficients, and dense layers over them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from emolake.audio.feature_options import MfccOptions
from emolake.audio.features import mfcc, valid_mask


def mean_over_time(waves: torch.Tensor, lengths: torch.Tensor, options: MfccOptions) -> torch.Tensor:
    """Return the mean of each coefficient over a clip's own frames, [B, coefficients] float32.

    Equals `librosa.feature.mfcc(...).mean(axis=1)` of each clip alone to 1e-3.
    """
    values, frames = mfcc(waves, lengths, options)
    # In float64, because the sum over frames of another batch's padding must not differ in its last bits.
    wide = values.double() * valid_mask(frames, values.shape[2])[:, None]
    mean: torch.Tensor = (wide.sum(dim=2) / frames[:, None]).float()
    return mean


class MfccMlpNetwork(nn.Module):
    """Dense layers over standardised coefficients; training and inference run the same code."""

    def __init__(
        self, sizes: Sequence[int], *, activation: Literal["relu", "gelu"], dropout: float = 0.0
    ) -> None:
        """Make layers of these widths, from the number of coefficients to that of labels."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self._activation = functional.relu if activation == "relu" else functional.gelu

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return logits [B, labels] of standardised coefficients [B, coefficients]."""
        for layer in self.layers[:-1]:
            values = self.dropout(self._activation(layer(values)))
        logits: torch.Tensor = self.layers[-1](values)
        return logits
