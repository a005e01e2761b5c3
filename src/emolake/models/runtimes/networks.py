"""What executes a family's network: torch in a precision, or onnxruntime on the graph that was exported of it.

A network takes the input that its family prepares of the waves, [B, ...] float32, and the lengths [B] int64 of the
waves in samples; it gives [B, outputs] float32. Its torch module is the one definition of what is computed: the graph
is exported from it, and compared with it before it is used.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import JsonValue
from torch import nn
from torch.nn.utils import parametrize

from emolake.models.protocol import Batching
from emolake.models.runtimes import on_processor
from emolake.models.runtimes.allocator import give_back_freed_blocks
from emolake.models.runtimes.devices import is_out_of_memory
from emolake.models.runtimes.graph_cache import GRAPH_FILE, GraphRefusedError
from emolake.models.runtimes.graph_export import write_graph
from emolake.models.runtimes.graph_form import graph_form
from emolake.models.runtimes.graphs import Graphs

if TYPE_CHECKING:
    import onnxruntime as ort

Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Prepare = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

TOLERANCE = 1e-4
"""Largest difference between a graph's answer and torch's, relative to the largest output where that is above 1."""
_HZ = 16_000
# Lengths in samples of the synthetic waves: what is traced, and what the graph is compared on, of another batch size
# and other lengths, so that nothing of the traced shapes can be left in it unseen.
_TRACED = (16_000, 12_000)
_CHECKED = ((23_456, 8_000, 17_001), (9_000,))


def load_network(
    build: Callable[[], nn.Module],
    prepare: Prepare,
    *,
    batching: Batching,
    device: str,
    graphs: Graphs | None,
) -> Network:
    """Return what runs a network: a module of torch in fp32, or with `graphs` its graph, for which no weights are
    loaded where it is in the cache.

    Args:
        build: loads the module; it is called when it is needed.
        prepare: makes the module's input of waves [B, T] and lengths [B].
        batching: of the module in fp32; a masked one is checked on waves of unlike lengths.
        device: where torch runs.
        graphs: where the graph is kept.

    Raises:
        GraphRefusedError: the module cannot be exported, or the graph's answer is not the module's.
    """
    if graphs is None:
        return fold_weight_norm(build()).to(device).eval()

    def write(folder: Path) -> Mapping[str, JsonValue]:
        about = _export(build, prepare, batching, folder)
        graphs.check()  # or the graph of other weights would be kept under this fingerprint
        return about

    return OnnxNetwork(graphs.cache.get(graphs.recipe, write))


def exact_batching(batching: Batching, precision: str, device: str) -> Batching:
    """Return which batches are exact in a precision, of those that are in fp32.

    Below fp32 a sum's order shows in the third digit, and padding changes it. On a processor bf16 and int8 are exact
    in batches of one length, as `emolake.models.runtimes.on_processor` computes them; fp16, which none that was at
    hand computes, takes one segment at a time. A GPU is given batches whose shape the segment's length alone decides
    (`emolake.pipeline.length_buckets`).
    """
    if precision == "fp32" or device.startswith("cuda") or batching is Batching.SINGLE:
        return batching
    return Batching.EQUAL_LENGTH if precision in on_processor.PRECISIONS else Batching.SINGLE


class OnnxNetwork:
    """A graph in onnxruntime, on the CPU with as many threads as torch has."""

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        self._session = ort.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
        self._names = [each.name for each in self._session.get_inputs()]

    def __call__(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """See `Network`."""
        given = {"inputs": inputs.cpu().numpy(), "lengths": lengths.cpu().numpy()}
        (outputs,) = self._session.run(None, {name: given[name] for name in self._names})
        return torch.from_numpy(outputs)


def session_options() -> "ort.SessionOptions":
    """Return how a graph is run here."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it plans memory again for each shape, and tails come in every length
    # A thread that spins between two batches takes the core from the decoders.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def modules_of(network: Network, name: str) -> Mapping[str, nn.Module]:
    """Return a network's modules for `emolake.models.protocol.Inspectable`; a graph has none."""
    return {name: network} if isinstance(network, nn.Module) else {}


def fold_weight_norm(module: nn.Module) -> nn.Module:
    """Replace parametrised weights, such as those of the positional convolution, by their values; return the module."""
    for each in module.modules():
        if parametrize.is_parametrized(each):
            for name in list(each.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(each, name)
    return module


def _export(
    build: Callable[[], nn.Module], prepare: Prepare, batching: Batching, folder: Path
) -> dict[str, JsonValue]:
    """Write a module's graph and compare it with the module, of which one at a time is in memory."""
    masked = batching is Batching.MASKED
    path = folder / GRAPH_FILE
    expected = _write(build, prepare, masked, path)
    give_back_freed_blocks()
    difference = _difference(expected, OnnxNetwork(path), prepare, masked)
    give_back_freed_blocks()
    if not difference <= TOLERANCE:
        raise GraphRefusedError(
            f"the graph's answer differs from torch's by {difference:.1e}, and at most "
            f"{TOLERANCE:.0e} is allowed"
        )
    return {"largest_difference": difference}


def _write(build: Callable[[], nn.Module], prepare: Prepare, masked: bool, path: Path) -> list[np.ndarray]:
    """Write a module's graph; return the module's answers to what the graph is checked on."""
    module = fold_weight_norm(build()).eval()
    waves, lengths = _synthetic_waves(_TRACED, masked)
    inputs = prepare(waves, lengths)
    axes = {"inputs": {0: "batch"}, "lengths": {0: "batch"}, "outputs": {0: "batch"}}
    axes["inputs"][inputs.ndim - 1] = "samples" if inputs.ndim == 2 else "frames"
    try:
        # What tracing could miss, the check finds.
        with torch.inference_mode(), graph_form(module), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_graph(module, (inputs, lengths), path, names=("inputs", "lengths"), axes=axes)
    except (RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise  # it may succeed later, and a refusal is remembered
        what = str(error).partition("\n")[0]
        raise GraphRefusedError(f"torch cannot export it: {what}") from error
    with torch.inference_mode():
        return [module(prepare(waves, counts), counts).numpy() for waves, counts in _checked_waves(masked)]


def _checked_waves(masked: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [_synthetic_waves(lengths, masked) for lengths in _CHECKED]


def _difference(expected: Sequence[np.ndarray], graph: OnnxNetwork, prepare: Prepare, masked: bool) -> float:
    """Return the largest difference of an output from the expected ones, relative to the largest output if above 1."""
    largest = 0.0
    for answers, (waves, counts) in zip(expected, _checked_waves(masked), strict=True):
        found = graph(prepare(waves, counts), counts).numpy()
        if found.shape != answers.shape:
            raise GraphRefusedError(f"the graph gives {found.shape} where torch gives {answers.shape}")
        difference = np.abs(found - answers).max() / np.maximum(1.0, np.abs(answers).max())
        largest = float(np.maximum(largest, difference))  # NaN stays NaN, which max() would lose
    return largest


def _synthetic_waves(lengths: tuple[int, ...], masked: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gliding tones in noise, zero-padded, [B, T] and [B]; all of the first length where not masked."""
    counts = lengths if masked else (lengths[0],) * len(lengths)
    generator = np.random.default_rng(len(lengths))
    waves = np.zeros((len(counts), max(counts)), np.float32)
    for wave, count in zip(waves, counts, strict=True):
        time = np.arange(count) / _HZ
        pitch = generator.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * 3 * time))
        tone = sum(np.sin(2 * np.pi * np.cumsum(pitch * k) / _HZ) / k for k in range(1, 8))
        wave[:count] = 0.1 * tone + generator.normal(0, 0.01, count)
    return torch.from_numpy(waves), torch.tensor(counts)
