"""Family "transformers": any AutoModelForAudioClassification checkpoint, by hub id or folder.

wav2vec 2.0, HuBERT and WavLM take the waveform; a Whisper encoder takes log-mel of 30 s. Labels come from the
checkpoint's configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field

from emolake.errors import ConfigurationError
from emolake.models import speech_encoder
from emolake.models.hub import model_folder
from emolake.models.protocol import Batching, Description, Prediction
from emolake.tasks.featurize import normalise_waveform, valid_mask

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_WHISPER_S = 30


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
    precision = "fp32"
    precisions = ("fp32",)

    def __init__(
        self,
        model: "PreTrainedModel",
        extractor: Any,
        *,
        labels: tuple[str, ...],
        temperature: float,
        device: str,
    ) -> None:
        self.labels = labels
        self._temperature = temperature
        self.device = device
        self._model = cast("Any", model)  # transformers' own types of `to` admit no device's name
        self._model.to(device)
        self._extractor = extractor
        whisper = model.config.model_type == "whisper"
        self._whisper = whisper
        # Whisper's encoder sees 30 s whatever is in them, so nothing of a batch reaches its members.
        self.batching = Batching.MASKED if whisper else speech_encoder.batching(model.config.to_dict())
        self.max_samples = _WHISPER_S * self.sampling_rate if whisper else None

    @classmethod
    def describe(cls, options: TransformersAudioOptions) -> Description:
        """Find the checkpoint and its labels; see `emolake.models.protocol.Family`."""
        folder = _folder(options)
        config = speech_encoder.read_json(folder / "config.json")
        files = speech_encoder.weight_files(folder)
        return Description(_labels(options, config, folder), files, {"temperature": options.temperature})

    @classmethod
    def load(cls, options: TransformersAudioOptions, *, device: str, precision: str) -> Self:
        """Load the checkpoint, refusing one whose head was never trained or does not fit."""
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        folder = _folder(options)
        config = speech_encoder.read_json(folder / "config.json")
        kind = config.get("model_type")
        if kind not in (*speech_encoder.MODEL_TYPES, "whisper"):
            raise ConfigurationError(
                f"{folder} is a {kind!r} model; expected one of {', '.join((*speech_encoder.MODEL_TYPES, 'whisper'))}"
            )
        model = speech_encoder.load_exactly(AutoModelForAudioClassification, folder)
        try:
            extractor = AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{folder} has no usable preprocessor_config.json: {error}") from error
        if extractor.sampling_rate != cls.sampling_rate:
            raise ConfigurationError(
                f"{folder} takes {extractor.sampling_rate} Hz, expected {cls.sampling_rate} Hz; use a 16 kHz checkpoint"
            )
        return cls(
            model,
            extractor,
            labels=_labels(options, config, folder),
            temperature=options.temperature,
            device=device,
        )

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        import torch

        with torch.inference_mode():
            logits = self.logits(waves, lengths) / self._temperature
        return Prediction(logits.to("cpu", torch.float32))

    def logits(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """The checkpoint's own logits [B, labels] on its device; training runs the same code."""
        return self._whisper_logits(waves, lengths) if self._whisper else self._wave_logits(waves, lengths)

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.diagnose.Inspectable`."""
        return {"model": self._model}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.diagnose.Inspectable`; only some checkpoints sum their layers."""
        raw = getattr(self._model, "layer_weights", None)
        return {} if raw is None else {"model": raw.detach().softmax(dim=0)}

    def _wave_logits(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        waves, lengths = waves.to(self.device), lengths.to(self.device)
        if self._extractor.do_normalize:
            waves = normalise_waveform(waves, lengths, speech_encoder.HUGGING_FACE_EPS)
        mask = None if bool((lengths == waves.shape[1]).all()) else valid_mask(lengths, waves.shape[1]).long()
        logits: torch.Tensor = self._model(waves, attention_mask=mask).logits
        return logits

    def _whisper_logits(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        clips = [wave[:length].cpu().numpy() for wave, length in zip(waves, lengths.tolist(), strict=True)]
        features = self._extractor(
            clips, sampling_rate=self.sampling_rate, return_tensors="pt"
        ).input_features
        logits: torch.Tensor = self._model(features.to(self.device)).logits
        return logits


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
