"""Family "transformers": any AutoModelForAudioClassification checkpoint, by hub id or folder.

wav2vec 2.0, HuBERT and WavLM take the waveform; a Whisper encoder takes log-mel of 30 s. Labels come from the
checkpoint's configuration.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.hub import model_folder
from emolake.models.protocol import ENCODER_PRECISIONS, Batching, Description, Prediction
from emolake.models.transcripts import load_part

if TYPE_CHECKING:
    import torch

    from emolake.models.runtimes.graphs import Graphs
    from emolake.models.runtimes.networks import Network


class TransformersAudioOptions(BaseModel):
    """The keys of a model of this family."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """Hub id or folder of the checkpoint."""
    revision: str | None = None
    """Revision on the hub; a commit pins the model."""
    labels: tuple[str, ...] | None = None
    """Order of the outputs; the checkpoint's own when left out."""
    temperature: float = Field(1.0, gt=0)
    """The logits are divided by it: calibration."""


class TransformersAudio:
    """A loaded checkpoint. See `emolake.models.protocol.EmotionModel`."""

    Options = TransformersAudioOptions
    family = "transformers"
    sampling_rate = 16_000
    min_samples = speech_encoder.MIN_SAMPLES
    precisions = ENCODER_PRECISIONS

    def __init__(
        self,
        network: "Network",
        extractor: Any,
        *,
        labels: tuple[str, ...],
        batching: Batching,
        temperature: float,
        device: str,
        precision: str,
    ) -> None:
        """Take what runs a `Classifier`, and the extractor that belongs to it."""
        from emolake.models.encoders.encoder_input import max_samples

        self.labels = labels
        self.batching = batching
        self.max_samples = max_samples(extractor)
        self.device = device
        self.precision = precision
        self._network = network
        self._extractor = extractor
        self._temperature = temperature

    @classmethod
    def describe(cls, options: TransformersAudioOptions) -> Description:
        """Find the checkpoint and its labels; see `emolake.models.protocol.Family`."""
        folder = _folder(options)
        config = speech_encoder.read_json(folder / "config.json")
        files = speech_encoder.weight_files(folder)
        return Description(_labels(options, config, folder), files, {"temperature": options.temperature})

    @classmethod
    def load(
        cls,
        options: TransformersAudioOptions,
        *,
        device: str,
        precision: str,
        graphs: "Graphs | None" = None,
    ) -> Self:
        """Load the checkpoint, refusing one whose head was never trained or does not fit."""
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        from emolake.models.encoders import encoder_input
        from emolake.models.families.transformers_network import Classifier
        from emolake.models.runtimes.networks import exact_batching, load_network

        folder = _folder(options)
        config = speech_encoder.read_json(folder / "config.json")
        kind = config.get("model_type")
        if kind not in (*speech_encoder.MODEL_TYPES, "whisper"):
            raise ConfigurationError(
                f"{folder} is a {kind!r} model; expected one of {', '.join((*speech_encoder.MODEL_TYPES, 'whisper'))}"
            )
        extractor = load_part(AutoFeatureExtractor, folder)
        if extractor.sampling_rate != cls.sampling_rate:
            raise ConfigurationError(
                f"{folder} takes {extractor.sampling_rate} Hz, expected {cls.sampling_rate} Hz; use a 16 kHz checkpoint"
            )
        batching = encoder_input.batching(extractor, config)
        network = load_network(
            lambda: Classifier(speech_encoder.load_exactly(AutoModelForAudioClassification, folder)),
            partial(encoder_input.prepared, extractor=extractor),
            batching=batching,
            device=device,
            precision=precision,
            graphs=graphs,
        )
        return cls(
            network,
            extractor,
            labels=_labels(options, config, folder),
            batching=exact_batching(batching, precision),
            temperature=options.temperature,
            device=device,
            precision=precision,
        )

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        import torch

        from emolake.models.encoders.encoder_input import prepared

        with torch.inference_mode():
            waves, lengths = waves.to(self.device), lengths.to(self.device)
            logits = self._network(prepared(waves, lengths, self._extractor), lengths) / self._temperature
        return Prediction(logits.to("cpu", torch.float32))

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.predict.diagnosis.Inspectable`."""
        model = getattr(self._network, "model", None)
        return {} if model is None else {"model": model}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.predict.diagnosis.Inspectable`; only some checkpoints sum their layers."""
        raw = getattr(getattr(self._network, "model", None), "layer_weights", None)
        return {} if raw is None else {"model": raw.detach().softmax(dim=0)}


def _folder(options: TransformersAudioOptions) -> Path:
    return model_folder(options.model, options.revision, speech_encoder.FILES)


def _labels(options: TransformersAudioOptions, config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Return the labels in the order of the outputs; names that transformers made up are refused."""
    named = config.get("id2label") or {}
    try:
        own = tuple(str(named[str(index)]) for index in range(len(named)))
    except KeyError as error:
        raise ConfigurationError(
            f"{folder / 'config.json'} numbers its labels with a gap at {error}; set labels"
        ) from error
    labels = options.labels or own
    if len(labels) != (len(own) or len(labels)):
        raise ConfigurationError(
            f"{folder} has {len(own)} outputs, and labels names {len(labels)}; name each output once"
        )
    if not labels or any(label.startswith("LABEL_") for label in labels):
        raise ConfigurationError(
            f"{folder} does not name its labels ({', '.join(labels) or 'none'}); set labels"
        )
    return labels
