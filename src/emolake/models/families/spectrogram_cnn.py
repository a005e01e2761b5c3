"""Family "spectrogram_cnn": convolutional networks on log-mel or MFCC images, pitch and energy, averaged.

A folder of this family holds `config.json` (see `SpectrogramCnnOptions`) and `model.safetensors`, and is
written by `emolake train`. A clip is cut to its speech by energy, so that leading and trailing silence does
not dilute it; its image is centred on its own mean; the loudness taken away by that comes back as one number
beside the duration.
"""

from typing import TYPE_CHECKING, Self

from emolake.models.families.spectrogram_options import FAMILY, SpectrogramCnnOptions
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.models.trained_folder import TrainedFolder, fill, read_config

if TYPE_CHECKING:
    import torch

    from emolake.models.families.spectrogram_network import EmotionNetwork


class SpectrogramCnn:
    """A trained folder of this family, ready to predict. See `emolake.models.protocol.EmotionModel`."""

    Options = TrainedFolder
    family = FAMILY
    batching = Batching.MASKED
    min_samples = 400
    max_samples: int | None = None
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(
        self, options: SpectrogramCnnOptions, networks: "list[EmotionNetwork]", *, device: str
    ) -> None:
        self.options = options
        self.labels = options.labels
        self.sampling_rate = options.sampling_rate
        self.device = device
        self._networks = [network.to(device).eval() for network in networks]

    @classmethod
    def describe(cls, options: TrainedFolder) -> Description:
        """Read the labels; see `emolake.models.protocol.Family`."""
        config = read_config(options.path, SpectrogramCnnOptions, FAMILY)
        return Description(config.labels, options.files(), licence=config.licence)

    @classmethod
    def load(cls, options: TrainedFolder, *, device: str, precision: str) -> Self:
        """Read `config.json` and `model.safetensors` of the folder.

        Raises:
            ConfigurationError: either is missing, broken, or does not fit the other.
        """
        from emolake.models.families.spectrogram_network import EmotionNetwork, stored

        config = read_config(options.path, SpectrogramCnnOptions, FAMILY)
        networks = [
            EmotionNetwork(config.network, rows=config.features.rows, labels=len(config.labels))
            for _ in range(config.members)
        ]
        fill(
            {
                f"members.{member}.{name}": tensor
                for member, network in enumerate(networks)
                for name, tensor in stored(network.state_dict()).items()
            },
            options.path,
        )
        return cls(config, networks, device=device)

    def modules(self) -> "dict[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`."""
        return {f"network{member}": network for member, network in enumerate(self._networks)}

    def layer_weights(self) -> "dict[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`: nothing is summed over layers."""
        return {}

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        import torch

        from emolake.models.families.spectrogram_network import lengthened, waveform_features
        from emolake.models.threads import one_thread

        with one_thread(), torch.inference_mode():
            waves, lengths = waves.to(self.device), lengths.to(self.device)
            features = lengthened(waveform_features(waves, lengths, self.options.features))
            logits = torch.stack([network(features) for network in self._networks]).mean(dim=0)
            return Prediction((logits / self.options.temperature).to("cpu", torch.float32))
