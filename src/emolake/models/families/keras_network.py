"""Family "keras": a Keras network (`.keras`, or `.h5` of Keras 2 and 3) on a clip's mean cepstral coefficients.

Keras 3 runs it on torch; TensorFlow is never imported. A file carries neither labels nor features, so that the
options must say how its training heard a clip: sampling rate, excerpt, coefficients, the axis of the mean and the
scaler. Files with code of their own (Lambda layers, foreign modules) are refused, whatever the options.
"""

import io
import json
import math
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, model_validator

from emolake.audio.features import MelOptions, MfccOptions, mfcc
from emolake.errors import ConfigurationError
from emolake.models.families.mfcc_mlp import mean_over_time
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction

if TYPE_CHECKING:
    import h5py
    import torch

SAMPLING_RATE: Final = 16_000
_MIN_SAMPLES = 400  # as every family, and of what is left behind the offset
_FLOOR = 1e-7  # a softmax may underflow to exactly 0
_CODE_LAYERS = {"Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"}
_NOT_OF_THE_NETWORK = {"optimizer", "optimizer_weights", "metrics"}  # groups that only more training needs
_PROBE_TOLERANCE = 1e-3


class KerasNetworkOptions(BaseModel):
    """The keys of a model of this family."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
    """Seconds heard from there on; all when left out."""
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


class KerasNetwork:
    """A loaded network. See `emolake.models.protocol.EmotionModel`.

    The features are a clip's own, and the network sees vectors of one length: no batch changes an answer.
    """

    Options = KerasNetworkOptions
    family = "keras"
    sampling_rate = SAMPLING_RATE
    min_samples = _MIN_SAMPLES
    max_samples: int | None = None
    batching = Batching.MASKED
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(self, options: KerasNetworkOptions, model: Any, *, width: int, device: str) -> None:
        self.labels = options.labels
        self.device = device
        self._options = options
        self._model = model
        self._width = width

    @classmethod
    def describe(cls, options: KerasNetworkOptions) -> Description:
        """Name the file; see `emolake.models.protocol.Family`."""
        parameters: dict[str, JsonValue] = options.model_dump(
            mode="json", exclude={"path", "labels", "licence"}
        )
        return Description(options.labels, {"network": options.path}, parameters, options.licence)

    @classmethod
    def load(cls, options: KerasNetworkOptions, *, device: str, precision: str) -> Self:
        """Load the network, refusing code, weights that are missing or left over, and shapes that do not fit."""
        keras = import_keras()
        path = options.path
        stored = _stored_weights(path)
        try:
            with keras.device(device):
                model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            lines = str(error).splitlines()
            raise ConfigurationError(
                f"{path} cannot be loaded by Keras {keras.__version__}: {lines[0] if lines else type(error).__name__}"
            ) from error
        if stored != len(model.weights):
            raise ConfigurationError(
                f"{path} holds {stored} arrays of weights, and its network has {len(model.weights)}; save it again"
            )
        loaded = cls(options, model, width=_input_width(options, model), device=device)
        loaded._check_outputs()
        return loaded

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; a clip that ends before the offset gets no label."""
        import torch

        start = int(self._options.offset_s * SAMPLING_RATE)
        labelled = lengths.cpu() >= start + _MIN_SAMPLES
        logits = torch.zeros(len(lengths), len(self.labels))
        if labelled.any():
            with torch.inference_mode():
                logits[labelled] = self._logits(
                    self._features(*self._heard(waves.cpu()[labelled], lengths.cpu()[labelled]))
                )
        return Prediction(logits, labelled=labelled)

    def _heard(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """Cut each clip to its excerpt and resample it, as librosa.load does; on the device."""
        import soxr
        import torch

        start = int(self._options.offset_s * SAMPLING_RATE)
        count = waves.shape[1]
        if self._options.duration_s is not None:
            count = max(_MIN_SAMPLES, int(self._options.duration_s * SAMPLING_RATE))
        waves, lengths = waves[:, start : start + count], (lengths - start).clamp_max(count)
        if self._options.sampling_rate != SAMPLING_RATE:
            rates = (SAMPLING_RATE, self._options.sampling_rate)
            # soxr_hq, librosa's own; each clip by itself, because the filter reaches across its end.
            clips = [
                torch.from_numpy(soxr.resample(wave[:length].numpy(), *rates, quality="HQ"))
                for wave, length in zip(waves, lengths.tolist(), strict=True)
            ]
            lengths = torch.tensor([len(clip) for clip in clips])
            waves = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
        return waves.to(self.device), lengths.to(self.device)

    def _features(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """Return the network's input, [B, width] with the axis that `expand` asks for."""
        import torch

        if self._options.mean_over == "time":
            vector = mean_over_time(waves, lengths, self._options.mfcc)
        else:
            frames = mfcc(waves, lengths, self._options.mfcc)[0].mean(dim=1)  # 0 past a clip's own frames
            vector = torch.nn.functional.pad(frames, (0, max(0, self._width - frames.shape[1])))[
                :, : self._width
            ]
        if self._options.feature_mean is not None:
            vector = vector - torch.tensor(self._options.feature_mean, device=vector.device)
            vector = vector / torch.tensor(self._options.feature_scale, device=vector.device)
        return self._expanded(vector)

    def _expanded(self, vector: "torch.Tensor") -> "torch.Tensor":
        return {"none": vector, "first": vector[:, None], "last": vector[:, :, None]}[self._options.expand]

    def _outputs(self, features: "torch.Tensor") -> "torch.Tensor":
        with import_keras().device(self.device):
            outputs: torch.Tensor = self._model(features, training=False)
        return outputs.to("cpu")

    def _logits(self, features: "torch.Tensor") -> "torch.Tensor":
        outputs = self._outputs(features).float()
        return outputs if self._options.output == "logits" else outputs.clamp_min(_FLOOR).log()

    def _check_outputs(self) -> None:
        """Hold what the network says of two made-up vectors against `output`: softmax twice, or never, is no error."""
        import torch

        probe = torch.stack([torch.zeros(self._width), torch.linspace(-3, 3, self._width)]).to(self.device)
        with torch.inference_mode():
            outputs = self._outputs(self._expanded(probe)).double()
        off = (outputs.sum(dim=1) - 1).abs().max().item()
        ends_in_probabilities = bool((outputs >= 0).all()) and off < _PROBE_TOLERANCE
        if not outputs.isfinite().all():
            raise ConfigurationError(
                f"{self._options.path} answers with numbers that are not finite; its weights are broken"
            )
        if ends_in_probabilities and self._options.output == "logits":
            raise ConfigurationError(
                f'{self._options.path} gives probabilities, not logits; set output = "probabilities"'
            )
        if not ends_in_probabilities and self._options.output == "probabilities":
            raise ConfigurationError(
                f"{self._options.path} gives no probabilities: its outputs miss the sum of 1 by {off:.3g}; "
                'set output = "logits", or use a network that ends in a softmax'
            )


def import_keras() -> ModuleType:
    """Import Keras on torch, with a configuration of nobody's home.

    Raises:
        ConfigurationError: it is not installed, or something else in this process imported it on another backend.
    """
    if "keras" not in sys.modules:
        with TemporaryDirectory() as home:
            _import_with({"KERAS_BACKEND": "torch", "KERAS_HOME": home})
    import keras

    if keras.backend.backend() != "torch":
        raise ConfigurationError(
            f"Keras was imported with the backend {keras.backend.backend()} before; set KERAS_BACKEND=torch"
        )
    module: ModuleType = keras
    return module


def _import_with(environment: Mapping[str, str]) -> None:
    """Import Keras, which reads the environment only then; it is left as it was."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        import_module("keras")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            'the family keras needs Keras 3; install it with: pip install "emolake[keras]"'
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _stored_weights(path: Path) -> int:
    """Return how many arrays of the network's weights a file holds, once its layers are found to hold no code."""
    import h5py

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
                weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")
        elif path.suffix in (".h5", ".hdf5"):
            weights = h5py.File(path, "r")
            config = json.loads(weights.attrs["model_config"])
        else:
            raise ConfigurationError(
                f"{path} is no .keras and no .h5 file; save the network as one of these with Keras"
            )
        with weights:
            _check_layers(path, config)
            return sum(_arrays(weights))
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a network of Keras ({type(error).__name__}: {error}); save or copy it again"
        ) from error


def _arrays(weights: "h5py.File") -> Iterator[bool]:
    """Yield for each array of a file whether it belongs to the network; links are not followed."""
    import h5py

    names: list[str] = []
    weights.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in names:
        # The states of Dropout's generators are kept by some versions and not by others; inference draws nothing.
        yield name.split("/")[0] not in _NOT_OF_THE_NETWORK and "seed_generator" not in name


def _check_layers(path: Path, config: object) -> None:
    """Refuse what runs code or remembers an earlier batch, before Keras sees it."""
    for node in _nodes(config):
        module, kind = node.get("module"), node.get("class_name")
        if kind in _CODE_LAYERS:
            raise ConfigurationError(
                f"{path} holds a layer of type {kind}, which runs code from the file; rebuild it without"
            )
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
            raise ConfigurationError(
                f"{path} names {module}.{kind}, which is no part of Keras; rebuild it without"
            )
        if node.get("stateful") is True:
            raise ConfigurationError(
                f"{path} holds a stateful layer, {node.get('name')}, that remembers earlier clips"
            )


def _nodes(config: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(config, dict):
        yield config
        # The optimizer and the loss are not loaded.
        config = [value for key, value in config.items() if key != "compile_config"]
    if isinstance(config, list):
        for each in config:
            yield from _nodes(each)


def _input_width(options: KerasNetworkOptions, model: Any) -> int:
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
