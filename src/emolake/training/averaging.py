"""The running mean of a network's weights over the steps of its training."""

from collections.abc import Mapping

import torch


@torch.no_grad()
def average_into(
    averaged: Mapping[str, torch.Tensor], current: Mapping[str, torch.Tensor], *, decay: float, step: int
) -> None:
    """Move the averaged weights in place towards the current ones; integers are taken over.

    Args:
        averaged: by name, on the device of the current ones.
        current: those after a step.
        decay: of the mean, per step. Early on the memory is shorter, or a short training would end near the weights
            that it began with.
        step: number of the step, from 1.
    """
    share = 1 - min(decay, step / (step + 9))
    for name, value in current.items():
        if value.is_floating_point():
            averaged[name].lerp_(value, share)
        else:
            averaged[name].copy_(value)
