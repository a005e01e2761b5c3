"""The options of the trainers on speech encoders: the recipe of the family "encoder_head"."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from emolake.audio.feature_options import ConditioningOptions
from emolake.models.families.encoder_head import Pooling
from emolake.options import Options
from emolake.training.encoder_training import SpecAugmentOptions
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.regression import RegressionOptions
from emolake.training.waves import WaveAugmentOptions


class EncoderRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

    encoder: str = "facebook/wav2vec2-large-xlsr-53"
    """Hub id or folder of a wav2vec 2.0, HuBERT, WavLM or Whisper model, in transformers' layout."""
    revision: str | None = None
    """Revision on the hub; a commit pins it."""
    unfreeze_layers: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    """Last transformer layers that are trained: a number, or all. With 0 the encoder runs once for each clip."""
    layers: int | None = Field(None, ge=1)
    """First transformer layers that are kept; all when left out. The last ones of Whisper know words, not voices."""
    pooling: Pooling = "mean"
    """How frames become a vector: mean, or mean_std."""
    conditioning: ConditioningOptions = ConditioningOptions()
    """What is removed from every clip, also in inference: an offset and hum, the level."""
    networks: int = Field(1, ge=1)
    """Networks that are tuned from one beginning, each with other draws; the mean of their weights is the model's.

    It is about as good as the mean of their answers, and costs no more than one of them (model soups, Wortsman et al.
    2022).
    """
    portable: bool = False
    """The written folder holds the encoder too, in float16, and needs no other file."""
    projector: int | None = Field(256, ge=1)
    """Width of the layer before the output; none: null."""
    max_duration_s: float = Field(10.0, gt=0)
    """A longer clip is cut off."""
    augment: WaveAugmentOptions = WaveAugmentOptions()
    """Changes to training clips."""
    spec_augment: SpecAugmentOptions = SpecAugmentOptions()
    """What is hidden of the encoder's states, where it is trained."""
    checkpointing: bool = False
    """Activations are computed twice, which saves memory."""
    loop: OptimiseOptions = OptimiseOptions()
    """How the network is trained."""
    regression: RegressionOptions | None = None
    """The head begins as the optimum of a penalised logistic regression; of a frozen encoder that is all training."""

    @model_validator(mode="after")
    def _is_linear(self) -> Self:
        if self.regression is not None and self.projector is not None:
            raise ValueError("regression fits one linear layer; give projector null, or regression null")
        if self.networks > 1 and self.unfreeze_layers == 0:
            raise ValueError(
                f"networks is {self.networks}, and those on a frozen encoder are alike; give networks 1, or "
                "unfreeze_layers"
            )
        return self
