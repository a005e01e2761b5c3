"""The choice of runtime and precision: what the family can do, what this machine has, what is configured."""

from collections.abc import Callable, Mapping

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Runtime
from emolake.models.runtimes.devices import device_name

# Without these a processor computes the precision by way of others: slower, and int8 with saturated sums.
_INSTRUCTIONS = {
    "bf16": ("avx512_bf16", "amx_bf16"),
    "fp16": ("avx512_fp16", "amx_fp16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8"),
}
_AMPERE = (8, 0)  # the first compute capability with bf16 and TF32


def possible(
    inference: InferenceOptions,
    precisions: Mapping[Runtime, tuple[str, ...]],
    *,
    device: Callable[[], str],
    model: str,
) -> tuple[Runtime, ...]:
    """Return the runtimes that can do what is asked for, the one that `auto` prefers first.

    Args:
        inference: what is asked for.
        precisions: what the family declares.
        device: returns where the network is to run; it is called only where that matters, for it imports torch.
        model: what messages call the model, with its family.

    Raises:
        ConfigurationError: the family, the runtime or this machine lacks it.
    """
    if inference.runtime != "auto" and inference.runtime not in precisions:
        raise ConfigurationError(
            f"inference.runtime is {inference.runtime}, and {model} runs on {' and '.join(precisions)} only; "
            "set it to auto"
        )
    asked: tuple[Runtime, ...] = ("onnx", "torch") if inference.runtime == "auto" else (inference.runtime,)
    able = tuple(each for each in asked if inference.precision in precisions.get(each, ()))
    if not able:
        raise ConfigurationError(
            f"inference.precision is {inference.precision}, and {model} supports {_listed(precisions)}"
        )
    if able == ("torch",) and inference.precision == "fp32":
        return able
    name = device()
    on_cpu = name == "cpu"
    found = tuple(each for each in able if each == "torch" or on_cpu)
    if not found:
        raise ConfigurationError(
            f"onnxruntime runs on the processor, and inference.device is {name} here; set inference.device to cpu, "
            "or inference.runtime to torch with a precision that it has"
        )
    _check_device(inference.precision, name)
    return found


def _check_device(precision: str, device: str) -> None:
    """Raise ConfigurationError where a device does not compute in a precision."""
    if precision == "fp32":
        return
    import torch

    from emolake.models.runtimes import on_processor

    if device == "cpu":
        if precision == "tf32":
            raise ConfigurationError(
                "inference.precision is tf32, the arithmetic of NVIDIA's GPUs, and the processor is used; "
                "set it to fp32"
            )
        wanted = _INSTRUCTIONS[precision]
        has = torch.cpu.get_capabilities()
        if not any(has.get(name, False) for name in wanted):
            raise ConfigurationError(
                f"inference.precision is {precision}, and this processor has none of {', '.join(wanted)}; "
                "set it to fp32"
            )
        if precision in on_processor.PRECISIONS and not torch.backends.mkldnn.is_available():
            raise ConfigurationError(
                f"inference.precision is {precision}, and torch {torch.__version__} is built without oneDNN, which "
                "computes it on a processor; set it to fp32, or install another build of torch"
            )
    elif precision == "int8":
        raise ConfigurationError(
            f"inference.precision is int8, the arithmetic of processors, and inference.device is {device} here; set "
            "it to bf16, or inference.device to cpu"
        )
    elif not device.startswith("cuda"):
        raise ConfigurationError(
            f"inference.precision {precision} is made for processors and NVIDIA's GPUs, and inference.device is "
            f"{device}; set it to fp32"
        )
    elif precision in ("tf32", "bf16") and torch.cuda.get_device_capability(device) < _AMPERE:
        raise ConfigurationError(
            f"inference.precision is {precision}, and {device_name(device)} is older than Ampere and lacks it; set it "
            "to fp16 or fp32"
        )


def _listed(precisions: Mapping[Runtime, tuple[str, ...]]) -> str:
    if len(precisions) == 1:
        return ", ".join(*precisions.values())
    return " and ".join(f"{', '.join(names)} on {runtime}" for runtime, names in precisions.items())
