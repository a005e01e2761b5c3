"""Family "mfcc_mlp": a small dense network on a clip's mean cepstral coefficients (40 of them, say).

A folder of this family holds `config.json` (see `MfccMlpConfig`) and `model.safetensors` with `layers.N.weight`
[out, in] and `layers.N.bias` [out] in float32, N from 0: one per hidden layer and one for the output.
"""

from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import Field, FiniteFloat, JsonValue, model_validator

from emolake.audio.feature_options import MfccOptions
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.models.trained_folder import TrainedFolder, fill, read_config
from emolake.options import Options

if TYPE_CHECKING:
    import torch

    from emolake.models.families.mfcc_mlp_network import MfccMlpNetwork

SAMPLING_RATE: Final = 16_000


class MfccMlpConfig(Options):
    """The contents of `config.json`."""

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
    training: dict[str, JsonValue] = Field(default_factory=dict)
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

    def __init__(self, config: MfccMlpConfig, network: "MfccMlpNetwork", *, device: str) -> None:
        import torch

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
        from emolake.models.families.mfcc_mlp_network import MfccMlpNetwork

        config = read_config(options.path, MfccMlpConfig, cls.family)
        sizes = (config.mfcc.coefficients, *config.hidden, len(config.labels))
        network = MfccMlpNetwork(sizes, activation=config.activation)
        fill(dict(network.named_parameters()), options.path)
        return cls(config, network, device=device)

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        import torch

        with torch.inference_mode():
            outputs = self.outputs(waves.to(self.device), lengths.cpu())
            return self.prediction(outputs.to("cpu", torch.float32))

    def outputs(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """See `emolake.models.protocol.Staged`."""
        from emolake.models.families.mfcc_mlp_network import mean_over_time
        from emolake.models.threads import one_thread

        with one_thread():
            features = mean_over_time(waves, lengths, self._mfcc)
            logits: torch.Tensor = self._network((features - self._mean) / self._scale) / self._temperature
            return logits

    def prediction(self, outputs: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.Staged`."""
        return Prediction(outputs)
