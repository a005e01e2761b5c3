"""The form of a module that makes a fast graph: the same answer by operators that onnxruntime is quick at.

Measured on HuBERT-large by `bench.operators`, which shows what is left above the matrix products.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def graph_form(module: nn.Module) -> Iterator[None]:
    """Give a module, in the block, the form that is to be traced; it is the module of before afterwards."""
    with _eager_attention(module), _first_convolutions(module), _products(module):
        yield


@contextmanager
def _products(module: nn.Module) -> Iterator[None]:
    """Let the linear layers of transformers' encoders multiply by a view of their weights that is turned already.

    The exporter would turn every weight to find out shapes, and keep all of these copies until its end.
    """
    from transformers import PreTrainedModel

    before = [
        (parent, name, layer)
        for encoder in module.modules()
        if isinstance(encoder, PreTrainedModel)
        for parent in encoder.modules()
        for name, layer in parent.named_children()
        if type(layer) is nn.Linear
    ]
    try:
        for parent, name, layer in before:
            setattr(parent, name, LinearProduct(layer))
        yield
    finally:
        for parent, name, layer in before:
            setattr(parent, name, layer)


class LinearProduct(nn.Module):
    """A linear layer as a product and a sum; its weight is there for those who ask for that by itself."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.matrix = nn.Parameter(linear.weight.detach().t(), requires_grad=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return what the layer gives."""
        product = torch.matmul(states, self.matrix)
        return product if self.bias is None else product + self.bias


@contextmanager
def _eager_attention(module: nn.Module) -> Iterator[None]:
    """Let the encoders of transformers spell their attention out.

    Of torch's fused attention the exporter makes a graph that looks for rows without a key, in every layer and head.
    """
    from transformers import PreTrainedModel

    encoders = [each for each in module.modules() if isinstance(each, PreTrainedModel)]
    before = [each.config._attn_implementation for each in encoders]
    try:
        for each in encoders:
            each.set_attn_implementation("eager")
        yield
    finally:
        for each, implementation in zip(encoders, before, strict=True):
            each.set_attn_implementation(implementation)


@contextmanager
def _first_convolutions(module: nn.Module) -> Iterator[None]:
    """Replace convolutions of a waveform under a layer norm, whose result is the largest of all an encoder's."""
    found = [
        (layer, getattr(layer, "conv", None), getattr(layer, "layer_norm", None))
        for layer in module.modules()
    ]
    before = [
        (layer, convolution)
        for layer, convolution, norm in found
        if isinstance(convolution, nn.Conv1d)
        and convolution.in_channels == 1
        and isinstance(norm, nn.LayerNorm)
    ]
    try:
        for layer, convolution in before:
            layer.conv = WaveConvolution(convolution)
        yield
    finally:
        for layer, convolution in before:
            layer.conv = convolution


class WaveConvolution(nn.Module):
    """An unpadded convolution of one channel as a matrix product, whose result lies channels last.

    The layer norm that follows wants it so; else everything would be transposed before it.
    """

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        assert convolution.in_channels == 1
        assert convolution.padding == (0,)
        assert convolution.dilation == (1,)
        (self.kernel,), (self.stride,) = convolution.kernel_size, convolution.stride
        weight = convolution.weight[:, 0].T  # [kernel, channels]
        bias = weight.new_zeros(weight.shape[1]) if convolution.bias is None else convolution.bias
        self.matrix = nn.Parameter(torch.cat([weight, bias[None]]), requires_grad=False)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """Return the result [B, channels, frames] of waves [B, 1, T]."""
        frames = (waves.shape[2] - self.kernel) // self.stride + 1
        last = self.stride * (frames - 1) + 1
        taps = [waves[:, 0, tap : tap + last : self.stride] for tap in range(self.kernel)]
        # the bias is a row of the matrix: added by itself it would cost a pass over the result
        windows = torch.stack([*taps, torch.ones_like(taps[0])], dim=-1)
        return torch.matmul(windows, self.matrix).transpose(1, 2)
