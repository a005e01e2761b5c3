"""Which runtime is the quicker one for a model on this processor: measured once, and written down beside its graph.

The answers of two runtimes differ in the fifth digit, and the runtime is a part of `config_id`: what was found holds
until the graph is another one, which is for other weights or versions, or another processor takes the model.
"""

import hashlib
import logging
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from time import process_time

from emolake.atomic import PARTIAL
from emolake.models.protocol import EmotionModel, Runtime
from emolake.models.runtimes.allocator import give_back_freed_blocks
from emolake.options import Options

_RUNTIMES: tuple[Runtime, ...] = ("onnx", "torch")
_CLIP_S = 5
_REPEATS = 3  # after a first one, which makes what the others find made
# A runtime that is this much quicker is taken in place of onnxruntime; of two that are alike always the same one.
_MUCH = 0.9

log = logging.getLogger(__name__)


class Quicker(Options):
    """What was found on a processor: the contents of the file."""

    processor: str
    """As `processor` names it."""
    seconds: dict[Runtime, float]
    """Processor time for one clip, by runtime."""
    runtime: Runtime
    """The one to take."""

    def __str__(self) -> str:
        """Say it for the end of a sentence."""
        taken = ", ".join(f"{runtime} {seconds:.3g} s" for runtime, seconds in self.seconds.items())
        return f"{self.runtime}: of processor time for {_CLIP_S} s of audio on {self.processor}, {taken}"


def remembered(folder: Path) -> Quicker | None:
    """Return what was found on this processor for the graph of a folder; None where that is to be measured."""
    path = _file(folder)
    try:
        found = Quicker.model_validate_json(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read, and is measured again: %s", path, str(error).partition("\n")[0])
        return None
    return found if found.processor == processor() else None


def remember(folder: Path, seconds: Mapping[Runtime, float]) -> Quicker:
    """Write down what was measured, unless another process was first; return what holds from now on."""
    other = min(seconds, key=lambda runtime: seconds[runtime])
    runtime = other if seconds[other] < _MUCH * seconds["onnx"] else "onnx"
    found = Quicker(processor=processor(), seconds=dict(seconds), runtime=runtime)
    path = _file(folder)
    if remembered(folder) is None:
        path.unlink(missing_ok=True)  # a broken one
    descriptor, partial = tempfile.mkstemp(suffix=PARTIAL, dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(found.model_dump_json(indent=2) + "\n")
        Path(partial).chmod(0o644)
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links, on which the last one holds
            Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
    return remembered(folder) or found


def measured(load: Callable[[Runtime], EmotionModel]) -> dict[Runtime, float]:
    """Return the processor time, of all threads, of each runtime for one clip; one model at a time is loaded."""
    seconds: dict[Runtime, float] = {}
    for runtime in _RUNTIMES:
        seconds[runtime] = _seconds(load(runtime))
        give_back_freed_blocks()
    return seconds


def _seconds(model: EmotionModel) -> float:
    import torch

    samples = min(_CLIP_S * model.sampling_rate, model.max_samples or _CLIP_S * model.sampling_rate)
    waves = torch.sin(torch.arange(samples) / 20)[None]
    taken = []
    for _ in range(1 + _REPEATS):
        started = process_time()
        model.predict(waves, torch.tensor([samples]))
        taken.append(process_time() - started)
    return round(min(taken[1:]), 6)


@cache
def processor() -> str:
    """Name the processor as precisely as it says: clouds call every EPYC the same, and its family tells them apart."""
    said: dict[str, str] = {}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            said.setdefault(name.strip(), value.strip())
    if "model name" not in said:
        return platform.processor() or platform.machine()
    numbers = f", family {said['cpu family']} model {said['model']}" if "cpu family" in said else ""
    return said["model name"] + numbers


def _file(folder: Path) -> Path:
    return folder / f"runtime-{hashlib.sha256(processor().encode()).hexdigest()[:12]}.json"
