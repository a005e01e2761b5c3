"""The parts of `bench/gpu/run.sh`: each is a function that adds cases to a report, which is on disk after each."""

import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from bench.common import RATE, recording
from bench.gpu import measuring, models
from emolake.audio.conditioning import condition
from emolake.audio.feature_options import ConditioningOptions, MelOptions, MfccOptions, PitchOptions
from emolake.audio.features import log_mel, mfcc, pitch_track
from emolake.models.runtimes.quicker_runtime import processor
from emolake.models.runtimes.replay import CudaRecorder
from emolake.pipeline.device_thread import DeviceThread
from emolake.tasks.classify import Engine, Scores
from emolake.tasks.featurize import padded

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
# Windows of 10 s in a batch; repeats of each measurement; matrix side; recordings of the night and their seconds.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"rows": (1, 2), "repeats": 1, "side": 256, "calls": 4, "call_s": 25.0, "clips": 6},
    "full": {"rows": (16, 64, 4), "repeats": 8, "side": 8192, "calls": 256, "call_s": 300.0, "clips": 24},
}
_WINDOW = 10 * RATE
FEATURES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "log-mel": lambda waves, lengths: log_mel(waves, lengths, MelOptions())[0],
    "MFCC": lambda waves, lengths: mfcc(waves, lengths, MfccOptions())[0],
    "pitch": lambda waves, lengths: pitch_track(waves, lengths, PitchOptions())[0],
    "conditioning": lambda waves, lengths: condition(
        waves, lengths, ConditioningOptions(high_pass_hz=80, level_dbfs=-20), sampling_rate=RATE
    ),
}
"""What families make of waves [B, T] of `lengths` [B] before their networks; it does not wait for the device."""


class Report:
    """What a part found so far: a list of cases, written to a file after each."""

    def __init__(self, path: Path) -> None:
        self._path, self.cases = path, list[dict[str, Any]]()

    def add(self, **case: Any) -> None:
        self.cases.append(case)
        self._path.write_text(json.dumps(self.cases), "utf-8")
        print("  " + ", ".join(f"{name} {_short(value)}" for name, value in case.items()), flush=True)

    def tried(self, work: Callable[[], dict[str, Any]], **case: Any) -> None:
        """Add what some work returns, or why there is nothing."""
        try:
            found = work()
        except Exception as error:  # noqa: BLE001 - the other cases are measured all the same
            found = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        self.add(**case, **found)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def able(device: str) -> tuple[str, ...]:
    """Return the precisions that the models can be loaded in on a device."""
    return PRECISIONS if device.startswith("cuda") else ("fp32", "bf16")


def machine(report: Report, device: str, size: str) -> None:
    """Which card, which versions, and its fastest products."""
    facts: dict[str, Any] = {"processor": processor(), "python": platform.python_version()}
    facts |= {name: version(name) for name in ("torch", "transformers", "onnxruntime", "numpy")}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        facts |= {"device": properties.name, "memory_gb": properties.total_memory / 1e9,
                  "multiprocessors": properties.multi_processor_count, "cuda": torch.version.cuda}  # fmt: skip
    report.add(**facts)
    for precision in able(device):
        report.tried(
            lambda: {"flops": measuring.matrix_peak(device, precision, SIZES[size]["side"])},  # noqa: B023
            peak=precision,
        )


def correctness(report: Report, device: str, size: str) -> None:
    """Features and every encoder family against the processor in fp32, each clip alone, in batches, and replayed."""
    waves = _clips(SIZES[size]["clips"])
    for name, of in FEATURES.items():
        report.tried(
            partial(_features, of, waves, device), family=f"features: {name}", precision="as they are"
        )
    with tempfile.TemporaryDirectory() as name:
        for family in models.FAMILIES:
            entry = models.entry(family, Path(name), "tiny")
            exact = _answers(Engine(models.load(entry, "cpu", "fp32"), 1).scores(waves))
            has = entry.precisions["torch"]
            for precision in (each for each in able(device) if each in has):

                def compared(
                    entry: Any = entry, exact: Any = exact, precision: str = precision
                ) -> dict[str, Any]:
                    model = models.load(entry, device, precision)
                    alone, together = (_threaded(model, groups) for groups in ([[w] for w in waves], [waves]))
                    replayed = _threaded(model, [waves], recorder=_recorder(device))
                    change = getattr(model, "precision_change", None)
                    return {
                        "largest": float(np.abs(together - exact).max()),
                        "labels_changed": float((together.argmax(1) != exact.argmax(1)).mean()),
                        "by_batch": float(np.abs(together - alone).max()),
                        "by_replay": float(np.abs(together - replayed).max()),
                        "at_load": None
                        if change is None
                        else {"largest": change.largest, "labels": change.labels},
                    }

                report.tried(compared, family=family, precision=precision)


def trouble(report: Report, device: str, size: str) -> None:
    """Report a device that really has no room: batches are halved, and every answer is as before."""
    waves = [wave for _ in range(8) for wave in _clips(4)]
    with tempfile.TemporaryDirectory() as name:
        model = models.load(models.entry("s3prl", Path(name), "tiny"), device, "fp32")
        right = _threaded(model, [waves])
        if not device.startswith("cuda"):
            report.add(case="no room", skipped="of a GPU alone")
            return

        def without_room() -> dict[str, Any]:
            measuring.forget_memory(device)
            total = torch.cuda.get_device_properties(device).total_memory
            held = torch.cuda.memory_allocated(device)
            torch.cuda.set_per_process_memory_fraction((held + 400e6) / total, device)
            try:
                thread = DeviceThread(model, batch_seconds=2000, in_flight=3)
                found = _answers(_scores(thread, waves))
            finally:
                torch.cuda.set_per_process_memory_fraction(1.0, device)
            return {"largest": float(np.abs(found - right).max()), "batch_s": thread.batch_samples / RATE}

        report.tried(without_room, case="no room")


def speed(report: Report, device: str, size: str, model_name: str) -> None:
    """Hours of audio per hour of the device: by precision, windows in a batch, and what runs the forward pass."""
    plan = SIZES[size]
    peaks = {each: measuring.matrix_peak(device, each, plan["side"]) for each in able(device)}
    with tempfile.TemporaryDirectory() as name:
        entry = models.entry(model_name, Path(name), size)
        flop: float | None = None
        model: Any = None
        for precision in sorted(able(device), key=("bf16", "fp32", "fp16", "tf32").index):
            try:
                model = models.load(entry, device, precision)
            except Exception as error:  # noqa: BLE001 - the other precisions are measured all the same
                report.add(precision=precision, failed=str(error).splitlines()[0])
                continue
            flop = flop or _flop(model, device)
            for rows in plan["rows"]:
                for forward in _forwards(device, precision, rows, plan["rows"][0]):
                    report.tried(
                        lambda: _speed(model, device, forward, rows, plan["repeats"], flop, peaks[precision]),  # noqa: B023
                        model=model_name, precision=precision, rows=rows, forward=forward,
                    )  # fmt: skip
            model = None  # makes room for the next precision


def _forwards(device: str, precision: str, rows: int, first: int) -> Sequence[str]:
    """Return what is worth its time: to compile takes a minute."""
    if not device.startswith("cuda"):
        return ("eager",)
    some = ("eager", "graphs")
    return (*some, "compiled", "compiled_graphs") if precision == "bf16" and rows == first else some


@torch.inference_mode()
def _speed(
    model: Any, device: str, forward: str, rows: int, repeats: int, flop: float, peak: float
) -> dict[str, Any]:
    waves = torch.from_numpy(np.stack([recording(10.0, speech=0.9, seed=row % 4) for row in range(rows)])).to(
        device
    )
    lengths = torch.full((rows,), _WINDOW)
    measuring.forget_memory(device)
    first = model.outputs(waves, lengths).float().cpu()
    with measuring.forward_of(model, forward) as run:
        began = perf_counter()
        found = run(waves, lengths).float().cpu()
        warm_up = perf_counter() - began
        took = measuring.seconds(lambda: run(waves, lengths), device, repeats=repeats)
    return {
        "hours_per_hour": rows * 10 / took,
        "of_peak": flop * rows / took / peak,
        "peak_memory_gb": measuring.peak_memory_gb(device),
        "warm_up_s": warm_up,
        "from_eager": float((found - first).abs().max()),
    }


@torch.inference_mode()
def _flop(model: Any, device: str) -> float:
    """Return the floating-point operations of one window."""
    from torch.utils.flop_counter import FlopCounterMode

    waves = torch.from_numpy(recording(10.0, speech=0.9, seed=0))[None].to(device)
    with FlopCounterMode(display=False) as counter:
        model.outputs(waves, torch.tensor([_WINDOW]))
    return float(counter.get_total_flops())


def _clips(count: int) -> list[np.ndarray]:
    """Return clips of speech of mixed lengths, of which some are full windows of 2 s."""
    lengths = (2.0, 2.0, 0.7, 2.0, 3.3, 1.9)
    return [recording(lengths[index % len(lengths)], speech=0.9, seed=index) for index in range(count)]


def _features(
    of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], waves: Sequence[np.ndarray], device: str
) -> dict[str, Any]:
    """Return how far features of a batch on the device are from those on the processor, whose largest is 1."""
    batch, lengths = padded(waves)
    exact, found = of(batch, lengths), of(batch.to(device), lengths).cpu()
    return {"largest": float((found - exact).abs().max() / exact.abs().max())}


def _recorder(device: str) -> CudaRecorder | None:
    return CudaRecorder(device) if device.startswith("cuda") else None


def _threaded(
    model: Any, groups: Sequence[Sequence[np.ndarray]], recorder: CudaRecorder | None = None
) -> np.ndarray:
    """Return the answers of groups of clips that come one group after the other."""
    thread = DeviceThread(model, batch_seconds=16, in_flight=3, whole_s=2.0, recorder=recorder)
    return np.concatenate([_answers(_scores(thread, group)) for group in groups])


def _scores(thread: DeviceThread, waves: Sequence[np.ndarray]) -> list[Scores]:
    with thread.client() as client:
        tickets = [client.submit(wave, f"clip {number}") for number, wave in enumerate(waves)]
        client.end()
        return [client.scores(ticket) for ticket in tickets]


def _answers(scores: Sequence[Scores]) -> np.ndarray:
    """Return probabilities [clips, labels], or affect [clips, 3] of what has no labels."""
    found = [each.probabilities if each.probabilities.size else each.affect for each in scores]
    return np.stack([each for each in found if each is not None])
