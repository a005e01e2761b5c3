"""How the family "spectrogram_cnn" is made: what its networks see, their size, and the contents of its folder."""

from typing import Final, Literal

from pydantic import Field, JsonValue

from emolake.audio.feature_options import ConditioningOptions, MelOptions, PitchOptions
from emolake.options import Options

FAMILY: Final = "spectrogram_cnn"


class FeatureOptions(Options):
    """What the networks see of a waveform."""

    kind: Literal["log_mel", "mfcc"] = "log_mel"
    """Rows of the image."""
    conditioning: ConditioningOptions = ConditioningOptions()
    """What is removed from the waveform first; without a level of its own, the clip's level is a feature."""
    mel: MelOptions = MelOptions(f_min_hz=50, top_db=70)
    """The mel bands, also those under the MFCC."""
    coefficients: int = Field(40, ge=1)
    """Rows of the image if it is of MFCC."""
    pitch: PitchOptions = PitchOptions()
    """The track of pitch; its hop is the mel bands'."""
    trim_db: float = Field(35.0, gt=0)
    """Edges further below the loudest frame are cut off."""
    trim_margin_frames: int = Field(3, ge=0)
    """Frames kept before and after what is not cut off."""
    voiced_periodicity: float = Field(0.5, gt=0, lt=1)
    """A frame is voiced from here."""
    voiced_db: float = Field(25.0, gt=0)
    """... if it is at most so far below the loudest frame."""

    @property
    def rows(self) -> int:
        """Height of the image."""
        return self.coefficients if self.kind == "mfcc" else self.mel.bands


class NetworkOptions(Options):
    """The size of one network."""

    channels: tuple[int, int, int, int] = (16, 32, 64, 96)
    """Of the four convolutions."""
    track_channels: int = Field(24, ge=1)
    """Of the two convolutions over the tracks."""
    hidden: int = Field(160, ge=1)
    """Channels whose mean and deviation over time are pooled."""
    dropout: float = Field(0.4, ge=0, lt=1)
    """Share of pooled values dropped in training."""
    map_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of feature maps dropped in training."""


class SpectrogramCnnOptions(Options):
    """The contents of `config.json`."""

    family: Literal["spectrogram_cnn"] = FAMILY
    """The name in the registry."""
    labels: tuple[str, ...] = Field(min_length=2)
    """What the outputs mean, in order."""
    sampling_rate: int = Field(16000, gt=0)
    """Rate in Hz that the features are defined at."""
    features: FeatureOptions = FeatureOptions()
    """What the networks see."""
    network: NetworkOptions = NetworkOptions()
    """The size of each network."""
    members: int = Field(1, ge=1)
    """Networks in the file, whose logits are averaged."""
    temperature: float = Field(1.0, gt=0)
    """The averaged logits are divided by it: calibration."""
    licence: str = ""
    """Under which the weights may be used."""
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """The recipe and the hash of the data; a record."""
