"""Linear layers in int8 whose activations are scaled row by row, so that a row's result depends on no other row.

A weight has one scale for each of its outputs, an activation one for each of its rows, that is for each frame of a
segment: what else is in the batch changes nothing, and sums of integers are exact in any order. Frames that are loud do
not take precision from those that are quiet either.
"""

import torch
from torch import nn

_LARGEST = 127  # of a weight
_STEPS = 255  # between the smallest and the largest activation of a row
_SIGN = 128  # added to a signed byte, modulo 256, it makes the unsigned one that is so much larger
_SMALLEST = 1e-20  # a row of equal values has a scale too


class RowWiseLinear(nn.Module):
    """A linear layer in int8 by oneDNN, with outputs in float32."""

    def __init__(self, linear: nn.Linear) -> None:
        """Quantise a layer's weights."""
        super().__init__()
        weight = linear.weight.detach().float()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._scales = weight.abs().amax(dim=1).clamp_min(_SMALLEST) / _LARGEST
        quantised = (weight / self._scales[:, None]).round().to(torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(quantised, None)
        self._zeros = torch.zeros(self.out_features, dtype=torch.int32)
        # what an activation of 1 in every column adds: the offset of a row is multiplied with it
        self._sums = quantised.sum(dim=1, dtype=torch.float32) * self._scales
        self._bias = None if linear.bias is None else linear.bias.detach().float()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs [..., out] float32 of inputs [..., in]; a NaN in a row makes its outputs NaN."""
        quantised, scales, offsets = quantised_rows(inputs.reshape(-1, self.in_features).float())
        outputs: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            quantised, 1.0, 0, self._packed, self._scales, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )  # fmt: skip
        outputs.mul_(scales[:, None]).addr_(offsets, self._sums)
        if self._bias is not None:
            outputs.add_(self._bias)
        return outputs.reshape(*inputs.shape[:-1], self.out_features)


def quantised_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return rows [M, K] float32 as unsigned bytes, and what makes them again: each row's scale and offset, [M].

    The smallest value of a row is 0 and its largest 255, so that none of the range is left unused by activations that
    are mostly positive.

    >>> quantised, scales, offsets = quantised_rows(torch.tensor([[1.55, -1.0, 0.0], [0.0, 0.0, 0.0]]))
    >>> quantised.tolist(), round(float(scales[0]), 4), offsets.tolist()
    ([[255, 0, 100], [0, 0, 0]], 0.01, [-1.0, 0.0])
    """
    lowest = rows.amin(dim=1, keepdim=True)
    scales = (rows.amax(dim=1, keepdim=True) - lowest).clamp_min_(_SMALLEST).div_(_STEPS)
    inverse = scales.reciprocal()
    # by way of signed bytes, to which torch converts in a fourth of the time
    signed = (rows * inverse).sub_(lowest * inverse + _SIGN).round_().to(torch.int8)
    return signed.view(torch.uint8).bitwise_xor_(_SIGN), scales[:, 0], lowest[:, 0]
