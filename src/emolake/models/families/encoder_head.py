"""Family "encoder_head": a speech encoder, frozen or tuned in part, and a trained linear head of any number of labels.

The encoder is wav2vec 2.0, HuBERT, WavLM or that of Whisper, from a folder, the model's own or another, or the hub.
Its output is averaged over the frames that hold the clip, never over padding, and goes through an optional projector
and one linear output, `W2 (W1 mean_t(h_t) + b1) + b2`; with `pooling = "mean_std"` the standard deviation over the
same frames stands beside the mean. The model's folder holds `config.json` (see `EncoderHeadConfig`) and
`model.safetensors`: `projector.*`, `output.*`, and `encoder.NAME` for those of the encoder's weights that were tuned
and are not in an encoder's folder of its own, `encoder/`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from emolake.audio.feature_options import ConditioningOptions
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.encoder_model import EncoderModel, EncoderPlan
from emolake.models.hub import model_folder
from emolake.models.protocol import Description
from emolake.models.trained_folder import CONFIG_FILE, TrainedFolder, fill, read_config
from emolake.options import Options

if TYPE_CHECKING:
    import torch


Pooling = Literal["mean", "mean_std"]


class EncoderHeadConfig(Options):
    """The contents of `config.json`."""

    family: Literal["encoder_head"]
    """The name in the registry."""
    encoder: str = Field(min_length=1)
    """Hub id or folder of the encoder, in transformers' layout; a relative folder is looked for in the model's own."""
    revision: str | None = None
    """Revision of the encoder on the hub; a commit pins it."""
    context: Literal["padded", "clip"] = "padded"
    """What a Whisper encoder sees: the clip padded to 30 s, as in folders from before this key, or the clip alone.

    Another encoder sees the clip alone in any case.
    """
    conditioning: ConditioningOptions = ConditioningOptions()
    """What is removed from a clip before the encoder sees it; nothing in folders from before this key."""
    pooling: Pooling = "mean"
    """How frames become a vector: their mean, or their mean and standard deviation side by side."""
    labels: tuple[str, ...] = Field(min_length=2)
    """What the outputs mean, in order."""
    projector: int | None = Field(default=None, ge=1)
    """Width of the layer between the mean and the output; none when left out."""
    temperature: float = Field(default=1.0, gt=0)
    """The logits are divided by it: calibration."""
    licence: str = "not stated"
    """Under which the weights may be used."""
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """The recipe and the hash of the data; a record."""


class EncoderHead(EncoderModel):
    """A loaded folder of this family. See `emolake.models.protocol.EmotionModel`."""

    Options = TrainedFolder
    family = "encoder_head"

    @classmethod
    def describe(cls, options: TrainedFolder) -> Description:
        """Read the labels and find the encoder; see `emolake.models.protocol.Family`."""
        config = read_config(options.path, EncoderHeadConfig, cls.family)
        encoder = speech_encoder.weight_files(_encoder_folder(config, options.path))
        files = options.files() | {f"encoder/{name}": path for name, path in encoder.items()}
        return Description(config.labels, files, licence=config.licence)

    @classmethod
    def plan(cls, options: TrainedFolder) -> EncoderPlan:
        """Plan the encoder with the folder's weights: the whole head, and of the encoder what was tuned."""
        from emolake.models.families.encoder_head_network import FromPrepared, new_network, read_encoder

        config = read_config(options.path, EncoderHeadConfig, cls.family)
        own_frames = config.context == "clip"
        encoder = read_encoder(
            _encoder_folder(config, options.path), own_frames=own_frames, conditioning=config.conditioning
        )

        def build() -> "torch.nn.Module":
            network = new_network(
                encoder,
                labels=len(config.labels),
                projector=config.projector,
                pooling=config.pooling,
            )
            fill(
                dict(network.named_parameters()),
                options.path,
                beside=f"{CONFIG_FILE} and encoder",
                may_lack=("encoder.",),
            )
            return FromPrepared(network)

        return EncoderPlan(encoder, build, config.labels, config.temperature)


def _encoder_folder(config: EncoderHeadConfig, beside: Path) -> Path:
    own = beside / config.encoder
    return own if own.is_dir() else model_folder(config.encoder, config.revision, speech_encoder.FILES)
