"""What the family "peak" computes."""

import torch
from torch import nn
from transformers import PreTrainedModel

from emolake.audio.features import valid_mask
from emolake.models.encoders import encoder_input


class PeakNetwork(nn.Module):
    """An encoder and a linear output, from prepared waves to logits."""

    def __init__(self, encoder: PreTrainedModel, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.output = nn.Linear(encoder.config.hidden_size, labels)

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits [B, labels] of the largest value of each state over a clip's own frames."""
        states, frames = encoder_input.encode(self.encoder, inputs, lengths)
        own = valid_mask(frames, states.shape[1])[:, :, None]
        return self.output(states.masked_fill(~own, -torch.inf).amax(dim=1))
