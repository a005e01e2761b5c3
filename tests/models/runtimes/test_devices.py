"""What goes wrong with a GPU is one clear sentence with the remedy; torch's errors are faked, since there is no GPU."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from made_segments import Recorder

from emolake.errors import ConfigurationError
from emolake.models.runtimes import devices
from emolake.models.runtimes.devices import (
    held_by_others,
    is_device_lost,
    is_out_of_memory,
    lost_message,
    resolve_device,
)
from emolake.models.runtimes.staging import BatchStage, CudaLane
from emolake.pipeline.device_thread import DeviceLostError
from emolake.pipeline.scheduling import may_succeed_later
from emolake.tasks.classify import no_room

GIB = 2**30
NO_DRIVER = RuntimeError(
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from "
    "http://www.nvidia.com/Download/index.aspx"
)
NONE_THERE = RuntimeError("No CUDA GPUs are available")
ORDINAL = torch.AcceleratorError("CUDA error: invalid device ordinal\nGPU device may be out of range")
BUSY = torch.AcceleratorError(
    "CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCUDA kernel errors"
)


def machine(
    monkeypatch: pytest.MonkeyPatch, error: Exception, *, gpus: int = 0, visible: str | None = None
) -> None:
    """Let torch be a build for CUDA that raises an error, on a machine with so many GPUs for this process."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch, "empty", fail)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.parametrize(
    ("device", "error", "gpus", "visible", "words"),
    [
        ("cuda", NO_DRIVER, 0, None, "Found no NVIDIA driver on your system. Please check .* install NVIDIA's driver"),
        ("cuda", NONE_THERE, 0, None, "No CUDA GPUs are available; see whether `nvidia-smi -L` lists it .*MIG mode"),
        ("cuda", NONE_THERE, 0, "", "CUDA_VISIBLE_DEVICES='' leaves this process no GPU; unset it"),
        ("cuda", NONE_THERE, 0, "7", "CUDA_VISIBLE_DEVICES='7' leaves this process no GPU; unset it, or name"),
        ("cuda:3", ORDINAL, 2, None, "this process sees cuda:0, cuda:1; choose one of these"),
        ("cuda:3", ORDINAL, 1, "2", "this process sees cuda:0 by CUDA_VISIBLE_DEVICES='2'; choose"),
        ("cuda:1", ORDINAL, 1, "MIG-8a", "by CUDA_VISIBLE_DEVICES='MIG-8a' .of MIG slices a process sees one"),
        ("cuda", BUSY, 1, None, "another process has for itself .compute mode exclusive.; end it, or choose another"),
    ],
)  # fmt: skip
def test_a_device_that_is_not_there_is_an_error_with_its_reason(
    device: str, error: Exception, gpus: int, visible: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, error, gpus=gpus, visible=visible)
    with pytest.raises(ConfigurationError, match=words) as raised:
        resolve_device(device)
    assert f"inference.device is '{device}'" in str(raised.value)


@pytest.mark.skipif(torch.version.cuda is not None, reason="of torch's build for processors")
def test_a_build_for_processors_says_so() -> None:
    with pytest.raises(
        ConfigurationError, match="is built for processors alone; use auto or cpu, or install torch's"
    ):
        resolve_device("cuda")


def test_a_gpu_that_torch_does_not_see_is_not_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "_NVIDIA_DEVICES", tmp_path)
    assert resolve_device("auto") == "cpu"
    assert not caplog.records
    (tmp_path / "0000:01:00.0").mkdir()
    with caplog.at_level(logging.WARNING):
        assert resolve_device("auto") == "cpu"
    assert "this machine has a GPU, and the processor is used: torch " in caplog.text
    machine(monkeypatch, NONE_THERE, visible="")
    caplog.clear()
    assert resolve_device("auto") == "cpu"
    assert "the processor is used: CUDA_VISIBLE_DEVICES='' leaves this process no GPU" in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: unspecified launch failure", "CUDA error: an illegal memory access was encountered",
        "CUDA error: uncorrectable ECC error encountered", "CUDA error: the launch timed out and was terminated",
        "CUDA error: unknown error", "CUDA error: device-side assert triggered", "CUDA error: hardware stack error",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
def test_an_error_that_stays_with_the_process_is_a_lost_device(message: str, kind: Any) -> None:
    error = kind(f"{message}\nCUDA kernel errors might be asynchronously reported")
    assert is_device_lost(error)
    assert not is_out_of_memory(error)
    said = lost_message(error, "cpu")
    assert said.startswith(
        f"cpu was lost while it was at work: {message.removeprefix('CUDA error: ')}; nothing"
    )
    assert not may_succeed_later(DeviceLostError(said)), "this process can do nothing more with it"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
    ids=["allocator", "driver", "cublas", "cudnn"],
)
def test_no_room_is_no_lost_device(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_device_lost(error)


@pytest.mark.parametrize(
    ("free", "reserved", "words"),
    [(5, 4, " (of its 79 GiB, 70.0 are held outside of this process' batches: `nvidia-smi`"), (5, 73.5, "")],
)
def test_a_second_process_on_the_card_is_named_where_there_is_no_room(
    free: float, reserved: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free * GIB), 79 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: int(reserved * GIB))
    assert held_by_others("cuda").startswith(words)
    assert held_by_others("cpu") == ""

    class OnGpu(Recorder):
        device = "cuda"

    model: Any = OnGpu
    said = str(no_room(model, 160_000, "calls/a.wav (channel 0, from 10 s)"))
    assert said.startswith(
        f"cuda has no room for calls/a.wav (channel 0, from 10 s) by itself, 10 s of audio{words}"
    )
    assert said.endswith("free the device's memory, or shorten segmentation.window_s")


class FakeStream:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def wait_stream(self, other: "FakeStream") -> None:
        self.log.append(f"{self.name} waits for {other.name}")


@pytest.mark.parametrize("may_pin", [True, False])
def test_a_gpus_lane_copies_beside_the_computation_and_reads_back_behind_it(
    may_pin: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of calls, on torch's processor: what is copied is waited for, and its memory kept until it is read.

    Where the system allows no more pinned memory, pageable memory is used on both ways.
    """
    log: list[str] = []
    computing = FakeStream(log, "computing")

    class Event:
        def __init__(self, *, blocking: bool) -> None:
            assert blocking

        def record(self, stream: FakeStream) -> None:
            log.append(f"mark on {stream.name}")

        def synchronize(self) -> None:
            log.append("waited")

    class Within:
        def __init__(self, stream: FakeStream) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            log.append(f"on {self.stream.name}")

        def __exit__(self, *_: object) -> None:
            log.append("off")

    empty = torch.empty

    def pinned(*size: Any, pin_memory: bool = False, **keys: Any) -> torch.Tensor:
        if pin_memory and not may_pin:
            raise RuntimeError("CUDA error: OS call failed or operation not supported on this OS")
        log.append("pinned" if pin_memory else "pageable")
        return empty(*size, **keys)

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: FakeStream(log, "copies"))
    monkeypatch.setattr(torch.cuda, "stream", Within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: computing)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda _, stream: log.append(f"kept for {stream.name}")
    )

    class Model(Recorder):
        def outputs(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            log.append("computed")
            return waves.sum(dim=1, keepdim=True)

        def prediction(self, outputs: torch.Tensor) -> Any:
            return outputs

    model: Any = Model
    stage = BatchStage(Model(batching=model), lane=CudaLane("cpu"))
    import numpy as np

    handed = stage.submit([np.ones(400, np.float32)], rows=1, samples=400)
    memory = "pinned" if may_pin else "pageable"
    assert log == [
        memory, "on copies", "off", "computing waits for copies", "kept for computing", "computed", memory,
        "mark on computing",
    ]  # fmt: skip
    found: Any = handed.collect()
    assert (found.tolist(), log[-1]) == ([[400.0]], "waited")
