"""Timing on a device: whole runs, the device's busy share, matrix peaks, memory, and other ways to run one shape."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter
from typing import Any

import torch

from emolake.models.families.encoder_head_network import transformer_stack
from emolake.models.runtimes.arithmetic import HALVES, encoders_of, fp32_products
from emolake.models.runtimes.replay import CudaRecorder, Replay
from emolake.models.runtimes.staging import CudaLane, HostLane, Lane


def synchronise(device: str) -> None:
    """Wait for a device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: str, *, repeats: int, warm: int = 2) -> float:
    """Return the mean seconds of repeats behind one another, after some that are not counted."""
    for _ in range(warm):
        work()
    synchronise(device)
    began = perf_counter()
    for _ in range(repeats):
        work()
    synchronise(device)
    return (perf_counter() - began) / repeats


def matrix_peak(device: str, precision: str, side: int) -> float:
    """Return the floating-point operations a second of a product of random square matrices."""
    dtype = HALVES.get(precision, torch.float32)
    a, b = (torch.randn(side, side, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    with fp32_products(tf32=precision == "tf32"):
        return 2 * side**3 / seconds(lambda: a @ b, device, repeats=10, warm=3)


def peak_memory_gb(device: str) -> float | None:
    """Return the most of a GPU's memory that tensors took since `forget_memory`; None on a processor."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.startswith("cuda") else None


def forget_memory(device: str) -> None:
    """Begin again to count the most memory."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


class BusyLane:
    """A lane that adds up how long the device was at work with batches: from their arrival to their answers."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._lane: Lane = CudaLane(device) if self._cuda else HostLane()
        self._began: Any = None
        self._spans: list[tuple[Any, Any]] = []

    def buffer(self, samples: int) -> torch.Tensor:
        return self._lane.buffer(samples)

    def there(self, host: torch.Tensor) -> torch.Tensor:
        waves = self._lane.there(host)
        self._began = self._now()
        return waves

    def back(self, outputs: torch.Tensor) -> tuple[torch.Tensor, Any]:
        host, mark = self._lane.back(outputs)
        self._spans.append((self._began, self._now()))
        return host, mark

    def wait(self, mark: Any) -> None:
        self._lane.wait(mark)

    def _now(self) -> Any:
        if not self._cuda:
            return perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    @property
    def busy_s(self) -> float:
        """Seconds that it was at work; of a GPU once nothing is under way."""
        if not self._cuda:
            return float(sum(end - begin for begin, end in self._spans))
        torch.cuda.synchronize()
        return float(sum(begin.elapsed_time(end) for begin, end in self._spans)) / 1000


@contextmanager
def layers_compiled(model: Any, backend: str) -> Iterator[None]:
    """Let the transformer layers of a loaded model be compiled in the block, each shape by itself.

    What is around them, preparation, convolutions and hooks that take states, runs as ever: layers are alike, so that
    they share what is compiled.
    """
    layers = [layer for encoder in encoders_of(model._network) for layer in transformer_stack(encoder).layers]
    try:
        for layer in layers:
            layer.forward = torch.compile(layer.forward, dynamic=False, backend=backend)
        yield
    finally:
        for layer in layers:
            del layer.forward


@contextmanager
def forward_of(model: Any, name: str, *, backend: str = "inductor") -> Iterator[Any]:
    """Give what runs a staged model's `outputs` in the block: eager, graphs, compiled, or compiled_graphs."""
    with ExitStack() as stack:
        if name.startswith("compiled"):
            stack.enter_context(layers_compiled(model, backend))
        yield Replay(model.outputs, CudaRecorder(model.device)) if name.endswith("graphs") else model.outputs
