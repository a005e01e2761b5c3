"""The best linear head on pooled states: a penalised logistic regression, fitted to its only optimum."""

from collections.abc import Sequence

import numpy as np
import torch
from pydantic import Field

from emolake.models.threads import one_thread
from emolake.options import Options
from emolake.training.balance import drawing_weights
from emolake.training.goals import Goals, class_weights
from emolake.training.optimise_options import OptimiseOptions

_MOST_STEPS = 200
_ENOUGH = 1e-7  # change of the loss, after which no figure changes


class RegressionOptions(Options):
    """How a linear head is fitted without a learning rate; the key `regression` of a recipe.

    Of `loop` its labels' options hold: `label_smoothing`, `foreign_labels`, `class_weights` and `balance`, by which
    clips count instead of being drawn.
    """

    penalty: float = Field(0.05, gt=0)
    """Half of it times the sum of the squared weights is added to the mean loss; states are standardised first."""


def fit_regression(
    states: np.ndarray,
    targets: np.ndarray,
    corpora: Sequence[str],
    *,
    labels: int,
    loop: OptimiseOptions,
    options: RegressionOptions,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights [labels, width] and biases [labels] float32 of the head that fits pooled states best.

    The loss has one optimum, so nothing is drawn: the same states give the same head.

    Args:
        states: pooled states of the training clips, [N, width], as the head will have them.
        targets: label of each, [N] int64.
        corpora: corpus of each, [N].
        labels: number of labels.
        loop: what labels and corpora count.
        options: how strongly weights are held back.
    """
    goals = Goals.of(targets, corpora, class_weights(targets, labels, enabled=loop.class_weights), loop)
    counts = goals.weights.double().numpy() * drawing_weights(goals.strata, loop.balance or 0.0)
    share = torch.from_numpy(counts / counts.sum())
    # In double precision, or the line search ends early where states are nearly constant.
    mean = states.mean(axis=0, dtype=np.float64)
    scale = states.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 1e-6, scale, 1.0)
    inputs = torch.from_numpy((states - mean) / scale)
    wanted, offsets = goals.wanted.double(), goals.offsets.double()
    weight = torch.zeros(labels, states.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(labels, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_MOST_STEPS, tolerance_change=_ENOUGH, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        scores = torch.log_softmax(inputs @ weight.T + bias + offsets, dim=1)
        total: torch.Tensor = -((scores * wanted).sum(dim=1) * share).sum()
        total = total + options.penalty / 2 * weight.square().sum()
        total.backward()
        return total

    with one_thread():
        optimizer.step(loss)
    found = weight.detach().numpy() / scale
    return (
        torch.from_numpy(found.astype(np.float32)),
        torch.from_numpy((bias.detach().numpy() - found @ mean).astype(np.float32)),
    )
