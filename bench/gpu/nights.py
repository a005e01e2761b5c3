"""The parts of `bench/gpu/run.sh` that read files: a night beside the bare model, and what people would write."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr
import torch

from bench.common import RATE, recording
from bench.gpu import measuring, models
from bench.gpu.parts import SIZES, Report, able
from emolake.pipeline import scoring
from emolake.pipeline.device_thread import DeviceThread
from emolake.pipeline.rows import Analysis
from emolake.pipeline.shard import analyse
from emolake.pipeline.timings import Timings
from emolake.schemas.records import SourceObject
from emolake.settings import Settings
from emolake.source.folder import FolderSource

_SHARD = 32  # recordings


def night(report: Report, device: str, size: str) -> None:
    """Report calls of 8 kHz from files to rows, all cores decoding, over the bare model on the same batches."""
    plan, precision = SIZES[size], "bf16"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _calls(folder / "calls", plan["calls"], plan["call_s"])
        entry = models.entry("hubert_large", folder, size)
        for method in ("window", "vad"):
            report.tried(
                lambda: _night(entry, files, folder, device, precision, method, plan["call_s"]),  # noqa: B023
                method=method, precision=precision, calls=len(files), hours=len(files) * plan["call_s"] / 3600,
            )  # fmt: skip


def _night(
    entry: Any, files: Sequence[Path], folder: Path, device: str, precision: str, method: str, call_s: float
) -> dict[str, Any]:
    model, lane = models.load(entry, device, precision), measuring.BusyLane(device)
    cores = os.cpu_count() or 1
    settings = Settings.model_validate(
        {
            "inference": {"device": device, "precision": precision, "batches_in_flight": 3},
            "segmentation": {"method": method, "channels": "split"},
            "decode": {"processes": cores},
        }
    )
    batch_seconds = settings.inference.seconds_in_batch(model.device)
    window_s = settings.segmentation.window_s
    thread = DeviceThread(model, batch_seconds=batch_seconds, in_flight=3, whole_s=window_s, lane=lane)
    scoring._threads[id(model), batch_seconds, 3, window_s, False] = thread
    shapes = _recorded_shapes(model)
    shards = [files[at : at + _SHARD] for at in range(0, len(files), _SHARD)]

    def one(shard: Sequence[Path]) -> list[Analysis]:
        return list(
            analyse(
                map(_listed, shard),
                source=FolderSource(Path("/")),
                model=model,
                settings=settings,
                timings=Timings(),
            )
        )

    began = perf_counter()
    with ThreadPoolExecutor(max(2, cores // 4)) as pool:
        analyses = [each for found in pool.map(one, shards) for each in found]
    rows = _rows(analyses)
    pq.write_table(rows, folder / f"{method}.parquet")
    took = perf_counter() - began
    busy = lane.busy_s
    del model.outputs  # the recorder
    bare = sum(_bare(model, shape, device) for shape in shapes)
    bad = sum(each.error is not None for each in analyses)
    hours = len(files) * call_s / 3600
    return {
        "rows": len(rows), "quarantined": bad, "wall_s": took, "hours_per_hour": 3600 * hours / took,
        "busy_share": busy / took, "bare_s": bare, "night_over_bare": took / bare if bare else None, "cores": cores,
        "batches": len(shapes), "gpu_memory_gb": measuring.peak_memory_gb(device),
    }  # fmt: skip


def _recorded_shapes(model: Any) -> list[tuple[int, int]]:
    """Return a list that grows by the shape of each batch that a model is given."""
    shapes: list[tuple[int, int]] = []
    outputs = model.outputs

    def recorded(waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        shapes.append((waves.shape[0], waves.shape[1]))
        found: torch.Tensor = outputs(waves, lengths)
        return found

    model.outputs = recorded
    return shapes


@torch.inference_mode()
def _bare(model: Any, shape: tuple[int, int], device: str) -> float:
    """Return the seconds of a forward pass of noise of one shape."""
    known: dict[tuple[int, int], float] = model.__dict__.setdefault("_bench_seconds", {})
    if shape not in known:
        waves = 0.1 * torch.randn(shape, device=device)
        lengths = torch.full((shape[0],), shape[1])
        known[shape] = measuring.seconds(lambda: model.outputs(waves, lengths), device, repeats=2, warm=1)
    return known[shape]


def _rows(analyses: Sequence[Analysis]) -> pa.Table:
    """Return a row for each segment."""
    return pa.Table.from_pylist(
        [
            {
                "recording_id": analysis.item.recording_id, "channel": row.channel, "start_s": row.start_s,
                "end_s": row.end_s,
                "probabilities": None if row.scores is None else row.scores.probabilities.tolist(),
            }
            for analysis in analyses
            for row in analysis.rows
        ]
    )  # fmt: skip


def _calls(folder: Path, count: int, seconds: float) -> list[Path]:
    """Write two-channel calls at 8 kHz, of a few that differ."""
    folder.mkdir()
    different = [
        np.stack(
            [
                soxr.resample(recording(seconds, speech=0.6, seed=2 * number + side), RATE, 8000)
                for side in range(2)
            ],
            axis=1,
        )
        for number in range(min(count, 4))
    ]
    files = [folder / f"call{number:04}.wav" for number in range(count)]
    for number, file in enumerate(files):
        soundfile.write(file, different[number % len(different)], 8000, subtype="PCM_16")
    return files


def _listed(path: Path) -> SourceObject:
    return SourceObject(
        key=path.as_posix().removeprefix("/"), uri=path.as_uri(), recording_id=path.stem, version="",
        size_bytes=path.stat().st_size, date=date.min, recorded_at=None, dimensions={},
    )  # fmt: skip


def others(report: Report, device: str, size: str) -> None:
    """Report the loop that people write around transformers, and its pipeline, on the same windows and device."""
    plan = SIZES[size]
    windows = [recording(10.0, speech=0.9, seed=number) for number in range(4)] * (plan["rows"][0] // 2 or 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _report_of_loop(report, folder, windows, device, size)
        _report_of_pipeline(report, folder, windows, device)


def _report_of_loop(
    report: Report, folder: Path, windows: Sequence[np.ndarray], device: str, size: str
) -> None:
    """One window at a time, all states kept and stacked; with emolake on the same weights in fp32 and bf16."""
    entry = models.entry("hubert_large", folder, size)
    own: dict[str, np.ndarray] = {}
    for precision in ("fp32", "bf16"):
        if precision in able(device):
            report.tried(
                lambda: _own(entry, windows, device, precision, own),  # noqa: B023
                what="emolake", precision=precision,
            )  # fmt: skip
    report.tried(
        lambda: _loop(folder / "hubert_large", windows, device, own), what="the loop", precision="fp32"
    )


def _own(
    entry: Any, windows: Sequence[np.ndarray], device: str, precision: str, own: dict[str, np.ndarray]
) -> dict[str, Any]:
    model = models.load(entry, device, precision)
    batch_seconds = 160.0 if device.startswith("cuda") else 20.0

    def run() -> None:
        thread = DeviceThread(model, batch_seconds=batch_seconds, in_flight=3, whole_s=10.0)
        with thread.client() as client:
            tickets = [client.submit(wave, str(number)) for number, wave in enumerate(windows)]
            client.end()
            own[precision] = np.stack([client.scores(ticket).probabilities for ticket in tickets])

    took = measuring.seconds(run, device, repeats=1, warm=1)
    return {"hours_per_hour": 10 * len(windows) / took, **_compared(own[precision], own["fp32"])}


def _compared(found: np.ndarray, right: np.ndarray) -> dict[str, float]:
    return {
        "largest": float(np.abs(found - right).max()),
        "labels_changed": float((found.argmax(1) != right.argmax(1)).mean()),
    }


def _loop(
    place: Path, windows: Sequence[np.ndarray], device: str, own: dict[str, np.ndarray]
) -> dict[str, Any]:
    from transformers import AutoFeatureExtractor, AutoModel

    content = torch.load(place / "dev-best.ckpt", weights_only=False)  # written by this bench
    encoder = AutoModel.from_pretrained(place / "hf").eval().to(device)
    extractor = AutoFeatureExtractor.from_pretrained(place / "hf")
    weights = content["Featurizer"]["weights"].softmax(0).to(device)
    head = {name: tensor.to(device) for name, tensor in content["Downstream"].items()}

    def answers() -> Iterator[np.ndarray]:
        for wave in windows:
            inputs = extractor(wave, sampling_rate=RATE, return_tensors="pt").input_values.to(device)
            given = encoder(inputs, output_hidden_states=True)
            # the last of hidden_states lacks the final norm, on which heads were trained
            states = torch.stack([*given.hidden_states[:-1], given.last_hidden_state])
            mean = (weights[:, None, None, None] * states).sum(0).mean(1)
            hidden = mean @ head["projector.weight"].T + head["projector.bias"]
            logits = hidden @ head["model.post_net.linear.weight"].T + head["model.post_net.linear.bias"]
            yield logits.softmax(1)[0].cpu().numpy()

    found: list[np.ndarray] = []
    with torch.inference_mode():
        took = measuring.seconds(lambda: found.extend(answers()), device, repeats=1, warm=1)
    loop = np.stack(found[: len(windows)])
    return {"hours_per_hour": 10 * len(windows) / took, **_compared(loop, own["fp32"])}


def _report_of_pipeline(report: Report, folder: Path, windows: Sequence[np.ndarray], device: str) -> None:
    """Report transformers' pipeline in batches of eight, on a classifier of its own; and emolake on that."""
    entry = models.entry("transformers", folder, "tiny")
    own: dict[str, np.ndarray] = {}
    report.tried(
        lambda: _own(entry, windows, device, "fp32", own),
        what="emolake on the pipeline's model",
        precision="fp32",
    )

    def by_pipeline() -> dict[str, Any]:
        from transformers import pipeline

        classify: Any = pipeline("audio-classification", model=str(folder / "transformers"), device=device)
        given = [{"raw": wave, "sampling_rate": RATE} for wave in windows]
        took = measuring.seconds(lambda: list(classify(given, batch_size=8)), device, repeats=1, warm=1)
        return {"hours_per_hour": 10 * len(windows) / took}

    report.tried(by_pipeline, what="the pipeline, tiny shape", precision="fp32")
