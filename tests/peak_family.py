"""Family "peak", as a person would write one: a linear output on the largest states of a speech encoder."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from emolake.models.encoders import speech_encoder
from emolake.models.encoders.encoder_model import EncoderModel, EncoderPlan, SpeechEncoder
from emolake.models.protocol import Description
from emolake.models.trained_folder import TrainedFolder, fill, read_config
from emolake.options import Options

if TYPE_CHECKING:
    import torch


class PeakConfig(Options):
    """The contents of `config.json`; the encoder lies in the folder `encoder` beside it."""

    family: Literal["peak"]
    """The name in the registry."""
    labels: tuple[str, ...] = Field(min_length=2)
    """What the outputs mean, in order."""


class Peak(EncoderModel):
    """A loaded folder of this family. See `emolake.models.protocol.EmotionModel`."""

    Options = TrainedFolder
    family = "peak"

    @classmethod
    def describe(cls, options: TrainedFolder) -> Description:
        """Read the labels and find the encoder; see `emolake.models.protocol.Family`."""
        config = read_config(options.path, PeakConfig, cls.family)
        encoder = speech_encoder.weight_files(options.path / "encoder")
        files = {f"encoder/{name}": path for name, path in encoder.items()}
        return Description(config.labels, options.files() | files)

    @classmethod
    def plan(cls, options: TrainedFolder) -> EncoderPlan:
        """Plan the encoder under the output that the folder holds."""
        labels = cls.describe(options).labels
        encoder = SpeechEncoder.read(options.path / "encoder")

        def build() -> "torch.nn.Module":
            from peak_family_network import PeakNetwork

            network = PeakNetwork(encoder.load(), len(labels))
            fill(dict(network.output.named_parameters()), options.path)
            return network

        return EncoderPlan(encoder, build, labels)
