"""YAMNet's weights: read from Keras' yamnet.h5 or a converted folder, renamed to torch's, written as such a folder.

Beside torch and safetensors nothing of the other families is imported: `yamnet_convert` runs beside TensorFlow alone.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from emolake.errors import ConfigurationError
from emolake.models.encoders.speech_encoder import read_json
from emolake.models.families.yamnet_class_map import CLASS_MAP_FILE, event_columns
from emolake.models.families.yamnet_network import YamnetNetwork
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE

FAMILY = "yamnet"
_LAYER = re.compile(r"layer(\d+)[/_](depthwise_conv|pointwise_conv|conv)(?=[/_:])")
_NORM = re.compile(r"[/_]bn[/_]")
_TENSORS = {"beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


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

    if read_json(folder / CONFIG_FILE).get("family") != FAMILY:
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

    _, events = event_columns(class_map)
    filled_network(state, events, source)
    out.mkdir(parents=True, exist_ok=True)
    save_file(dict(state), out / WEIGHTS_FILE)
    (out / CLASS_MAP_FILE).write_bytes(class_map.read_bytes())
    (out / CONFIG_FILE).write_text(json.dumps({"family": FAMILY, "events": events}) + "\n", "utf-8")


def filled_network(state: Mapping[str, torch.Tensor], events: int, path: Path) -> YamnetNetwork:
    """Return the network with these weights, in eval mode; `path` is what errors name.

    Raises:
        ConfigurationError: a weight is missing, left over, of another shape or not finite.
    """
    network = YamnetNetwork(events)
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
