"""Silero's convolutions as products of dense matrices: the same probabilities for a quarter of the processor time.

A chunk gives a convolution one to four frames, and onnxruntime works chunk by chunk. Here all that a convolution makes
of a chunk is one row of one product over all chunks of a call. The Fourier transform, whose window and cosines are
even and whose sines are odd, takes the sums and the differences of samples that mirror one another: half the products.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from emolake.audio.mirrored_frames import FRAME, FRAMES
from emolake.errors import ConfigurationError

_BASIS = "stft.forward_basis_buffer"
# The convolutions behind the transform, all of three taps with a frame of zeros on either side, and their strides.
_STRIDES = {"encoder.0": 1, "encoder.1": 2, "encoder.2": 2, "encoder.3": 1}
_LSTM = "/recurrent/LSTM"
_STATE = 128


def matrix_form(path: Path) -> bytes:
    """Return a graph of the network in Silero's file for sequences.

    Its inputs are what `folded` returns, "sums" and "differences", and the state "h" and "c" [1, 1, 128]; its outputs
    the probabilities [n] and the state.

    Raises ConfigurationError if the file holds another network.
    """
    graph = onnx.load(path).graph
    weights = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    lstms = [node for node in graph.node if node.name == _LSTM]
    wanted = {_BASIS, "output.weight", *(f"{name}.weight" for name in _STRIDES)}
    if not (lstms and wanted <= weights.keys() and _is_folding(weights[_BASIS][:, 0])):
        raise ConfigurationError(
            f"{path} is not the network of silero-vad 6; install it with: pip install 'silero-vad>=6,<7'"
        )
    return _written(weights, list(lstms[0].input[1:4]))


def _is_folding(basis: np.ndarray) -> bool:
    """Return whether a transform [258, 256] can take what `folded` returns: even cosines over odd sines, 0 at first."""
    if basis.shape != (FRAME + 2, FRAME):
        return False
    cosines, sines = np.split(basis[:, 1:], 2)
    return bool(
        (basis[:, 0] == 0).all()
        and (cosines == cosines[:, ::-1]).all()
        and (sines == -sines[:, ::-1]).all()
        and not sines[[0, -1]].any()
    )


def _written(weights: Mapping[str, np.ndarray], recurrent: Sequence[str]) -> bytes:
    """Return the graph of some weights; `recurrent` names those of the LSTM."""
    nodes: list[NodeProto] = []
    constants = {name: weights[name] for name in recurrent}

    def constant(name: str, value: np.ndarray | Sequence[int]) -> str:
        constants[name] = np.ascontiguousarray(value)
        return name

    def result(name: str, operator: str, *arguments: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, arguments, [name], **attributes))
        return name

    half = FRAME // 2
    cosines, sines = np.split(weights[_BASIS][:, 0], 2)
    real = result("real", "Gemm", "sums", constant("cosines", cosines[:, 1 : half + 1].T))
    # The sines of the first and the last frequency are zero: these columns cost less than adding them afterwards.
    imaginary = result("imaginary", "Gemm", "differences", constant("sines", sines[:, 1:half].T))
    squares = [result(f"{name}_squares", "Mul", name, name) for name in (real, imaginary)]
    power = result("power", "Add", *squares)
    rows = result("magnitudes", "Sqrt", power)
    rows = result("chunks", "Reshape", rows, constant("chunk_shape", [-1, FRAMES * len(cosines)]))
    length = FRAMES
    for name, stride in _STRIDES.items():
        matrix, bias, length = _dense(weights[f"{name}.weight"], weights[f"{name}.bias"], length, stride)
        rows = result(f"{name}.product", "Gemm", rows, constant(name, matrix), constant(f"{name}.bias", bias))
        rows = result(f"{name}.output", "Relu", rows)
    rows = result("steps", "Reshape", rows, constant("step_shape", [-1, 1, _STATE]))
    nodes.append(
        helper.make_node("LSTM", [rows, *recurrent, "", "h", "c"], ["states", "hn", "cn"], hidden_size=_STATE)
    )
    rows = result("flat", "Reshape", "states", constant("flat_shape", [-1, _STATE]))
    output = constant("output.weight", weights["output.weight"][:, :, 0].T)
    rows = result(
        "output", "Gemm", result("cut", "Relu", rows), output, constant("output.bias", weights["output.bias"])
    )
    rows = result("answers", "Sigmoid", rows)
    result("probabilities", "Reshape", rows, constant("probability_shape", [-1]))

    def tensor(name: str, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    frames = [tensor("sums", "frames", half), tensor("differences", "frames", half - 1)]
    state = (1, 1, _STATE)
    graph = helper.make_graph(
        nodes,
        "voice_activity",
        [*frames, tensor("h", *state), tensor("c", *state)],
        [tensor("probabilities", "chunks"), tensor("hn", *state), tensor("cn", *state)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    written: bytes = model.SerializeToString()
    return written


def _dense(
    kernel: np.ndarray, bias: np.ndarray, length: int, stride: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the matrix and the bias that a convolution is, of rows [length * inputs], and how many frames it makes.

    Args:
        kernel: [outputs, inputs, 3].
        bias: [outputs].
        length: frames of its input, to which it adds one of zeros on either side.
        stride: frames from one output to the next.
    """
    outputs, inputs, taps = kernel.shape
    made = (length + 2 - taps) // stride + 1
    matrix = np.zeros((length, inputs, made, outputs), np.float32)
    for frame in range(made):
        for tap in range(taps):
            place = frame * stride + tap - 1
            if 0 <= place < length:
                matrix[place, :, frame] = kernel[:, :, tap].T
    return matrix.reshape(length * inputs, made * outputs), np.tile(bias, made), made
