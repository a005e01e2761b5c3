"""What the family "encoder_head" computes: an encoder's mean state, an optional projector and one linear output."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from emolake.audio.feature_options import AS_IT_IS, ConditioningOptions
from emolake.errors import ConfigurationError
from emolake.models.encoders import encoder_input, speech_encoder
from emolake.models.encoders.encoder_model import SpeechEncoder
from emolake.models.families.encoder_head import Pooling
from emolake.models.protocol import Batching

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LinearHead(nn.Module):
    """An optional projector and one linear output."""

    def __init__(self, hidden: int, *, labels: int, projector: int | None) -> None:
        """Make a head with random weights on states of width `hidden`."""
        super().__init__()
        self.projector = nn.Identity() if projector is None else nn.Linear(hidden, projector)
        self.output = nn.Linear(projector or hidden, labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return logits [B, labels] of a clip's mean state [B, hidden]."""
        logits: torch.Tensor = self.output(self.projector(pooled))
        return logits


class EncoderNetwork(LinearHead):
    """An encoder and a linear head, from waveforms to logits; training and inference run the same code."""

    def __init__(
        self,
        encoder: "PreTrainedModel",
        described: SpeechEncoder,
        *,
        labels: int,
        projector: int | None,
        pooling: Pooling = "mean",
    ) -> None:
        """Put a head on an encoder.

        Args:
            encoder: a transformers encoder: of wav2vec 2.0, HuBERT, WavLM, or WhisperEncoder.
            described: how its input is made.
            labels: number of outputs.
            projector: width of the layer before the output, or None.
            pooling: how frames become a vector.
        """
        width = encoder.config.hidden_size * (2 if pooling == "mean_std" else 1)
        super().__init__(width, labels=labels, projector=projector)
        self.width = width
        self._pooling = pooling
        self.encoder = encoder
        self._described = described
        self.config: Any = encoder.config

    @property
    def batching(self) -> Batching:
        """Which batches are exact."""
        return self._described.batching

    def forward(  # type: ignore[override]  # from waveforms, not from states
        self, waves: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Return logits [B, labels] of waves [B, T] float32, zero-padded, of `lengths` [B] samples."""
        return super().forward(self.pooled(waves, lengths))

    def pooled(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the encoder's output pooled over each clip's own frames, [B, hidden] or [B, 2 hidden].

        It stays the same as long as the encoder is frozen.
        """
        return self._pooled(self._described.prepare(waves, lengths), lengths)

    def from_prepared(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return logits [B, labels] of what `SpeechEncoder.prepare` gives for waves of `lengths` [B]."""
        return super().forward(self._pooled(inputs, lengths))

    def _pooled(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        states, frames = self._described.encode(self.encoder, inputs, lengths)
        mean = encoder_input.mean_over_frames(states, frames)
        if self._pooling == "mean":
            return mean
        return torch.cat([mean, encoder_input.deviation_over_frames(states, frames)], dim=1)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what `model.safetensors` holds: the head, and the encoder's weights that ask for gradients."""
        return {
            name: parameter.detach().cpu().contiguous()
            for name, parameter in self.named_parameters()
            if not name.startswith("encoder.") or parameter.requires_grad
        }


class FromPrepared(nn.Module):
    """An `EncoderNetwork` behind the preparation of its waves."""

    def __init__(self, network: EncoderNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """See `EncoderNetwork.from_prepared`."""
        return self.network.from_prepared(inputs, lengths)


def read_encoder(
    folder: Path,
    *,
    own_frames: bool = False,
    conditioning: ConditioningOptions = AS_IT_IS,
) -> SpeechEncoder:
    """Return the encoder of a folder in transformers' layout; see `SpeechEncoder` for its options.

    Raises:
        ConfigurationError: the folder holds none that this family computes exactly.
    """
    config = speech_encoder.encoder_config(folder, speech_encoder.MODEL_TYPES_AND_WHISPER)
    if config.get("add_adapter"):
        raise ConfigurationError(
            f"{folder} has an adapter after its encoder, whose frames are not counted; use an encoder without"
        )
    speech_encoder.read_json(folder / "preprocessor_config.json")
    encoder = SpeechEncoder.read(folder, own_frames=own_frames, conditioning=conditioning)
    extractor, hop = encoder.extractor, encoder_input.WHISPER_HOP
    if config["model_type"] == "whisper" and (extractor.hop_length, extractor.nb_max_frames) != (
        hop,
        2 * config.get("max_source_positions", 0),
    ):
        raise ConfigurationError(
            f"{folder} has an encoder of {config.get('max_source_positions')} positions and an extractor of "
            f"{extractor.nb_max_frames} frames {extractor.hop_length} samples apart, expected twice as many frames "
            f"{hop} apart; take both files from one model"
        )
    return encoder


def new_network(
    described: SpeechEncoder,
    *,
    labels: int,
    projector: int | None,
    pooling: Pooling = "mean",
    layers: int | None = None,
) -> EncoderNetwork:
    """Return an encoder with its weights under a head with random ones.

    Args:
        described: the encoder, as `read_encoder` gives it.
        labels: number of outputs.
        projector: width of the layer before the output, or None.
        pooling: how frames become a vector.
        layers: how many of the encoder's first transformer layers are kept; all when left out. The norm after the
            last one then begins as plain standardisation, since its weights fit the layer that it came after.

    Raises:
        ConfigurationError: the folder holds no encoder of these families, or not all of its weights, or fewer layers.
    """
    encoder = described.load()
    if layers is not None:
        keep_first_layers(encoder, layers)
    return EncoderNetwork(encoder, described, labels=labels, projector=projector, pooling=pooling)


def transformer_stack(encoder: Any) -> Any:
    """Return the module of an encoder that holds its transformer `layers` and the `layer_norm` around them."""
    return encoder if encoder.config.model_type == "whisper" else encoder.encoder


def keep_first_layers(encoder: Any, count: int) -> None:
    """Drop all of an encoder's transformer layers but the first `count`.

    Raises:
        ConfigurationError: it has fewer.
    """
    stack = transformer_stack(encoder)
    if count > len(stack.layers):
        raise ConfigurationError(f"layers is {count}, and the encoder has {len(stack.layers)}; give fewer")
    if count < len(stack.layers):
        stack.layers = stack.layers[:count]
        if encoder.config.model_type == "whisper" or encoder.config.do_stable_layer_norm:
            stack.layer_norm.reset_parameters()
    name = "encoder_layers" if encoder.config.model_type == "whisper" else "num_hidden_layers"
    encoder.config.update({name: count})
