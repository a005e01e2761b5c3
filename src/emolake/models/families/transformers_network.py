"""What the family "transformers" computes: a classifier of transformers, from prepared input to its own logits."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from emolake.models.encoders import encoder_input

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Classifier(nn.Module):
    """A checkpoint whose batches are masked; training and inference run the same code."""

    def __init__(self, model: "PreTrainedModel") -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits [B, labels] of what `encoder_input.prepared` gives for waves of `lengths` [B]."""
        arguments: dict[str, Any] = {}
        if self.model.config.model_type != "whisper":
            arguments["attention_mask"] = encoder_input.attention_mask(inputs, lengths, self.model.config)
        logits: torch.Tensor = self.model(inputs, **arguments).logits
        return logits
