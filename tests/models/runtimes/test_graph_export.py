"""A graph's weights go from the module into a file, as they are and once, without filling the memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from emolake.models.runtimes import graphs
from emolake.models.runtimes.graph_cache import GRAPH_FILE, GraphCache, GraphRefusedError
from emolake.models.runtimes.graph_export import WEIGHTS_FILE, write_graph
from emolake.models.runtimes.graph_form import LinearProduct
from emolake.models.runtimes.graphs import Graphs

WIDTH = 24


class Layers(nn.Module):
    """Layers one after the other, over inputs [B, T, WIDTH]."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs / lengths[:, None, None]


class BothWays(nn.Module):
    """Multiplies by a weight as it is and turned."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.weight + inputs @ self.weight.T


class Turned(nn.Module):
    """Applies a layer to the other axis, and has a buffer of whole numbers."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("places", torch.arange(WIDTH).flip(0))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(inputs.transpose(1, 2)).transpose(1, 2)[:, :, self.places]


def one_layer_twice() -> nn.Module:
    layer = nn.Linear(WIDTH, WIDTH)
    return Layers(layer, nn.GELU(), layer)


def with_norm() -> nn.Module:
    norm = nn.BatchNorm1d(WIDTH)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return Layers(Turned(nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 3, padding=1), norm)))


MODULES = {
    "a linear layer": lambda: Layers(nn.Linear(WIDTH, WIDTH)),
    "as a product": lambda: Layers(LinearProduct(nn.Linear(WIDTH, WIDTH))),
    "without a bias": lambda: Layers(LinearProduct(nn.Linear(WIDTH, WIDTH, bias=False))),
    "one layer twice": one_layer_twice,
    "one weight both ways": lambda: Layers(BothWays()),
    "a convolution and a batch norm": with_norm,
    "equal weights": lambda: Layers(nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 7)),
    "a cast": lambda: Layers(nn.Linear(WIDTH, WIDTH).double(), nn.Hardtanh()).float(),
}


def written(module: nn.Module, folder: Path) -> Path:
    path = folder / GRAPH_FILE
    axes = {"inputs": {0: "batch", 1: "frames"}, "lengths": {0: "batch"}}
    with torch.inference_mode():
        write_graph(module, given(2, 5), path, names=("inputs", "lengths"), axes=axes)
    return path


def given(batch: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(batch, frames, WIDTH), torch.arange(1, batch + 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_the_graph_answers_as_the_module(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module = MODULES[name]().eval()
    path = written(module, tmp_path)
    onnx.checker.check_model(path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((2, 5), (3, 8), (1, 1)):
        inputs, lengths = given(*shape)
        (found,) = session.run(None, {"inputs": inputs.numpy(), "lengths": lengths.numpy()})
        assert np.allclose(found, module(inputs, lengths).detach().numpy(), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a linear layer", "as a product", "one layer twice"])
def test_a_weight_is_in_the_file_once_as_it_is_multiplied(name: str, tmp_path: Path) -> None:
    module = MODULES[name]().eval()
    graph = onnx.load(written(module, tmp_path)).graph
    assert "Transpose" not in {node.op_type for node in graph.node}
    weights = [each for each in graph.initializer if len(each.dims) == 2]
    expected = next(each for each in module.parameters() if each.ndim == 2).detach().numpy().T
    assert [onnx.numpy_helper.to_array(each).tolist() for each in weights] == [expected.tolist()]
    assert (tmp_path / WEIGHTS_FILE).stat().st_size == expected.nbytes


class Hiding(Layers):
    """Says only while it is traced which weights it has."""

    def state_dict(self, *given: Any, **options: Any) -> Any:
        return super().state_dict(*given, **options) if torch.onnx.is_in_onnx_export() else {}


@pytest.mark.filterwarnings("ignore")
def test_a_weight_of_nobody_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(GraphRefusedError, match=r"asks for layers\.0\.weight, .*, which is no weight"):
        written(Hiding(nn.Linear(WIDTH, WIDTH)).eval(), tmp_path)


def test_a_graph_of_an_earlier_version_is_none_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Graphs(GraphCache(tmp_path, max_bytes=10**9), "of a test", "fp32")

    def write(folder: Path) -> dict[str, Any]:
        (folder / GRAPH_FILE).write_bytes(b"a graph")
        return {}

    with monkeypatch.context() as earlier:
        earlier.setattr(graphs, "_EXPORTER", 3)
        here.cache.get(here.recipe, write)
        assert here.is_made
    assert not here.is_made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [GRAPH_FILE, WEIGHTS_FILE])
def test_a_changed_byte_of_the_weights_is_found(name: str, tmp_path: Path) -> None:
    cache, calls = GraphCache(tmp_path, max_bytes=10**9), []

    def write(folder: Path) -> dict[str, Any]:
        calls.append(folder)
        written(Layers(nn.Linear(WIDTH, WIDTH)).eval(), folder)
        return {}

    path = cache.get({"model": "a"}, write).with_name(name)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    cache.get({"model": "a"}, write)
    assert len(calls) == 2


# Of a process of its own: the peak above what it holds with its libraries and one export behind it, in MB.
PEAK_OF_AN_EXPORT = """
import json, re, sys
from pathlib import Path
import torch
from transformers import HubertConfig, HubertModel
from emolake.models.protocol import Batching
from emolake.models.runtimes.graph_cache import GraphCache
from emolake.models.runtimes.graphs import Graphs
from emolake.models.runtimes.networks import load_network

class Network(torch.nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
    def forward(self, inputs, lengths):
        return self.encoder(inputs).last_hidden_state.mean(dim=1)

def megabytes(name):
    return int(re.search(rf"^{name}:\\s+(\\d+) kB$", Path("/proc/self/status").read_text(), re.M)[1]) / 1024

def build(layers):
    torch.manual_seed(0)
    return Network(HubertModel(HubertConfig(
        hidden_size=1024, num_attention_heads=16, intermediate_size=4096, num_hidden_layers=layers, conv_dim=(64,) * 7
    )))

def load(layers):
    graphs = Graphs(GraphCache(Path(sys.argv[1]), max_bytes=10**10), f"of {layers} layers", "fp32")
    return load_network(
        lambda: build(layers), lambda waves, _: waves,
        batching=Batching.EQUAL_LENGTH, device="cpu", graphs=graphs,
    )

load(0)
Path("/proc/self/clear_refs").write_text("5")
before = megabytes("VmRSS")
network = load(2)
print(json.dumps({"peak": megabytes("VmHWM") - before, "after": megabytes("VmRSS") - before}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its peak")
def test_an_export_takes_little_more_than_the_weights_twice(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF_AN_EXPORT, str(tmp_path)], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    weights = max(each.stat().st_size for each in tmp_path.rglob("*")) / 2**20
    assert weights > 90
    assert found["peak"] < 2 * weights + 80
    assert found["after"] < weights + 80
