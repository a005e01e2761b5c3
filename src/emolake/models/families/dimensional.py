"""Family "dimensional": arousal, dominance and valence by a regression head on wav2vec 2.0.

The layout is that of audEERING's wav2vec2-large-robust-12-ft-emotion-msp-dim (Wagner et al. 2023,
https://arxiv.org/abs/2203.07378): `W2 tanh(W1 mean_t(h_t) + b1) + b2` of the encoder's output h over a clip's frames.
The head is a regression without a bound: its values lie around 0 to 1, and are given as they are.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model, Wav2Vec2PreTrainedModel

from emolake.audio.features import valid_mask
from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.hub import model_folder
from emolake.models.protocol import (
    AFFECT_DIMENSIONS,
    ENCODER_PRECISIONS,
    Batching,
    Description,
    Prediction,
)
from emolake.models.runtimes.graphs import Graphs
from emolake.models.runtimes.networks import Network, exact_batching, load_network, modules_of


class DimensionalOptions(BaseModel):
    """The keys of a model of this family."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """Hub id or folder of the checkpoint."""
    revision: str | None = None
    """Revision on the hub; a commit pins the model."""


class Dimensional:
    """A loaded checkpoint. See `emolake.models.protocol.EmotionModel`."""

    Options = DimensionalOptions
    family = "dimensional"
    labels: tuple[str, ...] = ()
    sampling_rate = 16_000
    min_samples = speech_encoder.MIN_SAMPLES
    max_samples: int | None = None
    precisions = ENCODER_PRECISIONS

    def __init__(
        self,
        network: Network,
        *,
        outputs: tuple[str, ...],
        batching: Batching,
        eps: float | None,
        device: str,
        precision: str,
    ) -> None:
        """Take a network whose outputs are `outputs`, in that order; `eps` is None where waves are not normalised."""
        self.device = device
        self.precision = precision
        self.batching = batching
        self._network = network
        self._eps = eps
        self._order = [outputs.index(dimension) for dimension in AFFECT_DIMENSIONS]

    @classmethod
    def describe(cls, options: DimensionalOptions) -> Description:
        """Find the checkpoint; see `emolake.models.protocol.Family`."""
        folder = _folder(options)
        _outputs(_config(folder), folder)
        return Description((), speech_encoder.weight_files(folder))

    @classmethod
    def load(
        cls, options: DimensionalOptions, *, device: str, precision: str, graphs: Graphs | None = None
    ) -> Self:
        """Load the checkpoint, refusing one whose head is missing or of another layout."""
        folder = _folder(options)
        config = _config(folder)
        outputs = _outputs(config, folder)
        extractor = speech_encoder.read_json(folder / "preprocessor_config.json")
        rate = extractor.get("sampling_rate", cls.sampling_rate)
        if rate != cls.sampling_rate:
            raise ConfigurationError(
                f"{folder} takes {rate} Hz, expected {cls.sampling_rate} Hz; use a 16 kHz checkpoint"
            )
        eps = speech_encoder.HUGGING_FACE_EPS if extractor.get("do_normalize", True) else None
        batching = speech_encoder.batching(config)
        network = load_network(
            lambda: speech_encoder.load_exactly(_Network, folder),
            partial(speech_encoder.normalised, eps=eps),
            batching=batching,
            device=device,
            precision=precision,
            graphs=graphs,
        )
        return cls(
            network,
            outputs=outputs,
            batching=exact_batching(batching, precision),
            eps=eps,
            device=device,
            precision=precision,
        )

    @torch.inference_mode()
    def predict(self, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        """See `emolake.models.protocol.EmotionModel`."""
        waves, lengths = waves.to(self.device), lengths.to(self.device)
        inputs = speech_encoder.normalised(waves, lengths, self._eps)
        affect = self._network(inputs, lengths)[:, self._order]
        return Prediction(torch.zeros(len(waves), 0), affect=affect.to("cpu", torch.float32))

    def modules(self) -> Mapping[str, nn.Module]:
        """See `emolake.predict.diagnosis.Inspectable`."""
        return modules_of(self._network, "model")

    def layer_weights(self) -> Mapping[str, torch.Tensor]:
        """See `emolake.predict.diagnosis.Inspectable`; this family sums no layers."""
        return {}


class _Network(Wav2Vec2PreTrainedModel):
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
        """[B, outputs] of waves [B, T], each member as if it were alone."""
        mask = speech_encoder.attention_mask(waves, lengths, self.config)
        states = self.wav2vec2(waves, attention_mask=mask).last_hidden_state
        frames = speech_encoder.frame_counts(lengths, self.config)
        pooled = (states.float() * valid_mask(frames, states.shape[1])[:, :, None]).sum(dim=1) / frames[
            :, None
        ]
        values: torch.Tensor = self.classifier["out_proj"](torch.tanh(self.classifier["dense"](pooled)))
        return values


def _folder(options: DimensionalOptions) -> Path:
    return model_folder(options.model, options.revision, speech_encoder.FILES)


def _config(folder: Path) -> Mapping[str, Any]:
    """Return the checkpoint's configuration, unless it describes something that this family does not compute."""
    config = speech_encoder.read_json(folder / "config.json")
    expected = {"model_type": "wav2vec2", "pooling_mode": "mean", "add_adapter": False}
    for key, value in expected.items():
        found = config.get(key, value)
        if found != value or (key == "model_type" and key not in config):
            raise ConfigurationError(
                f"{folder / 'config.json'} has {key} = {config.get(key)!r}, and the family dimensional computes "
                f"{value!r}; use a checkpoint in the layout of audEERING's wav2vec 2.0 model"
            )
    return config


def _outputs(config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Return what each output is, in order."""
    named = config.get("id2label") or {}
    outputs = tuple(str(named.get(str(index), "unnamed")).strip().casefold() for index in range(len(named)))
    if sorted(outputs) != sorted(AFFECT_DIMENSIONS):
        raise ConfigurationError(
            f"{folder / 'config.json'} names the outputs {', '.join(outputs) or 'not at all'} in id2label, expected "
            f"{', '.join(AFFECT_DIMENSIONS)} in any order; correct id2label"
        )
    return outputs
