"""Family "yamnet": sound events of YAMNet as emotions (Speech, Laughter, Crying, Screaming, Shout).

Of YAMNet's 521 sound events five stand for an emotion, by their display name; the scores of all others are dropped.
The five scores are averaged over a segment's patches of 0.96 s; where none reaches the threshold the segment has no
label. They are independent sigmoids, so probabilities are the five divided by their sum. Front end, padding and network
are those of https://github.com/tensorflow/models/tree/master/research/audioset/yamnet (`features.py`, `yamnet.py`,
Apache-2.0), in torch: TensorFlow is not needed.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from emolake.audio.features import valid_mask
from emolake.errors import ConfigurationError
from emolake.models.encoders.speech_encoder import read_json
from emolake.models.families.yamnet_network import (
    BANDS,
    FRAMES,
    PATCH_HOP,
    PATCH_SAMPLES,
    SAMPLING_RATE,
    WINDOW,
    Network,
    log_mel_patches,
    patch_counts,
)
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction

if TYPE_CHECKING:
    pass

EVENTS = ("Speech", "Laughter", "Crying, sobbing", "Screaming", "Shout")
CONFIG_FILE, WEIGHTS_FILE, CLASS_MAP_FILE = "config.json", "model.safetensors", "yamnet_class_map.csv"
_PATCHES_PER_CALL = 64  # bounds the memory of a long segment
_LAYER = re.compile(r"layer(\d+)[/_](depthwise_conv|pointwise_conv|conv)(?=[/_:])")
_NORM = re.compile(r"[/_]bn[/_]")
_TENSORS = {"beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


class YamnetOptions(BaseModel):
    """The keys of a model of this family."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Path
    """The published Keras weights `yamnet.h5`, an ONNX file, or a folder that `yamnet_convert` wrote."""
    class_map: Path | None = None
    """YAMNet's `yamnet_class_map.csv`; the file of that name beside the weights when left out."""
    threshold: float = Field(0.1, gt=0, lt=1)
    """The least score, 0 to 1, that one of the five events must reach on average for a segment to have a label.
    YAMNet's scores are not calibrated; raise it where noise is taken for voices."""


class Yamnet:
    """A loaded YAMNet. See `emolake.models.protocol.EmotionModel`."""

    Options = YamnetOptions
    family = "yamnet"
    labels = EVENTS
    sampling_rate = SAMPLING_RATE
    min_samples = (
        WINDOW  # a patch is filled up with zeros, of which a clip is to be more than a part of a frame
    )
    max_samples: int | None = None
    batching = Batching.MASKED  # patches are scored one by one, and only a clip's own are averaged
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(
        self,
        scores: Callable[[torch.Tensor], torch.Tensor],
        columns: list[int],
        *,
        threshold: float,
        device: str,
    ) -> None:
        self.device = device
        self._scores = scores  # patches [N, 96, 64] to scores [N, events], 0 to 1
        self._columns = columns
        self._threshold = threshold

    @classmethod
    def describe(cls, options: YamnetOptions) -> Description:
        """Find weights and class map; see `emolake.models.protocol.Family`."""
        class_map = _class_map(options)
        _columns(class_map)
        model = options.model
        files = (
            {WEIGHTS_FILE: model / WEIGHTS_FILE, CONFIG_FILE: model / CONFIG_FILE}
            if model.is_dir()
            else {"weights": model}
        )
        files = {**files, CLASS_MAP_FILE: class_map}
        missing = [path for path in files.values() if not path.is_file()]
        if missing:
            raise ConfigurationError(
                f"there is no {missing[0]}; give yamnet.h5, a converted folder or an ONNX file"
            )
        return Description(EVENTS, files, {"threshold": options.threshold}, licence="Apache-2.0")

    @classmethod
    def load(cls, options: YamnetOptions, *, device: str, precision: str) -> Self:
        """Load the network; an ONNX file runs on the CPU whatever the device."""
        cls.describe(options)
        columns, events = _columns(_class_map(options))
        path = options.model
        scores: Callable[[torch.Tensor], torch.Tensor]
        if path.suffix == ".onnx":
            device = "cpu"
            scores = _OnnxScores(path, events)
        else:
            state = read_folder(path) if path.is_dir() else read_h5(path)
            scores = _filled(state, events, path).to(device)
        return cls(scores, columns, threshold=options.threshold, device=device)

    def predict(self, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are logarithms of the normalised scores."""
        waves, lengths = waves.to(self.device), lengths.to(self.device)
        counts = patch_counts(lengths)
        # What is beyond a clip's own length is its own padding as well: zeros, whatever the batch.
        padded = nn.functional.pad(waves, (0, _padded_samples(counts) - waves.shape[1])) * valid_mask(
            lengths, _padded_samples(counts)
        )
        valid = valid_mask(counts, int(counts.max()))
        with torch.inference_mode():
            own = padded.unfold(1, PATCH_SAMPLES, PATCH_HOP)[valid]
            blocks = [
                self._scores(log_mel_patches(block))[:, self._columns]
                for block in own.split(_PATCHES_PER_CALL)
            ]
            scores = torch.zeros(*valid.shape, len(EVENTS), device=padded.device)
            scores[valid] = torch.cat(blocks)
            means = (scores.sum(dim=1) / counts[:, None]).to("cpu", torch.float64)
        floored = means.clamp_min(torch.finfo(torch.float32).tiny)
        logits = torch.log(floored / floored.sum(dim=1, keepdim=True))
        return Prediction(logits.to(torch.float32), labelled=means.amax(dim=1) >= self._threshold)

    def modules(self) -> Mapping[str, nn.Module]:
        """See `emolake.predict.diagnosis.Inspectable`; an ONNX file has no modules."""
        return {"model": self._scores} if isinstance(self._scores, nn.Module) else {}

    def layer_weights(self) -> Mapping[str, torch.Tensor]:
        """See `emolake.predict.diagnosis.Inspectable`; only the last layer is used."""
        return {}


class _OnnxScores:
    """The network of an ONNX file, patches [N, 96, 64] to scores [N, events], run by onnxruntime on the CPU."""

    def __init__(self, path: Path, events: int) -> None:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import (
            Fail,
            InvalidGraph,
            InvalidProtobuf,
            NoSuchFile,
        )

        try:
            self._session: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
                str(path), providers=["CPUExecutionProvider"]
            )
        except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
            raise ConfigurationError(
                f"{path} cannot be read as ONNX: {str(error).splitlines()[0]}"
            ) from error
        inputs = self._session.get_inputs()
        outputs = [each.name for each in self._session.get_outputs() if list(each.shape[1:]) == [events]]
        if len(inputs) != 1 or list(inputs[0].shape[1:]) != [FRAMES, BANDS] or not outputs:
            raise ConfigurationError(
                f"{path} takes {[each.shape for each in inputs]} and gives "
                f"{[each.shape for each in self._session.get_outputs()]}; "
                f"expected patches [N, {FRAMES}, {BANDS}] and scores [N, {events}]"
            )
        self._input, self._output = inputs[0].name, outputs[0]

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._session.run([self._output], {self._input: patches.numpy()})[0])


def read_h5(path: Path) -> dict[str, torch.Tensor]:
    """Return the network's weights of a Keras weights file with YAMNet's layer names.

    Raises:
        ConfigurationError: h5py is not installed, or the file is something else.
    """
    try:
        import h5py
    except ImportError as error:
        raise ConfigurationError(
            f'reading {path} needs h5py; pip install "emolake[yamnet]", or convert it once elsewhere '
            "with emolake.models.families.yamnet_convert"
        ) from error
    named: dict[str, np.ndarray] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer_weights"):
            named[name] = np.asarray(item)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read as HDF5: {error}") from error
    return torch_weights(named, path)


def torch_weights(named: Mapping[str, np.ndarray], path: Path) -> dict[str, torch.Tensor]:
    """Return the network's state of TensorFlow's variables, whose names may use slashes or underscores.

    `layer2/depthwise_conv/bn/moving_mean:0` becomes `blocks.layer2_depthwise_conv.bn.running_mean`; the one dense
    layer may have any name. Kernels change from [height, width, in, out] to torch's order.

    Raises:
        ConfigurationError: a variable is not YAMNet's, or two are the same.
    """
    state: dict[str, torch.Tensor] = {}
    for name, array in named.items():
        tensor_name = re.split(r"[/:]", name.partition(":")[0])[-1]
        layer = _LAYER.search(name)
        tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        if layer is None and tensor_name in ("kernel", "bias"):
            key = "dense.weight" if tensor_name == "kernel" else "dense.bias"
            tensor = tensor.T.contiguous() if tensor.ndim == 2 else tensor
        elif layer is not None and _NORM.search(name) and tensor_name in _TENSORS:
            key = f"blocks.layer{layer[1]}_{layer[2]}.bn.{_TENSORS[tensor_name]}"
        elif layer is not None and tensor_name in ("kernel", "depthwise_kernel") and tensor.ndim == 4:
            key = f"blocks.layer{layer[1]}_{layer[2]}.conv.weight"
            tensor = tensor.permute(*((2, 3) if layer[2] == "depthwise_conv" else (3, 2)), 0, 1).contiguous()
        else:
            raise ConfigurationError(
                f"{path} holds {name} {array.shape}, which YAMNet has no place for; give yamnet.h5"
            )
        if key in state:
            raise ConfigurationError(f"{path} holds {key} twice, the second time as {name}; give yamnet.h5")
        state[key] = tensor
    return state


def read_folder(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a folder that `write_folder` wrote; raises ConfigurationError when it is another."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if read_json(folder / CONFIG_FILE).get("family") != Yamnet.family:
        raise ConfigurationError(
            f"{folder / CONFIG_FILE} is not of the family yamnet; convert yamnet.h5 again"
        )
    try:
        return dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(
            f"{folder / WEIGHTS_FILE} cannot be read as safetensors ({error}); convert it again"
        ) from error


def convert_h5(h5: Path, out: Path, class_map: Path) -> None:
    """Write a Keras weights file as a folder that needs no h5py.

    Raises:
        ConfigurationError: the file does not hold the whole of YAMNet and nothing else.
    """
    write_folder(read_h5(h5), out, class_map, source=h5)


def write_folder(state: Mapping[str, torch.Tensor], out: Path, class_map: Path, *, source: Path) -> None:
    """Write weights and class map as a folder of this family; `source` is what errors name."""
    from safetensors.torch import save_file

    _, events = _columns(class_map)
    _filled(state, events, source)
    out.mkdir(parents=True, exist_ok=True)
    save_file(dict(state), out / WEIGHTS_FILE)
    (out / CLASS_MAP_FILE).write_bytes(class_map.read_bytes())
    (out / CONFIG_FILE).write_text(json.dumps({"family": Yamnet.family, "events": events}) + "\n", "utf-8")


def _filled(state: Mapping[str, torch.Tensor], events: int, path: Path) -> Network:
    network = Network(events)
    stored = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith(("bn.weight", "num_batches_tracked"))
    }
    faults = [f"{name} is missing" for name in stored.keys() - state.keys()]
    faults += [f"{name} is left over" for name in state.keys() - stored.keys()]
    faults += [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in stored.items()
        if name in state and state[name].shape != tensor.shape
    ]
    faults += [f"{name} is not finite" for name, tensor in state.items() if not tensor.isfinite().all()]
    if faults:
        raise ConfigurationError(
            f"{path} does not hold YAMNet with {events} events: {'; '.join(sorted(faults)[:5])}"
        )
    network.load_state_dict(dict(state), strict=False)  # the scales, all 1, are in no file
    return network.eval()


def _class_map(options: YamnetOptions) -> Path:
    if options.class_map is not None:
        return options.class_map
    return (options.model if options.model.is_dir() else options.model.parent) / CLASS_MAP_FILE


def _columns(class_map: Path) -> tuple[list[int], int]:
    """Return the output of each of `EVENTS`, and how many outputs there are, of YAMNet's class map."""
    try:
        with class_map.open(newline="", encoding="utf-8") as file:
            names = _names(csv.DictReader(file), class_map)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no {class_map}; set class_map to YAMNet's {CLASS_MAP_FILE}"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{class_map} is not CSV: {error}") from error
    absent = [event for event in EVENTS if names.count(event) != 1]
    if absent:
        raise ConfigurationError(
            f"{class_map} does not name {', '.join(map(repr, absent))} once; use YAMNet's {CLASS_MAP_FILE}"
        )
    return [names.index(event) for event in EVENTS], len(names)


def _names(rows: Iterable[Mapping[str, Any]], class_map: Path) -> list[str]:
    names = []
    for position, row in enumerate(rows):
        if row.get("index") != str(position) or not row.get("display_name"):
            raise ConfigurationError(
                f"{class_map}, row {position + 1}: expected index {position} and display_name, found {dict(row)}"
            )
        names.append(str(row["display_name"]))
    return names


def _padded_samples(counts: torch.Tensor) -> int:
    return PATCH_SAMPLES + PATCH_HOP * (int(counts.max()) - 1)
