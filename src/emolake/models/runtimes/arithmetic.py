"""The arithmetic of a network's forward pass below exact fp32, and how much it changes the answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from emolake.models.runtimes import on_processor
from emolake.models.runtimes.precision_change import PrecisionChange

HALVES: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Precisions whose weights take two bytes."""
_PROMISED = 1e-4  # largest change of a probability by a batch; see `emolake.models.protocol.EmotionModel`
_flags = RLock()


@contextmanager
def fp32_products(*, tf32: bool) -> Iterator[None]:
    """Let a GPU's products of float32 round their factors to TF32 in the block, or keep them exact.

    torch has one setting for the process, and convolutions are in TF32 unless it says otherwise.
    """
    with _flags:
        before = _set_fp32("tf32" if tf32 else "ieee")
        try:
            yield
        finally:
            _set_fp32(before)


def _set_fp32(precision: str) -> str:
    """Set how products of float32 are computed on a GPU; return how they were."""
    backends: Any = torch.backends  # whose stubs lack these
    before: str = backends.cuda.matmul.fp32_precision
    for products in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        products.fp32_precision = precision
    return "ieee" if before == "none" else before


def exact_fp32() -> None:
    """Let fp32 on a GPU be fp32, for the rest of the process."""
    with _flags:
        _set_fp32("ieee")


class InHalf(nn.Module):
    """A module whose encoders have weights, matrix products and convolutions in half precision.

    Layer norms, softmax, the sums between layers, means over time, and all that is behind the encoders, heads and the
    weighted sum of states, are in float32.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        """Take a module over; its weights are halved in place."""
        super().__init__()
        self.module = module
        self._dtype = dtype
        encoders = encoders_of(module)
        own = {id(part) for encoder in encoders for part in encoder.modules()}
        for encoder in encoders:
            for part in encoder.modules():
                if isinstance(part, nn.Linear | nn.Conv1d):
                    part.to(dtype)
        for part in module.modules():
            if isinstance(part, nn.Linear) and id(part) not in own:
                part.forward = partial(_linear_in_fp32, part)  # type: ignore[method-assign]

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """See `emolake.models.runtimes.networks.Network`."""
        # weights are in half already, so that there is nothing to keep
        with torch.autocast(inputs.device.type, self._dtype, cache_enabled=False):
            outputs: torch.Tensor = self.module(inputs, lengths)
        return outputs.float()


def _linear_in_fp32(linear: nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    with torch.autocast(inputs.device.type, enabled=False):
        return functional.linear(inputs.float(), linear.weight, linear.bias)


def encoders_of(module: nn.Module) -> list[nn.Module]:
    """Return the encoders of transformers in a module: their innermost models."""
    from transformers import PreTrainedModel

    models = [each for each in module.modules() if isinstance(each, PreTrainedModel)]
    return [
        each
        for each in models
        if not any(inner is not each and isinstance(inner, PreTrainedModel) for inner in each.modules())
    ]


def measured_change(
    before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], *, are_logits: bool
) -> PrecisionChange:
    """Compare outputs [n] of the same clips; those that are no logits have no label, and are compared as they are."""
    exact, found = torch.stack(list(before)).double(), torch.stack(list(after)).double()
    if not are_logits:
        return PrecisionChange(len(exact), float((found - exact).abs().max()), 0.0)
    largest = (found.softmax(dim=1) - exact.softmax(dim=1)).abs().max()
    changed = (found.argmax(dim=1) != exact.argmax(dim=1)).double().mean()
    return PrecisionChange(len(exact), float(largest), float(changed))


def lowered(
    module: nn.Module,
    precision: str,
    device: str,
    answer: Callable[[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]], Sequence[torch.Tensor]],
    *,
    are_logits: bool,
) -> tuple[nn.Module, PrecisionChange]:
    """Return a module in a lower precision, and how much that changes its answers.

    Args:
        module: in float32; it is taken over.
        precision: tf32, one of `HALVES`, or int8.
        device: where it lies.
        answer: returns the outputs of a network for clips that are always the same.
        are_logits: see `measured_change`.
    """
    with torch.inference_mode():
        with fp32_products(tf32=False):
            before = answer(module)
        low = _lowered(module, precision, device)
        with fp32_products(tf32=precision == "tf32"):
            after = answer(low)
    return low, measured_change(before, after, are_logits=are_logits)


def _lowered(module: nn.Module, precision: str, device: str) -> nn.Module:
    if device == "cpu" and precision in on_processor.PRECISIONS:
        for encoder in encoders_of(module):
            on_processor.lower(encoder, precision)
        return module
    return InHalf(module, HALVES[precision]) if precision in HALVES else module


def batches_are_exact(
    alone: Sequence[torch.Tensor], together: Sequence[torch.Tensor], *, are_logits: bool
) -> bool:
    """Return whether outputs [n] of clips in a batch are within the promise of what each gives alone."""
    return measured_change(alone, together, are_logits=are_logits).largest <= _PROMISED
