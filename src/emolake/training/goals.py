"""What a network is trained towards: target distributions, corrected logits and weights of clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch.nn import functional

from emolake.training.balance import own_labels
from emolake.training.optimise_options import OptimiseOptions


@dataclass(frozen=True)
class Goals:
    """What a network is trained towards, for each of N clips."""

    wanted: torch.Tensor
    """[N, labels]: the target distribution."""
    offsets: torch.Tensor
    """[N, labels]: what is added to the logits in the loss."""
    weights: torch.Tensor
    """[N]: how much a clip counts."""
    strata: tuple[str, ...]
    """[N]: corpus and label."""

    @classmethod
    def of(
        cls, targets: np.ndarray, corpora: Sequence[str], weights: torch.Tensor, options: OptimiseOptions
    ) -> Self:
        """Return the goals of clips of these labels [N] and corpora, where a label counts by `weights` [labels]."""
        own = torch.from_numpy(own_labels(corpora, targets, len(weights)))
        foreign = options.foreign_labels < 1
        spread = (own if foreign else torch.ones_like(own)).double()
        certain = functional.one_hot(torch.from_numpy(targets), len(weights)).double()
        share = options.label_smoothing
        wanted = certain * (1 - share) + spread / spread.sum(dim=1, keepdim=True) * share
        offsets = torch.zeros(own.shape).masked_fill(~own, math.log(options.foreign_labels))
        strata = tuple(f"{corpus} {target}" for corpus, target in zip(corpora, targets, strict=True))
        return cls(wanted.float(), offsets, weights[targets], strata)


def class_weights(targets: np.ndarray, labels: int, *, enabled: bool) -> torch.Tensor:
    """Return the weight of each label, [labels] float32: the inverse of its share, of mean 1 over the clips.

    >>> class_weights(np.array([0, 0, 0, 1]), 2, enabled=True).tolist()
    [0.6666666865348816, 2.0]
    """
    counts = np.bincount(targets, minlength=labels)
    weights = len(targets) / np.maximum(counts, 1) / max(1, int(np.count_nonzero(counts)))
    return torch.from_numpy((weights if enabled else np.ones(labels)).astype(np.float32))
