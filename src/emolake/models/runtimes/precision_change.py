"""How much a precision below fp32 changes a model's answers, and the sentence for it."""

import math
from dataclasses import dataclass

from emolake.models.protocol import EmotionModel

_MUCH = 0.01  # share of labels that a precision changes, above which that is to be looked into


@dataclass(frozen=True)
class PrecisionChange:
    """How much a precision changes a model's answers, against fp32, on speech that was made for that."""

    clips: int
    largest: float
    """Largest change of a probability, or of arousal, dominance and valence; NaN where an answer is none."""
    labels: float
    """Share of the clips whose label is another."""

    def __str__(self) -> str:
        """Say it for the end of a sentence."""
        return (
            f"on {self.clips} clips of made speech by up to {self.largest:.1e}, with another label for "
            f"{self.labels:.1%}"
        )


def change_of(model: EmotionModel) -> str:
    """Return how much its precision changes a loaded model's answers, and what to do about that, to end a sentence."""
    compare = "compare it with fp32 on labelled clips by `emolake evaluate` before its results are used"
    change = getattr(model, "precision_change", None)
    if change is None:
        return f"more than 1 % of the labels where that was measured; {compare}"
    if math.isnan(change.largest):
        return f"some are not finite any more; {compare}"
    much = f", more than 1 %; {compare}" if change.labels > _MUCH else ""
    return f"{change}{much}"
