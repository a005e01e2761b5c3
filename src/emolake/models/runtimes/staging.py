"""Batches on their way through a model: handed over without waiting for the device, and read back later.

On a GPU a batch lies in pinned memory, is copied on a stream beside the one that computes, and its answers are copied
back behind it; until they are collected, the host forms the next batches. On a processor the same calls compute at
once. Who hands over is one thread.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from emolake.models.protocol import EmotionModel, Prediction, Staged
from emolake.models.runtimes.replay import Recorder, Replay

if TYPE_CHECKING:
    import torch


class Lane(Protocol):
    """The way of tensors to a device and back."""

    def buffer(self, samples: int) -> "torch.Tensor":
        """Return host memory [samples] float32 that batches are put together in."""
        ...

    def there(self, host: "torch.Tensor") -> "torch.Tensor":
        """Return a tensor on the device; the copy may still be under way."""
        ...

    def back(self, outputs: "torch.Tensor") -> "tuple[torch.Tensor, Any]":
        """Return a float32 tensor on the host, and what `wait` takes to make sure that it is filled."""
        ...

    def wait(self, mark: Any) -> None:
        """Return when what was marked is done; raises what went wrong on the device until then."""
        ...


class HostLane:
    """The processor's: nothing is copied, and everything is there at once."""

    def buffer(self, samples: int) -> "torch.Tensor":
        """See `Lane`."""
        import torch

        return torch.empty(samples, dtype=torch.float32)

    def there(self, host: "torch.Tensor") -> "torch.Tensor":
        """See `Lane`."""
        return host

    def back(self, outputs: "torch.Tensor") -> "tuple[torch.Tensor, Any]":
        """See `Lane`."""
        import torch

        return outputs.to("cpu", torch.float32), None

    def wait(self, mark: Any) -> None:
        """See `Lane`."""


class CudaLane:
    """A GPU's: copies run on a stream of their own, beside the batch that is computed."""

    def __init__(self, device: str) -> None:
        import torch

        self._device = torch.device(device)
        self._copies = torch.cuda.Stream(self._device)

    def buffer(self, samples: int) -> "torch.Tensor":
        """See `Lane`."""
        return _pinned(samples)

    def there(self, host: "torch.Tensor") -> "torch.Tensor":
        """See `Lane`."""
        import torch

        with torch.cuda.stream(self._copies):
            copy = host.to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._copies)
        copy.record_stream(computing)  # or its memory would be given to the next copy while it is read
        return copy

    def back(self, outputs: "torch.Tensor") -> "tuple[torch.Tensor, Any]":
        """See `Lane`."""
        import torch

        host = _pinned(*outputs.shape)
        host.copy_(outputs, non_blocking=True)
        mark = torch.cuda.Event(blocking=True)  # to wait for it leaves the core to the decoders
        mark.record(torch.cuda.current_stream(self._device))
        return host, mark

    def wait(self, mark: Any) -> None:
        """See `Lane`."""
        mark.synchronize()


def _pinned(*shape: int) -> "torch.Tensor":
    """Return host memory of a shape, float32; pinned, unless the system allows no more of that."""
    import torch

    with suppress(RuntimeError):
        return torch.empty(shape, dtype=torch.float32, pin_memory=True)
    return torch.empty(shape, dtype=torch.float32)


@dataclass(frozen=True, slots=True)
class Handed:
    """A batch that a model was given."""

    stage: "BatchStage"
    buffer: "torch.Tensor"
    answer: "Prediction | tuple[torch.Tensor, Any]"
    """The prediction, of a model that gives no less, or its outputs and the mark behind them."""

    def collect(self) -> Prediction:
        """Wait for the batch and return its prediction; to be called once, whatever it raises."""
        return self.stage._collect(self)


class BatchStage:
    """Hands batches to one model; as many buffers as batches are under way are used again and again."""

    def __init__(
        self, model: EmotionModel, *, lane: Lane | None = None, recorder: Recorder | None = None
    ) -> None:
        """Hand batches over.

        Args:
            model: what they are for.
            lane: the way to the model's device; its own when left out.
            recorder: what records the forward pass of full batches; each is launched by itself when left out.
        """
        self._model = model
        self._staged = model if isinstance(model, Staged) else None
        self._lane = lane or (CudaLane(model.device) if model.device.startswith("cuda") else HostLane())
        self._free: list[torch.Tensor] = []
        self._replay = Replay(self._staged.outputs, recorder) if self._staged and recorder else None

    def make_room(self) -> None:
        """Give back what is kept on the device to be quick."""
        if self._replay is not None:
            self._replay.forget()

    def submit(self, waves: Sequence[np.ndarray], *, rows: int, samples: int) -> Handed:
        """Hand over arrays [samples] float32 as a batch [rows, samples]: zeros behind each, and rows of zeros below.

        Raises:
            Exception: what the model raises, or the device for what it was given before; nothing is under way then.
        """
        import torch

        flat = self._buffer(rows * samples)
        try:
            batch = flat[: rows * samples].view(rows, samples)
            lengths = torch.full((rows,), samples)
            for row, wave in enumerate(waves):
                batch[row, : len(wave)] = torch.from_numpy(wave)
                batch[row, len(wave) :] = 0
                lengths[row] = len(wave)
            batch[len(waves) :] = 0
            with torch.inference_mode():
                if self._staged is None:
                    return Handed(self, flat, self._model.predict(batch, lengths))
                # lengths stay on the host, where to ask for them stops nothing
                outputs = (self._replay or self._staged.outputs)(self._lane.there(batch), lengths)
                return Handed(self, flat, self._lane.back(outputs))
        except BaseException:
            self._free.append(flat)
            raise

    def _collect(self, handed: Handed) -> Prediction:
        try:
            if isinstance(handed.answer, Prediction):
                return handed.answer
            assert self._staged is not None
            outputs, mark = handed.answer
            self._lane.wait(mark)
            return self._staged.prediction(outputs)
        finally:
            self._free.append(handed.buffer)

    def _buffer(self, samples: int) -> "torch.Tensor":
        """Return a free buffer of at least so many samples."""
        while self._free:
            buffer = self._free.pop()
            if len(buffer) >= samples:
                return buffer
        return self._lane.buffer(samples)
