"""Family "keras": a Keras network (`.keras`, or `.h5` of Keras 2 and 3) on a clip's mean cepstral coefficients.

Keras 3 runs it on torch; TensorFlow is never imported. A file carries neither labels nor features, so that the
options must describe what its training computed of a clip: sampling rate, excerpt, coefficients, the axis of the mean
and the scaler. Files with code of their own (Lambda layers, foreign modules) are refused, whatever the options.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import Field, FiniteFloat, JsonValue, model_validator

from emolake.audio.feature_options import MelOptions, MfccOptions
from emolake.errors import ConfigurationError
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.options import Options

if TYPE_CHECKING:
    import torch

    from emolake.models.families.keras_network import KerasNetwork

SAMPLING_RATE: Final = 16_000
_MIN_SAMPLES = 400  # as every family, and of what is left behind the offset
_FLOOR = 1e-7  # a softmax may underflow to exactly 0
_PROBE_TOLERANCE = 1e-3


class KerasAudioOptions(Options):
    """The keys of a model of this family."""

    path: Path
    """The .keras or .h5 file."""
    labels: tuple[str, ...] = Field(min_length=2)
    """What the outputs mean, in order."""
    output: Literal["probabilities", "logits"] = "probabilities"
    """What the last layer gives: probabilities behind a softmax, logits without one."""
    sampling_rate: int = Field(22_050, gt=0)
    """Rate in Hz that the features are defined at; librosa.load's when left out."""
    offset_s: float = Field(0.0, ge=0)
    """Seconds left out at the start of a clip; one that ends before gets no label."""
    duration_s: float | None = Field(None, gt=0)
    """Seconds used from there on; all when left out."""
    coefficients: int = Field(40, ge=1)
    """Number of cepstral coefficients (n_mfcc), from the zeroth."""
    n_fft: int = Field(2048, ge=16)
    """Length of a frame in samples of `sampling_rate`."""
    hop: int = Field(512, ge=1)
    """Samples of `sampling_rate` between two frames."""
    bands: int = Field(128, ge=1)
    """Number of mel bands."""
    mean_over: Literal["time", "coefficients"] = "time"
    """The vector is each coefficient's mean over time, or each frame's mean, cut or filled with 0 to fit."""
    expand: Literal["none", "first", "last"] = "last"
    """The network takes [width], [1, width] or [width, 1]."""
    feature_mean: tuple[FiniteFloat, ...] | None = None
    """Taken from the vector: `mean_` of the training's StandardScaler."""
    feature_scale: tuple[FiniteFloat, ...] | None = None
    """The vector is divided by it: `scale_` of the training's StandardScaler."""
    licence: str = "not stated"
    """Under which the weights may be used."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels are {', '.join(self.labels)}; name each once")
        if (self.feature_mean is None) != (self.feature_scale is None):
            raise ValueError("feature_mean and feature_scale belong together; give both or neither")
        if self.feature_scale and min(self.feature_scale) <= 0:
            raise ValueError(
                f"feature_scale has the value {min(self.feature_scale):g}, expected values above 0"
            )
        if self.coefficients > self.bands:
            raise ValueError(f"coefficients is {self.coefficients}, expected at most bands, {self.bands}")
        return self

    @property
    def mfcc(self) -> MfccOptions:
        """The cepstral coefficients."""
        mel = MelOptions(sampling_rate=self.sampling_rate, n_fft=self.n_fft, hop=self.hop, bands=self.bands)
        return MfccOptions(coefficients=self.coefficients, mel=mel)


class KerasAudio:
    """A loaded network on mean cepstral coefficients. See `emolake.models.protocol.EmotionModel`.

    The features are a clip's own, and the network sees vectors of one length: no batch changes an answer.
    """

    Options = KerasAudioOptions
    family = "keras"
    sampling_rate = SAMPLING_RATE
    min_samples = _MIN_SAMPLES
    max_samples: int | None = None
    batching = Batching.MASKED
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(self, options: KerasAudioOptions, network: "KerasNetwork", *, device: str) -> None:
        self.labels = options.labels
        self.device = device
        self._options = options
        self._network = network

    @classmethod
    def describe(cls, options: KerasAudioOptions) -> Description:
        """Name the file; see `emolake.models.protocol.Family`."""
        parameters: dict[str, JsonValue] = options.model_dump(
            mode="json", exclude={"path", "labels", "licence"}
        )
        return Description(options.labels, {"network": options.path}, parameters, options.licence)

    @classmethod
    def load(cls, options: KerasAudioOptions, *, device: str, precision: str) -> Self:
        """Load the network, refusing code, weights that are missing or left over, and shapes that do not fit."""
        from emolake.models.families.keras_file import load_model
        from emolake.models.families.keras_network import KerasNetwork

        model = load_model(options.path, device)
        network = KerasNetwork(
            model,
            width=_input_width(options, model),
            mfcc=options.mfcc,
            mean_over=options.mean_over,
            expand=options.expand,
            mean=options.feature_mean,
            scale=options.feature_scale,
            device=device,
        )
        _check_outputs(options, network)
        return cls(options, network, device=device)

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; a clip that ends before the offset gets no label."""
        import torch

        from emolake.models.families.keras_network import excerpt

        options = self._options
        start = int(options.offset_s * SAMPLING_RATE)
        most = None
        if options.duration_s is not None:
            most = max(_MIN_SAMPLES, int(options.duration_s * SAMPLING_RATE))
        labelled = lengths.cpu() >= start + _MIN_SAMPLES
        logits = torch.zeros(len(lengths), len(self.labels))
        if labelled.any():
            with torch.inference_mode():
                clips = excerpt(
                    waves.cpu()[labelled],
                    lengths.cpu()[labelled],
                    start=start,
                    most=most,
                    sampling_rate=options.sampling_rate,
                )
                outputs = self._network.outputs(*clips)
                logits[labelled] = outputs if options.output == "logits" else outputs.clamp_min(_FLOOR).log()
        return Prediction(logits, labelled=labelled)


def _check_outputs(options: KerasAudioOptions, network: "KerasNetwork") -> None:
    """Check the outputs for two constructed vectors against `output`: softmax twice, or never, is no error."""
    import torch

    with torch.inference_mode():
        outputs = network.probe()
    off = (outputs.sum(dim=1) - 1).abs().max().item()
    ends_in_probabilities = bool((outputs >= 0).all()) and off < _PROBE_TOLERANCE
    if not outputs.isfinite().all():
        raise ConfigurationError(f"{options.path} gives outputs that are not finite; its weights are broken")
    if ends_in_probabilities and options.output == "logits":
        raise ConfigurationError(
            f'{options.path} gives probabilities, not logits; set output = "probabilities"'
        )
    if not ends_in_probabilities and options.output == "probabilities":
        raise ConfigurationError(
            f"{options.path} gives no probabilities: its outputs miss the sum of 1 by {off:.3g}; "
            'set output = "logits", or use a network that ends in a softmax'
        )


def _input_width(options: KerasAudioOptions, model: Any) -> int:
    """Return how many numbers the network takes of a clip; raises when options and network do not fit."""
    shapes = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    taken, given = (_each(shape) for shape in shapes)
    if taken is None or given is None:
        raise ConfigurationError(
            f"{options.path} takes {shapes[0]} and gives {shapes[1]}; expected one input and one output for each clip"
        )
    if given != (len(options.labels),):
        raise ConfigurationError(
            f"{options.path} gives {given}, and labels names {len(options.labels)}; name each output once"
        )
    width = math.prod(taken)
    if taken != {"none": (width,), "first": (1, width), "last": (width, 1)}[options.expand]:
        raise ConfigurationError(
            f"{options.path} takes {taken}, which expand = {options.expand!r} does not give; set expand"
        )
    if options.mean_over == "time" and width != options.coefficients:
        raise ConfigurationError(f"{options.path} takes {width} numbers; set coefficients to it")
    if (
        options.feature_mean is not None
        and not len(options.feature_mean) == len(options.feature_scale or ()) == width
    ):
        raise ConfigurationError(
            f"{options.path} takes {width} numbers; give feature_mean and feature_scale as many values"
        )
    return width


def _each(shape: object) -> tuple[int, ...] | None:
    """Return a batch's shape without the batch, or None when it is several shapes or not (any number, known sizes)."""
    if not isinstance(shape, tuple) or shape[:1] != (None,):
        return None
    sizes = tuple(size for size in shape[1:] if isinstance(size, int))
    return sizes if len(sizes) == len(shape) - 1 else None
