"""The forward pass of full batches, recorded once for each shape and replayed: a GPU then waits for no launches.

Launching each of a network's thousand kernels takes the host longer than a small batch takes the GPU; a CUDA graph
launches them all at once. Only shapes that come again are recorded, only of batches without padding (what is masked is
decided on the host), and only a few: each keeps the memory of its activations. What cannot be recorded runs as ever.
"""

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from emolake.messages import printable
from emolake.models.runtimes.devices import is_out_of_memory

if TYPE_CHECKING:
    import torch

Outputs = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""`outputs` of a staged model."""

# A shape is recorded when it comes for the second time: most tails come once.
_RECORDED_AT = 2
_MOST_SHAPES = 4
_WARM_UPS = 3  # as PyTorch's documentation of CUDA graphs has it

log = logging.getLogger(__name__)


class Recorder(Protocol):
    """What records work on a device."""

    def record(self, work: Callable[[], "torch.Tensor"]) -> "Callable[[], torch.Tensor]":
        """Return what does the same work again, on the same memory, and returns the same tensor, written over.

        Raises:
            Exception: it cannot be recorded; nothing of the attempt is left.
        """
        ...


class CudaRecorder:
    """Records CUDA graphs of what this thread launches."""

    def __init__(self, device: str) -> None:
        import torch

        self._device = torch.device(device)

    def record(self, work: Callable[[], "torch.Tensor"]) -> "Callable[[], torch.Tensor]":
        """See `Recorder`."""
        import torch

        beside, computing = torch.cuda.Stream(self._device), torch.cuda.current_stream(self._device)
        beside.wait_stream(computing)
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                work()
        computing.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process may allocate meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            found = work()

        def replay() -> "torch.Tensor":
            graph.replay()
            return found

        return replay


class Replay:
    """`outputs` of a staged model, whose full batches are replayed; used by one thread."""

    def __init__(self, outputs: Outputs, recorder: Recorder) -> None:
        self._outputs, self._recorder = outputs, recorder
        self._recorded: dict[tuple[int, ...], tuple[torch.Tensor, Callable[[], torch.Tensor]]] = {}
        self._seen: Counter[tuple[int, ...]] = Counter()
        self._is_off = False

    def __call__(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """Return what the model gives; `lengths` are on the host."""
        shape = tuple(waves.shape)
        if self._is_off or not bool((lengths == waves.shape[1]).all()):
            return self._outputs(waves, lengths)
        if shape not in self._recorded and not self._record(shape, waves, lengths):
            return self._outputs(waves, lengths)
        given, replay = self._recorded[shape]
        given.copy_(waves)
        return replay().clone()  # the next replay writes over it

    def forget(self) -> None:
        """Give the memory of all recordings back, and record nothing any more: there is no room for it."""
        self._recorded.clear()
        self._is_off = True

    def _record(self, shape: tuple[int, ...], waves: "torch.Tensor", lengths: "torch.Tensor") -> bool:
        """Record a shape if it is worth it; return whether it was recorded."""
        self._seen[shape] += 1
        if self._seen[shape] < _RECORDED_AT or len(self._recorded) == _MOST_SHAPES:
            return False
        given, lengths = waves.clone(), lengths.clone()
        try:
            self._recorded[shape] = given, self._recorder.record(lambda: self._outputs(given, lengths))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            # An error of the device itself comes again from the batch, which now runs without a recording.
            self.forget()
            log.warning("the forward pass cannot be recorded, and runs without: %s", printable(str(error)))
            return False
        return True
