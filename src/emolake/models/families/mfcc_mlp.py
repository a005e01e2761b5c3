"""Family "mfcc_mlp": a small dense network on a clip's mean cepstral coefficients (40 of them, say).

A folder of this family holds `config.json` (see `MfccMlpConfig`) and `model.safetensors` with `layers.N.weight`
[out, in] and `layers.N.bias` [out] in float32, N from 0: one per hidden layer and one for the output.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, model_validator
from torch import nn
from torch.nn import functional

from emolake.audio.features import MfccOptions, mfcc, valid_mask
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.models.threads import one_thread
from emolake.models.trained_folder import TrainedFolder, fill, read_config

SAMPLING_RATE: Final = 16_000


class MfccMlpConfig(BaseModel):
    """The contents of `config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    family: Literal["mfcc_mlp"]
    """The name in the registry."""
    labels: tuple[str, ...] = Field(min_length=2)
    """What the outputs mean, in order."""
    mfcc: MfccOptions = MfccOptions()
    """The cepstral coefficients; librosa's when left out, 40 of them."""
    hidden: tuple[int, ...] = (256, 128)
    """Width of each hidden layer."""
    activation: Literal["relu", "gelu"] = "relu"
    """Between two layers; gelu is the exact one."""
    mean: tuple[FiniteFloat, ...]
    """Taken from each coefficient's mean over time; the training clips' mean."""
    scale: tuple[FiniteFloat, ...]
    """What is left is divided by it; the training clips' standard deviation."""
    temperature: float = Field(default=1.0, gt=0)
    """The logits are divided by it: calibration."""
    licence: str = "not stated"
    """Under which the weights may be used."""
    training: dict[str, JsonValue] = {}
    """The recipe and the hash of the data; a record."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        count = self.mfcc.coefficients
        if not len(self.mean) == len(self.scale) == count:
            raise ValueError(
                f"mean and scale have {len(self.mean)} and {len(self.scale)} values, expected {count} as coefficients"
            )
        if min(self.scale) <= 0:
            raise ValueError(f"scale has the value {min(self.scale):g}, expected values above 0")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels are {', '.join(self.labels)}; name each once")
        if self.mfcc.mel.sampling_rate != SAMPLING_RATE:
            raise ValueError(
                f"mfcc.mel.sampling_rate is {self.mfcc.mel.sampling_rate}, expected {SAMPLING_RATE}"
            )
        if count > self.mfcc.mel.bands:
            raise ValueError(
                f"mfcc.coefficients is {count}, expected at most mfcc.mel.bands, {self.mfcc.mel.bands}"
            )
        return self


def mean_over_time(waves: torch.Tensor, lengths: torch.Tensor, options: MfccOptions) -> torch.Tensor:
    """Mean of each coefficient over a clip's own frames, [B, coefficients] float32.

    Equals `librosa.feature.mfcc(...).mean(axis=1)` of each clip alone to 1e-3.
    """
    values, frames = mfcc(waves, lengths, options)
    # In float64, because the sum over frames of another batch's padding must not differ in its last bits.
    wide = values.double() * valid_mask(frames, values.shape[2])[:, None]
    mean: torch.Tensor = (wide.sum(dim=2) / frames[:, None]).float()
    return mean


class MfccMlpNetwork(nn.Module):
    """Dense layers over standardised coefficients; training and inference run the same code."""

    def __init__(
        self, sizes: Sequence[int], *, activation: Literal["relu", "gelu"], dropout: float = 0.0
    ) -> None:
        """Make layers of these widths, from the number of coefficients to that of labels."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)
        self._activation = functional.relu if activation == "relu" else functional.gelu

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Logits [B, labels] of standardised coefficients [B, coefficients]."""
        for layer in self.layers[:-1]:
            values = self.dropout(self._activation(layer(values)))
        logits: torch.Tensor = self.layers[-1](values)
        return logits


class MfccMlp:
    """A loaded folder of this family. See `emolake.models.protocol.EmotionModel`."""

    Options = TrainedFolder
    family = "mfcc_mlp"
    sampling_rate = SAMPLING_RATE
    min_samples = 400
    max_samples: int | None = None
    batching = Batching.MASKED
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(self, config: MfccMlpConfig, network: MfccMlpNetwork, *, device: str) -> None:
        self.labels = config.labels
        self.device = device
        self._mfcc = config.mfcc
        self._temperature = config.temperature
        self._mean = torch.tensor(config.mean, device=device)
        self._scale = torch.tensor(config.scale, device=device)
        self._network = network.to(device).eval()

    @classmethod
    def describe(cls, options: TrainedFolder) -> Description:
        """Read the labels; see `emolake.models.protocol.Family`."""
        config = read_config(options.path, MfccMlpConfig, cls.family)
        return Description(config.labels, options.files(), licence=config.licence)

    @classmethod
    def load(cls, options: TrainedFolder, *, device: str, precision: str) -> Self:
        """Load the layers; all that the configuration describes must be there, and no others."""
        config = read_config(options.path, MfccMlpConfig, cls.family)
        sizes = (config.mfcc.coefficients, *config.hidden, len(config.labels))
        network = MfccMlpNetwork(sizes, activation=config.activation)
        fill(dict(network.named_parameters()), options.path)
        return cls(config, network, device=device)

    @one_thread()
    @torch.inference_mode()
    def predict(self, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        features = mean_over_time(waves.to(self.device), lengths.to(self.device), self._mfcc)
        logits = self._network((features - self._mean) / self._scale) / self._temperature
        return Prediction(logits.to("cpu", torch.float32))
