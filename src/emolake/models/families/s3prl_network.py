"""What the family "s3prl" computes: the encoder's states, their means over time, and the heads on those."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from emolake.models.encoders import encoder_input, speech_encoder
from emolake.models.encoders.encoder_model import SpeechEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Head:
    """Layer weights [N+1], projector and output of one checkpoint."""

    def __init__(self, raw_weights: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        self._raw_weights = raw_weights
        self._tensors = dict(tensors)

    @property
    def layer_weights(self) -> torch.Tensor:
        """Weights that the states are summed with, [N+1], positive and of sum 1."""
        return self._raw_weights.softmax(dim=0)

    def to(self, device: torch.device) -> "Head":
        """Return the head on a device."""
        return Head(
            self._raw_weights.to(device), {name: tensor.to(device) for name, tensor in self._tensors.items()}
        )

    def __call__(self, pooled: list[torch.Tensor]) -> torch.Tensor:
        """Return logits [B, labels] of every state's mean, [B, hidden] each; training runs the same code."""
        with torch.autocast(
            pooled[0].device.type, enabled=False
        ):  # exact, also under an encoder in half precision
            return self._exact(pooled)

    def _exact(self, pooled: list[torch.Tensor]) -> torch.Tensor:
        weighted = [weight * state for weight, state in zip(self.layer_weights, pooled, strict=True)]
        features = sum(weighted[1:], start=weighted[0])
        projected = functional.linear(
            features, self._tensors["projector.weight"], self._tensors["projector.bias"]
        )
        return functional.linear(
            projected,
            self._tensors["model.post_net.linear.weight"],
            self._tensors["model.post_net.linear.bias"],
        )


def load_encoder(folder: Path) -> "PreTrainedModel":
    """Load an upstream; raises ConfigurationError when it is of another kind or its weights do not fit."""
    return SpeechEncoder(folder, speech_encoder.encoder_config(folder)).load()


class S3prlNetwork(nn.Module):
    """An encoder with one head, or the mean of several, from normalised waves to logits."""

    def __init__(self, encoder: "PreTrainedModel", heads: list[Head]) -> None:
        super().__init__()
        self.upstream: Any = encoder
        self.heads = heads

    def forward(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits [B, labels] of waves [B, T], zero-padded, of `lengths` [B] samples."""
        pooled = self.pooled_states(waves, lengths)
        return torch.stack([head.to(waves.device)(pooled) for head in self.heads]).mean(dim=0)

    def pooled_states(self, waves: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        """Return each hidden state's mean over a clip's own frames, [B, hidden], from shallow to deep.

        State i < N is the input of layer i; the last is the encoder's output after its final layer norm, which
        transformers' own `hidden_states[-1]` is not in every version.
        """
        frames = speech_encoder.frame_counts(lengths, self.upstream.config)
        pooled: list[torch.Tensor] = []

        def take(_layer: object, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            states = inputs[0] if inputs else named["hidden_states"]
            pooled.append(encoder_input.mean_over_frames(states, frames))

        hooks = [
            layer.register_forward_pre_hook(take, with_kwargs=True) for layer in self.upstream.encoder.layers
        ]
        try:
            mask = encoder_input.attention_mask(waves, lengths, self.upstream.config)
            output = self.upstream(waves, attention_mask=mask)
        finally:
            for hook in hooks:
                hook.remove()
        pooled.append(encoder_input.mean_over_frames(output.last_hidden_state, frames))
        return pooled
