"""What the family "dimensional" computes: the encoder's mean state through a head of two layers."""

from typing import Any

import torch
from torch import nn
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model, Wav2Vec2PreTrainedModel

from emolake.models.encoders import encoder_input


class DimensionalNetwork(Wav2Vec2PreTrainedModel):
    """The checkpoint's modules by the names that it has for them."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = nn.ModuleDict(
            {
                "dense": nn.Linear(config.hidden_size, config.hidden_size),
                "out_proj": nn.Linear(config.hidden_size, config.num_labels),
            }
        )
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return outputs [B, n] of waves [B, T], each member as if it were alone."""
        pooled = encoder_input.mean_over_frames(*encoder_input.encode(self.wav2vec2, waves, lengths))
        values: torch.Tensor = self.classifier["out_proj"](torch.tanh(self.classifier["dense"](pooled)))
        return values
