"""How a network is trained by gradients: the key `loop` of a recipe."""

from typing import Literal

from pydantic import Field

from emolake.options import Options

Monitor = Literal["valid_uar", "valid_loss"]


class OptimiseOptions(Options):
    """How a network is trained; the key `loop` of a recipe."""

    epochs: int = Field(5, ge=1)
    """Passes over the training clips, at most."""
    batch: int = Field(4, ge=1)
    """Clips that go through the network at once."""
    accumulate: int = Field(4, ge=1)
    """Batches whose gradients are averaged, clip by clip, for one step."""
    similar_lengths: int = Field(1, ge=1)
    """Out of so many steps' clips, those of similar length make a step together, which saves padding; 1: none."""
    learning_rate: float = Field(3e-5, gt=0)
    """Highest rate of AdamW."""
    head_learning_rate: float | None = Field(None, gt=0)
    """That of what is not pretrained; the same when left out."""
    weight_decay: float = Field(0.01, ge=0)
    """Of AdamW."""
    warm_up_steps: int = Field(1000, ge=0)
    """Steps until the highest rate; no more than a third of all steps, nor of those of `patience` epochs."""
    schedule: Literal["linear", "plateau", "constant"] = "linear"
    """After it: down to 0 at the last step, down by a factor when validation no longer improves, or unchanged."""
    plateau_factor: float = Field(0.5, gt=0, lt=1)
    """What the plateau's schedule multiplies the rate by."""
    plateau_patience: int = Field(2, ge=0)
    """Epochs without a better validation that it waits for."""
    clip_norm: float = Field(1.0, gt=0)
    """Longest gradient."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread over all labels."""
    class_weights: bool = True
    """A clip counts by the inverse of its label's share of the training clips."""
    balance: float | None = Field(None, ge=0, le=1)
    """As many clips as there are are drawn in an epoch, by corpus and label: 0 evenly, 1 each label of each corpus
    equally often. Left out, each clip comes once."""
    foreign_labels: float = Field(1.0, gt=0, le=1)
    """How much labels that a clip's corpus does not have count in its loss: their probabilities are multiplied by it
    before the softmax's sum, so that another language is no evidence against an emotion that it was not recorded in."""
    average: float = Field(0.0, ge=0, lt=1)
    """Decay per step of the averaged weights that result; 0: those of the last step."""
    monitor: Monitor = "valid_uar"
    """What says which epoch is best."""
    patience: int | None = Field(3, ge=1)
    """Epochs without a better one after which training ends; null: it ends after the last epoch, whose weights are
    kept, and no clip is taken from training to measure epochs by."""
    threshold: float = Field(1e-3, ge=0)
    """By how much an epoch must be better to count as such."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """What the training's forward pass runs in; fp16 needs a GPU. Validation and predictions are always in fp32."""
