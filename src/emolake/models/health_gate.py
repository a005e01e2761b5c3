"""The health gate: a classifier whose logits are flat does not publish.

A head that was never loaded, or a feature extractor used wrongly, gives almost the same answer to everything: the mean
range of its logits is a fraction of a healthy one's.
"""

from dataclasses import dataclass

from pydantic import Field

from emolake.options import Options


class HealthOptions(Options):
    """When a model counts as degenerate, so that none of its results are aggregated."""

    min_logit_range: float = Field(0.5, ge=0)
    """Least mean of largest minus smallest logit; a head that never loaded shows about 0.2, a healthy one above 1."""
    min_segments: int = Field(20, ge=1)
    """Labelled segments of a run below which no verdict is given."""


@dataclass(frozen=True)
class Health:
    """A verdict on a model, and the sentence that explains it."""

    verdict: str
    detail: str


def judge(segments: int, logit_range_mean: float | None, options: HealthOptions) -> Health:
    """Return the verdict on a model from the mean range of its logits over some labelled segments."""
    if segments < options.min_segments or logit_range_mean is None:
        return Health(
            "too few", f"{segments} labelled segments, expected {options.min_segments} for a verdict"
        )
    if logit_range_mean < options.min_logit_range:
        return Health(
            "flat",
            f"the logits of {segments} segments range over {logit_range_mean:.3f} on average, expected at least "
            f"health.min_logit_range = {options.min_logit_range:g}: the model answers nearly the same to everything; "
            "`emolake diagnose` shows its stages",
        )
    return Health(
        "healthy", f"the logits of {segments} segments range over {logit_range_mean:.2f} on average"
    )
