"""A module's graph as files: its structure by torch's exporter, its weights straight from where the module has them.

torch's exporter would hold every weight several times over: folded, in the graph and in its serialised form. Here it
is given none, and the weights go into a file of their own one by one, which onnxruntime maps into memory.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from torch import nn

from emolake.models.runtimes.graph_cache import GraphRefusedError

if TYPE_CHECKING:
    import onnx

WEIGHTS_FILE = "model.weights"
_ALIGNED = 4096  # bytes, a page
_OPSET = 17
# Weights below it stay in the graph, where onnxruntime works out shapes by them.
_SMALL = 1024


def write_graph(
    module: nn.Module,
    given: Sequence[torch.Tensor],
    path: Path,
    *,
    names: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> None:
    """Write the graph of a module in eval mode, and beside it `WEIGHTS_FILE`.

    Args:
        module: what is traced.
        given: what it is traced on.
        path: the graph's file.
        names: of the inputs.
        axes: those of the inputs and of `outputs` that may have any length, by name.

    Raises:
        GraphRefusedError: the exporter asks for a weight that is none of the module's.
        Exception: what the exporter raises.
    """
    import onnx

    # By tracing: the same graphs as torch.export's gives, in a twentieth of the time and without further packages.
    # Nothing is folded, nor equal weights looked for, for that takes copies; PRESERVE, or batch norms would be merged
    # into weights of its own.
    torch.onnx.export(
        module, tuple(given), path, export_params=False, do_constant_folding=False,
        keep_initializers_as_inputs=True, training=torch.onnx.TrainingMode.PRESERVE, input_names=list(names),
        output_names=["outputs"], dynamic_axes={name: dict(each) for name, each in axes.items()},
        opset_version=_OPSET, dynamo=False,
    )  # fmt: skip
    model = onnx.load(path)
    with (path.parent / WEIGHTS_FILE).open("wb") as file:
        _take_weights(model.graph, module.state_dict(), set(names), file)
    path.write_bytes(model.SerializeToString())


def _take_weights(
    graph: "onnx.GraphProto", weights: Mapping[str, torch.Tensor], inputs: set[str], file: BinaryIO
) -> None:
    """Make a graph's inputs that are weights into initializers, and write what is in them."""
    wanted = [each.name for each in graph.input if each.name not in inputs]
    if strangers := [name for name in wanted if name not in weights]:
        raise GraphRefusedError(f"torch's exporter asks for {', '.join(strangers[:3])}, which is no weight")
    turned = _without_transposes(graph, set(wanted))
    for name in wanted:
        array = weights[name].detach().cpu().numpy()
        if name in turned:
            array = array.transpose(turned[name])
        graph.initializer.append(_initializer(name, array, file))
    kept = [each for each in graph.input if each.name in inputs]
    del graph.input[:]
    graph.input.extend(kept)


def _without_transposes(graph: "onnx.GraphProto", weights: set[str]) -> dict[str, tuple[int, ...]]:
    """Take out the nodes that do nothing but transpose a weight; return how such weights are to be written."""
    uses = defaultdict(list)
    for node in graph.node:
        for name in set(node.input) & weights:
            uses[name].append(node)
    turned: dict[str, tuple[int, ...]] = {}
    renamed: dict[str, str] = {}
    for name, nodes in uses.items():
        ways = {
            tuple(node.attribute[0].ints) if node.op_type == "Transpose" and node.attribute else None
            for node in nodes
        }
        (way, *others) = ways
        if way is not None and not others:
            turned[name] = way
            renamed |= {node.output[0]: name for node in nodes}
    kept = [node for node in graph.node if node.output[0] not in renamed]
    del graph.node[:]
    graph.node.extend(kept)
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in renamed:
                node.input[place] = renamed[name]
    return turned


def _initializer(name: str, array: np.ndarray, file: BinaryIO) -> "onnx.TensorProto":
    from onnx import TensorProto, helper, numpy_helper

    if array.nbytes < _SMALL:
        return numpy_helper.from_array(np.ascontiguousarray(array), name)
    file.write(bytes(-file.tell() % _ALIGNED))
    tensor = TensorProto(
        name=name,
        dims=array.shape,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        data_location=TensorProto.EXTERNAL,
    )
    place = {"location": WEIGHTS_FILE, "offset": file.tell(), "length": array.nbytes}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=str(value))
    file.write(np.ascontiguousarray(array).data)
    return tensor
