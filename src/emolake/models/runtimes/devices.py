"""What goes wrong with a device: no memory, no device at all, one that was lost; and a sentence with the remedy."""

import ctypes
import logging
from pathlib import Path

from emolake.environment import visible_gpus
from emolake.errors import ConfigurationError

# The messages of torch's allocator for the CPU, CUDA's libraries and onnxruntime when there is no room.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "_STATUS_ALLOC_FAILED",
    "Failed to allocate memory",
    "CUDA error: out of memory",
    "unable to find an engine to execute this computation",  # cuDNN, without room to work in
)
_GIB = 2**30
# What others hold of a GPU's memory without being a program that uses it: its driver's own.
_OTHERS_AT_LEAST = _GIB
_NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")
_NVIDIA_LIBRARY = "libcuda.so.1"
_AMD_DEVICE = Path("/dev/kfd")

log = logging.getLogger(__name__)


def resolve_device(device: str) -> str:
    """Return the device that `auto` means here, or the given one if it exists; torch is imported only to ask for a GPU.

    Raises:
        ConfigurationError: the device does not exist on this machine.
    """
    if device == "cpu":
        return device
    if device == "auto":
        if has_gpu_driver() and _sees_gpu():
            return "cuda"
        if (why := silent_gpu_message()) is not None:
            log.warning("this machine has a GPU, and the processor is used: %s", why)
        return "cpu"
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(missing_message(device, error)) from error
    return device


def has_gpu_driver() -> bool:
    """Return whether there is a GPU's driver, NVIDIA's library or AMD's device, without which torch finds no GPU."""
    if _AMD_DEVICE.exists():
        return True
    try:
        ctypes.CDLL(_NVIDIA_LIBRARY)
    except OSError:
        return False
    return True


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a model had no room, in main memory or on its device."""
    import torch

    # Only torch's allocator for CUDA has an exception class of its own.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        sign in str(error) for sign in _OUT_OF_MEMORY
    )


def is_device_lost(error: Exception) -> bool:
    """Return whether a device can no longer be used by this process, whatever is asked of it: an error of CUDA.

    CUDA keeps such an error, of which the driver logs an Xid, until the process ends.
    """
    import torch

    if is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or "CUDA error:" in str(error)


def lost_message(error: Exception, device: str) -> str:
    """Return the sentence for a device that was lost in mid-run."""
    what = str(error).partition("\n")[0].removeprefix("CUDA error: ")
    return (
        f"{device_name(device)} was lost while it was at work: {what}; nothing of the batches on it is kept. Look for "
        "the Xid in `dmesg` and at `nvidia-smi`, reset or exclude the device, and run again: what is missing is "
        "analysed then"
    )


def device_name(device: str) -> str:
    """Return a device with the name of its card, as far as it still answers."""
    import torch

    if not device.startswith("cuda"):
        return device
    try:
        return f"{device} ({torch.cuda.get_device_name(device)})"
    except (RuntimeError, AssertionError):
        return device


def held_by_others(device: str) -> str:
    """Return what other processes hold of a GPU's memory, to stand behind a sentence; empty where it is little."""
    import torch

    if not device.startswith("cuda"):
        return ""
    try:
        free, total = torch.cuda.mem_get_info(device)
        others = total - free - torch.cuda.memory_reserved(device)
    except (RuntimeError, AssertionError):
        return ""
    if others < _OTHERS_AT_LEAST:
        return ""
    return (
        f" (of its {total / _GIB:.0f} GiB, {others / _GIB:.1f} are held outside of this process' batches: "
        "`nvidia-smi` names the processes)"
    )


def missing_message(device: str, error: Exception) -> str:
    """Return why there is no such device, and the remedy."""
    import torch

    what = f"inference.device is {device!r}, which this machine does not have"
    if not device.startswith("cuda"):
        return f"{what}; use auto or cpu"
    if torch.version.cuda is None:
        return (
            f"{what}: torch {torch.__version__} is built for processors alone; use auto or cpu, or install torch's "
            "build for CUDA"
        )
    said = str(error).partition("\n")[0]
    if "busy or unavailable" in said:
        return (
            f"inference.device is {device!r}, which another process has for itself (compute mode exclusive); end it, "
            "or choose another device"
        )
    return f"{what}: {_why_no_gpu(device, said)}; or use auto or cpu"


def silent_gpu_message() -> str | None:
    """Return why a GPU of this machine is not seen, for `auto` that becomes a processor; None where there is none."""
    if not _NVIDIA_DEVICES.is_dir() or not any(_NVIDIA_DEVICES.iterdir()):
        return None
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built for processors alone; install torch's build for CUDA"
    return _why_no_gpu("cuda", "torch finds no GPU")


def _why_no_gpu(device: str, said: str) -> str:
    import torch

    visible = visible_gpus()
    try:
        count = torch.cuda.device_count()
    except RuntimeError:
        count = 0
    if count:
        seen = ", ".join(f"cuda:{number}" for number in range(count))
        by = "" if visible is None else f" by CUDA_VISIBLE_DEVICES={visible!r}"
        slices = " (of MIG slices a process sees one)" if visible and "MIG" in visible else ""
        return f"this process sees {seen}{by}{slices}; choose one of these"
    if visible is not None:
        return (
            f"CUDA_VISIBLE_DEVICES={visible!r} leaves this process no GPU; unset it, or name a GPU or a MIG slice as "
            "`nvidia-smi -L` lists them"
        )
    if "driver" in said.lower():
        return f"{said}; install NVIDIA's driver, or start the container with the GPU"
    return (
        f"{said}; see whether `nvidia-smi -L` lists it (a card in MIG mode needs a slice), and start the container "
        "with the GPU"
    )
