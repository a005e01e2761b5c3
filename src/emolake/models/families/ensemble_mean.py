"""What the family "ensemble" computes: the weighted mean of its members' predictions."""

from collections.abc import Sequence

import torch

from emolake.models.protocol import Prediction

_LEAST = torch.finfo(torch.float32).tiny  # so that an emotion that no member sees has a finite logarithm


def weighted_mean(
    predictions: Sequence[Prediction],
    weights: Sequence[float],
    places: Sequence[Sequence[int]],
    *,
    emotions: int,
) -> Prediction:
    """Return the members' mean prediction; its logits are logarithms of the mean probabilities.

    Args:
        predictions: one of each member, of the same segments.
        weights: positive, one for each member; their sum does not matter.
        places: for each member the position of each of its labels' emotions.
        emotions: how many emotions there are.
    """
    segments = len(predictions[0].logits)
    wide = torch.tensor(weights, dtype=torch.float64)
    total = torch.zeros(segments, emotions, dtype=torch.float64)
    votes = torch.zeros(segments, dtype=torch.float64)
    for prediction, weight, own in zip(predictions, wide, places, strict=True):
        if not own:
            continue
        vote = weight.expand(segments)
        if prediction.labelled is not None:
            vote = vote * prediction.labelled
        probabilities = prediction.logits.double().softmax(dim=1)
        total.index_add_(1, torch.tensor(own), vote[:, None] * probabilities)
        votes += vote
    labelled = votes > 0
    # Without a vote there is no mean, and the logits are all the same.
    mean = total / votes.where(labelled, torch.ones_like(votes))[:, None]
    logits = mean.float().clamp_min(_LEAST).log()
    return Prediction(logits, affect=_mean_affect(predictions, wide), labelled=labelled if emotions else None)


def _mean_affect(predictions: Sequence[Prediction], weights: torch.Tensor) -> torch.Tensor | None:
    """Return the mean [B, 3] float32 over the members that give arousal, dominance and valence, or None."""
    given = [
        (weight, prediction.affect.double())
        for weight, prediction in zip(weights, predictions, strict=True)
        if prediction.affect is not None
    ]
    if not given:
        return None
    own = torch.stack([weight for weight, _ in given])
    values = torch.stack([affect for _, affect in given])
    mean: torch.Tensor = torch.tensordot(own, values, dims=1) / own.sum()
    return mean.float()
