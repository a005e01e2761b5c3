"""Silero's convolutions as matrix products: the same probabilities for a third of the processor time.

A chunk gives a convolution one to five frames, and onnxruntime works chunk by chunk. As rows of one product, the
frames of all chunks of a call are worked together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from emolake.errors import ConfigurationError

# The convolutions of the network, and how long a chunk is before each: the graph computes that, and does not say it.
_LENGTHS = {
    "/stft/Conv": 576 + 2 * 128,
    "/encoder.0/Conv": 4,
    "/encoder.1/Conv": 4,
    "/encoder.2/Conv": 2,
    "/encoder.3/Conv": 1,
}


def matrix_form(path: Path) -> bytes:
    """Read Silero's graph for sequences, and return it with products in place of its convolutions.

    Raises ConfigurationError if the file holds another network.
    """
    model = onnx.load(path)
    graph = model.graph
    if not _LENGTHS.keys() <= {node.name for node in graph.node}:
        raise ConfigurationError(
            f"{path} is not the network of silero-vad 6; install it with: pip install 'silero-vad>=6,<7'"
        )
    held = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.name in _LENGTHS:
            product, constants = _product(node, held, length=_LENGTHS[node.name])
            nodes.extend(product)
            held.update(constants)
            del held[node.input[1]]
        else:
            nodes.append(node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in held.items())
    written: bytes = model.SerializeToString()
    return written


def _product(
    convolution: NodeProto, weights: Mapping[str, np.ndarray], *, length: int
) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Return the nodes that take a convolution's place, and their constants.

    They make [chunks, outputs, frames] of [chunks, inputs, length], as it does.
    """
    given, kernel_name, *bias = convolution.input
    (made,) = convolution.output
    kernel = weights[kernel_name]
    outputs, inputs, taps = kernel.shape
    options = {each.name: helper.get_attribute_value(each) for each in convolution.attribute}
    (stride,), (before, after) = options["strides"], options["pads"]
    padded = before + length + after
    frames = (padded - taps) // stride + 1
    nodes: list[NodeProto] = []
    constants: dict[str, np.ndarray] = {}

    def constant(what: str, value: np.ndarray | Sequence[int]) -> str:
        constants[f"{made}/{what}"] = np.asarray(value)
        return f"{made}/{what}"

    def result(what: str, operator: str, *arguments: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, arguments, [f"{made}/{what}"], **attributes))
        return f"{made}/{what}"

    # Channels last, so that what a frame's taps see is one run of a chunk's numbers.
    chunks = result("channels_last", "Transpose", given, perm=[0, 2, 1])
    chunks = result("padded", "Pad", chunks, constant("pads", [0, before, 0, 0, after, 0]))
    chunks = result("flat", "Reshape", chunks, constant("flat_shape", [-1, padded * inputs]))
    axis = constant("axis", [1])
    windows = []
    for frame in range(frames):
        start = frame * stride * inputs
        ends = constant(f"start{frame}", [start]), constant(f"end{frame}", [start + taps * inputs])
        windows.append(result(f"window{frame}", "Slice", chunks, *ends, axis))
    rows = result("windows", "Concat", *windows, axis=1)
    rows = result("rows", "Reshape", rows, constant("row_shape", [-1, taps * inputs]))
    matrix = constant("matrix", kernel.transpose(2, 1, 0).reshape(-1, outputs))
    product = result("product", "Gemm", rows, matrix, *bias)
    product = result("frames", "Reshape", product, constant("frame_shape", [-1, frames, outputs]))
    nodes.append(helper.make_node("Transpose", [product], [made], perm=[0, 2, 1]))
    return nodes, constants
