"""Family "transformers": any AutoModelForAudioClassification checkpoint, by hub id or folder.

wav2vec 2.0, HuBERT and WavLM take the waveform; a Whisper encoder takes log-mel of 30 s. Labels come from the
checkpoint's configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.encoder_model import EncoderModel, EncoderPlan, SpeechEncoder
from emolake.models.hub import model_folder
from emolake.models.protocol import Description
from emolake.options import Options

if TYPE_CHECKING:
    import torch


class TransformersAudioOptions(Options):
    """The keys of a model of this family."""

    model: str
    """Hub id or folder of the checkpoint."""
    revision: str | None = None
    """Revision on the hub; a commit pins the model."""
    labels: tuple[str, ...] | None = None
    """Order of the outputs; the checkpoint's own when left out."""
    temperature: float = Field(1.0, gt=0)
    """The logits are divided by it: calibration."""


class TransformersAudio(EncoderModel):
    """A loaded checkpoint. See `emolake.models.protocol.EmotionModel`."""

    Options = TransformersAudioOptions
    family = "transformers"

    @classmethod
    def describe(cls, options: TransformersAudioOptions) -> Description:
        """Find the checkpoint and its labels; see `emolake.models.protocol.Family`."""
        folder = _folder(options)
        config = speech_encoder.read_json(folder / "config.json")
        files = speech_encoder.weight_files(folder)
        return Description(_labels(options, config, folder), files, {"temperature": options.temperature})

    @classmethod
    def plan(cls, options: TransformersAudioOptions) -> EncoderPlan:
        """Plan the checkpoint; one whose head was never trained or does not fit is refused when it is loaded."""
        encoder = SpeechEncoder.read(_folder(options))

        def build() -> "torch.nn.Module":
            from transformers import AutoModelForAudioClassification

            from emolake.models.families.transformers_network import Classifier

            return Classifier(speech_encoder.load_exactly(AutoModelForAudioClassification, encoder.folder))

        labels = _labels(options, encoder.config, encoder.folder)
        return EncoderPlan(encoder, build, labels, options.temperature)

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`."""
        model = getattr(self._network, "model", None)
        return {} if model is None else {"model": model}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`; only some checkpoints sum their layers."""
        raw = getattr(getattr(self._network, "model", None), "layer_weights", None)
        return {} if raw is None else {"model": raw.detach().softmax(dim=0)}


def _folder(options: TransformersAudioOptions) -> Path:
    return model_folder(options.model, options.revision, speech_encoder.FILES)


def _labels(options: TransformersAudioOptions, config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Return the labels in the order of the outputs; names that transformers filled in are refused."""
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
