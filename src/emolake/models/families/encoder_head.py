"""Family "encoder_head": a speech encoder, frozen or tuned in part, and a trained linear head of any number of labels.

The encoder is wav2vec 2.0, HuBERT, WavLM or that of Whisper, from a folder or the hub. Its output is averaged over
the frames that hold the clip, never over padding, and goes through an optional projector and one linear output,
`W2 (W1 mean_t(h_t) + b1) + b2`. The model's folder holds `config.json` (see `EncoderHeadConfig`) and
`model.safetensors`: `projector.*`, `output.*`, and `encoder.NAME` for those of the encoder's weights that were tuned.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from torch import nn

from emolake.audio.features import valid_mask
from emolake.errors import ConfigurationError
from emolake.models.encoders import encoder_input, speech_encoder
from emolake.models.encoders.encoder_input import SAMPLING_RATE
from emolake.models.hub import model_folder
from emolake.models.protocol import ENCODER_PRECISIONS, Batching, Description, Prediction
from emolake.models.runtimes.graphs import Graphs
from emolake.models.runtimes.networks import Network, exact_batching, load_network, modules_of
from emolake.models.trained_folder import CONFIG_FILE, TrainedFolder, fill, read_config
from emolake.models.transcripts import load_part

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WHISPER_HOP = 160  # samples between two mel frames, in every Whisper


class EncoderHeadConfig(BaseModel):
    """The contents of `config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    family: Literal["encoder_head"]
    """The name in the registry."""
    encoder: str = Field(min_length=1)
    """Hub id or folder of the encoder, in transformers' layout; a relative folder is looked for in the model's own."""
    revision: str | None = None
    """Revision of the encoder on the hub; a commit pins it."""
    pooling: Literal["mean"] = "mean"
    """How frames become a vector: their mean."""
    labels: tuple[str, ...] = Field(min_length=2)
    """What the outputs mean, in order."""
    projector: int | None = Field(default=None, ge=1)
    """Width of the layer between the mean and the output; none when left out."""
    temperature: float = Field(default=1.0, gt=0)
    """The logits are divided by it: calibration."""
    licence: str = "not stated"
    """Under which the weights may be used."""
    training: dict[str, JsonValue] = {}
    """The recipe and the hash of the data; a record."""


def mean_over_frames(states: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Mean of states [B, T, hidden] over each member's first `frames` [B], at least 1: [B, hidden]."""
    # Not multiplied: what a network left in the padding may be infinite, and 0 times that is not 0.
    held = states.float().masked_fill(~valid_mask(frames, states.shape[1])[:, :, None], 0)
    mean: torch.Tensor = held.sum(dim=1) / frames[:, None]
    return mean


def whisper_frames(lengths: torch.Tensor) -> torch.Tensor:
    """Frames of Whisper's encoder that hold a clip of `lengths` [B] samples at 16 kHz: half its mel frames, rounded up.

    A clip has one mel frame per 160 samples, and the second convolution, of stride 2, sees two of them at a time. The
    1500 frames of the padded 30 s go on after those.

    >>> whisper_frames(torch.tensor([400, 16_000, 480_000])).tolist()
    [1, 50, 1500]
    """
    return (lengths // _WHISPER_HOP + 1) // 2


class LinearHead(nn.Module):
    """An optional projector and one linear output."""

    def __init__(self, hidden: int, *, labels: int, projector: int | None) -> None:
        """Make a head with random weights on states of width `hidden`."""
        super().__init__()
        self.projector = nn.Identity() if projector is None else nn.Linear(hidden, projector)
        self.output = nn.Linear(projector or hidden, labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Logits [B, labels] of a clip's mean state [B, hidden]."""
        logits: torch.Tensor = self.output(self.projector(pooled))
        return logits


class EncoderNetwork(LinearHead):
    """An encoder and a linear head, from waveforms to logits; training and inference run the same code."""

    def __init__(
        self, encoder: "PreTrainedModel", extractor: Any, *, labels: int, projector: int | None
    ) -> None:
        """Put a head on an encoder.

        Args:
            encoder: a transformers encoder: of wav2vec 2.0, HuBERT, WavLM, or WhisperEncoder.
            extractor: the feature extractor that belongs to it.
            labels: number of outputs.
            projector: width of the layer before the output, or None.
        """
        super().__init__(encoder.config.hidden_size, labels=labels, projector=projector)
        self.encoder = encoder
        self.extractor = extractor
        self.config: Any = encoder.config
        self.whisper = self.config.model_type == "whisper"

    @property
    def batching(self) -> Batching:
        """Which batches are exact."""
        return encoder_input.batching(self.extractor, self.config.to_dict())

    def forward(  # type: ignore[override]  # from waveforms, not from states
        self, waves: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """Logits [B, labels] of waves [B, T] float32, zero-padded, of `lengths` [B] samples."""
        return super().forward(self.pooled(waves, lengths))

    def pooled(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Mean of the encoder's output over each clip's own frames, [B, hidden]; a frozen encoder's can be kept."""
        return self._pooled(encoder_input.prepared(waves, lengths, self.extractor), lengths)

    def from_prepared(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Logits [B, labels] of what `encoder_input.prepared` gives for waves of `lengths` [B]."""
        return super().forward(self._pooled(inputs, lengths))

    def _pooled(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if self.whisper:
            return mean_over_frames(self.encoder(inputs).last_hidden_state, whisper_frames(lengths))
        mask = speech_encoder.attention_mask(inputs, lengths, self.config)
        states = self.encoder(inputs, attention_mask=mask).last_hidden_state
        return mean_over_frames(states, speech_encoder.frame_counts(lengths, self.config))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `model.safetensors` holds: the head, and those of the encoder's weights that ask for gradients."""
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


class EncoderHead:
    """A loaded folder of this family. See `emolake.models.protocol.EmotionModel`."""

    Options = TrainedFolder
    family = "encoder_head"
    sampling_rate = SAMPLING_RATE
    min_samples = speech_encoder.MIN_SAMPLES
    precisions = ENCODER_PRECISIONS

    def __init__(
        self,
        network: Network,
        extractor: Any,
        *,
        labels: tuple[str, ...],
        batching: Batching,
        temperature: float,
        device: str,
        precision: str,
    ) -> None:
        """Take what runs `FromPrepared`, and the extractor that belongs to its encoder."""
        self.labels = labels
        self.device = device
        self.precision = precision
        self.batching = batching
        self.max_samples = encoder_input.max_samples(extractor)
        self._network = network
        self._extractor = extractor
        self._temperature = temperature

    @classmethod
    def describe(cls, options: TrainedFolder) -> Description:
        """Read the labels and find the encoder; see `emolake.models.protocol.Family`."""
        config = read_config(options.path, EncoderHeadConfig, cls.family)
        encoder = speech_encoder.weight_files(_encoder_folder(config, options.path))
        files = options.files() | {f"encoder/{name}": path for name, path in encoder.items()}
        return Description(config.labels, files, licence=config.licence)

    @classmethod
    def load(
        cls, options: TrainedFolder, *, device: str, precision: str, graphs: Graphs | None = None
    ) -> Self:
        """Load the encoder and put the folder's weights in place: the whole head, and of the encoder what was tuned."""
        config = read_config(options.path, EncoderHeadConfig, cls.family)
        folder = _encoder_folder(config, options.path)
        encoder, extractor = _encoder_config(folder), _extractor(folder)
        batching = encoder_input.batching(extractor, encoder)

        def build() -> FromPrepared:
            network = new_network(folder, labels=len(config.labels), projector=config.projector)
            fill(
                dict(network.named_parameters()),
                options.path,
                beside=f"{CONFIG_FILE} and encoder",
                may_lack=("encoder.",),
            )
            return FromPrepared(network)

        network = load_network(
            build,
            partial(encoder_input.prepared, extractor=extractor),
            batching=batching,
            device=device,
            precision=precision,
            graphs=graphs,
        )
        return cls(
            network,
            extractor,
            labels=config.labels,
            batching=exact_batching(batching, precision),
            temperature=config.temperature,
            device=device,
            precision=precision,
        )

    @torch.inference_mode()
    def predict(self, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        waves, lengths = waves.to(self.device), lengths.to(self.device)
        logits = self._network(encoder_input.prepared(waves, lengths, self._extractor), lengths)
        return Prediction((logits / self._temperature).to("cpu", torch.float32))

    def modules(self) -> Mapping[str, nn.Module]:
        """See `emolake.predict.diagnosis.Inspectable`."""
        return modules_of(self._network, "model")

    def layer_weights(self) -> Mapping[str, torch.Tensor]:
        """See `emolake.predict.diagnosis.Inspectable`; this family sums no layers."""
        return {}


def new_network(folder: Path, *, labels: int, projector: int | None) -> EncoderNetwork:
    """Return an encoder from a folder in transformers' layout under a head with random weights.

    Raises:
        ConfigurationError: the folder holds no encoder of these families, or not all of its weights.
    """
    from transformers import AutoModel

    kind, extractor = _encoder_config(folder).get("model_type"), _extractor(folder)
    model = speech_encoder.load_exactly(AutoModel, folder, other_heads=speech_encoder.OTHER_HEADS)
    encoder: Any = model.encoder if kind == "whisper" else model
    return EncoderNetwork(encoder, extractor, labels=labels, projector=projector)


def _encoder_config(folder: Path) -> Mapping[str, Any]:
    config = speech_encoder.read_json(folder / "config.json")
    kind, known = config.get("model_type"), (*speech_encoder.MODEL_TYPES, "whisper")
    if kind not in known:
        raise ConfigurationError(f"{folder} is a {kind!r} model; expected one of {', '.join(known)}")
    if config.get("add_adapter"):
        raise ConfigurationError(
            f"{folder} has an adapter after its encoder, whose frames are not counted; use an encoder without"
        )
    return config


def _extractor(folder: Path) -> Any:
    from transformers import AutoFeatureExtractor

    config = _encoder_config(folder)
    speech_encoder.read_json(folder / "preprocessor_config.json")
    extractor = load_part(AutoFeatureExtractor, folder)
    if extractor.sampling_rate != SAMPLING_RATE:
        raise ConfigurationError(
            f"{folder} takes {extractor.sampling_rate} Hz, expected {SAMPLING_RATE} Hz; use a 16 kHz encoder"
        )
    if config["model_type"] == "whisper" and (extractor.hop_length, extractor.nb_max_frames) != (
        _WHISPER_HOP,
        2 * config.get("max_source_positions", 0),
    ):
        raise ConfigurationError(
            f"{folder} has an encoder of {config.get('max_source_positions')} positions and an extractor of "
            f"{extractor.nb_max_frames} frames {extractor.hop_length} samples apart, expected twice as many frames "
            f"{_WHISPER_HOP} apart; take both files from one model"
        )
    return extractor


def _encoder_folder(config: EncoderHeadConfig, beside: Path) -> Path:
    own = beside / config.encoder
    return own if own.is_dir() else model_folder(config.encoder, config.revision, speech_encoder.FILES)
