"""Family "dimensional": arousal, dominance and valence by a regression head on wav2vec 2.0.

The layout is that of audEERING's wav2vec2-large-robust-12-ft-emotion-msp-dim (Wagner et al. 2023,
https://arxiv.org/abs/2203.07378): `W2 tanh(W1 mean_t(h_t) + b1) + b2` of the encoder's output h over a clip's frames.
The head is a regression without a bound: its values lie around 0 to 1, and are given as they are.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.encoder_model import EncoderModel, EncoderPlan, SpeechEncoder
from emolake.models.hub import model_folder
from emolake.models.protocol import AFFECT_DIMENSIONS, Description, Prediction
from emolake.options import Options

if TYPE_CHECKING:
    import torch


class DimensionalOptions(Options):
    """The keys of a model of this family."""

    model: str
    """Hub id or folder of the checkpoint."""
    revision: str | None = None
    """Revision on the hub; a commit pins the model."""


class Dimensional(EncoderModel):
    """A loaded checkpoint. See `emolake.models.protocol.EmotionModel`."""

    Options = DimensionalOptions
    family = "dimensional"

    @classmethod
    def describe(cls, options: DimensionalOptions) -> Description:
        """Find the checkpoint; see `emolake.models.protocol.Family`."""
        folder = _folder(options)
        _outputs(_config(folder), folder)
        return Description((), speech_encoder.weight_files(folder))

    @classmethod
    def plan(cls, options: DimensionalOptions) -> EncoderPlan:
        """Plan the checkpoint; one whose head is missing or of another layout is refused when it is loaded."""
        folder = _folder(options)
        config = _config(folder)
        _outputs(config, folder)
        extractor = speech_encoder.read_json(folder / "preprocessor_config.json")
        speech_encoder.check_rate(folder, extractor.get("sampling_rate", cls.sampling_rate))
        eps = speech_encoder.HUGGING_FACE_EPS if speech_encoder.is_normalised(folder) else None

        def build() -> "torch.nn.Module":
            from emolake.models.families.dimensional_network import DimensionalNetwork

            return speech_encoder.load_exactly(DimensionalNetwork, folder)

        return EncoderPlan(SpeechEncoder(folder, config, eps=eps), build, labels=())

    def prediction(self, outputs: "torch.Tensor") -> Prediction:
        """Return outputs [B, 3], which the checkpoint's configuration names, as arousal, dominance and valence."""
        named = _outputs(self.encoder.config, self.encoder.folder)
        order = [named.index(dimension) for dimension in AFFECT_DIMENSIONS]
        return Prediction(outputs.new_zeros(len(outputs), 0), affect=outputs[:, order])


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
