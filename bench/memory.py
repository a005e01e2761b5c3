"""How much memory do long recordings, many short ones and whole days take, above the loaded model?

python -m bench.memory

The peak of a shard's resident memory, its decoder process apart, with the default network; what that peak came to after
the first tenth of the time; and what a day of several shards holds more at its end than when half of them were done.
Then of a large encoder what its export takes, and a load of the graph with a batch of two windows, weights included.
"""

import json
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import psutil
import soundfile
import torch

from bench.common import RATE, by_itself, folder, main, ranged, recording, s3prl_model, table
from bench.peak import Peak
from emolake.lake.connect import open_lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.models.inference import InferenceOptions
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.loaded_models import loaded_model
from emolake.pipeline.shard import run_shard
from emolake.settings import Settings
from emolake.source.access import SourceOptions
from emolake.source.opening import open_source
from emolake.tasks.plan import plan_day, shards

DAY = date(2026, 7, 3)
_BLOCK_S = 300.0


@dataclass(frozen=True)
class Case:
    """A day, analysed in `runs` processes; `speech` is the share of its recordings that is spoken."""

    recordings: int
    seconds: int
    channels: int
    speech: float
    runs: int = 1


_CASES = {
    "short": {
        "1 recording of 6 min, stereo": Case(1, 360, 2, 0.5),
        "1 recording of 1 hour, stereo": Case(1, 3_600, 2, 0.5),
        "100 recordings of 5 s": Case(100, 5, 1, 1.0),
    },
    "full": {
        "1 recording of 1 hour, stereo, half of it spoken": Case(1, 3_600, 2, 0.5, runs=9),
        "1 recording of 10 hours, stereo, half of it spoken": Case(1, 36_000, 2, 0.5, runs=5),
        "1,000 recordings of 5 s": Case(1_000, 5, 1, 1.0),
        "5,000 recordings of 1 s": Case(5_000, 1, 1, 1.0),
        "100 recordings of 1 hour, a tenth spoken": Case(100, 3_600, 1, 0.1),
    },
}
_SHAPES = {"short": "base", "full": "large"}
_WINDOW_S = 10


def measure(size: str) -> str:
    rows, growth = [], ""
    with folder() as place:
        for number, (name, case) in enumerate(_CASES[size].items()):
            calls = place / f"calls-{number}"
            _write(calls, case)
            runs = [_measured(calls) for _ in range(case.runs)]
            seconds = median(run["seconds"] for run in runs)
            several = runs[0]["shards"] > 2
            rows.append(
                (
                    name, f"{runs[0]['shards']:.0f}", _spread(runs, "own"), _spread(runs, "late"),
                    f"{runs[0]['grown']:+.0f}" if several else "–", _spread(runs, "decoder"),
                    f"{seconds:.0f}", f"{case.recordings * case.seconds / seconds:.0f}",
                )
            )  # fmt: skip
            shutil.rmtree(calls)
            if case.recordings == 1:  # the longest comes last
                shares = [100 * run["late"] / (run["own"] - run["late"]) for run in runs]
                growth = (
                    f"{name}: after the first tenth of the time the peak of the same process grows by "
                    f"{ranged(shares, digits=1)} %."
                )
    columns = (
        "", "shards", "peak, MB", "of it after the first tenth", "held more after the second half, MB", "decoder, MB",
        "seconds", "times real time",
    )  # fmt: skip
    return (
        f"The median of several processes, with the lowest and the highest.\n\n{table(columns, rows)}\n\n"
        f"{growth}\n\n{_of_encoder(_SHAPES[size])}"
    )


def _of_encoder(shape: str) -> str:
    """Return what exporting a random HuBERT takes, and running its graph, each in a process of its own."""
    with folder() as place:
        (place / "entry.json").write_text(json.dumps(s3prl_model(place, shape)))
        export, graph = _found("load", place), _found("load", place)
    return (
        f"HuBERT-{shape}, {export['weights']:.0f} MB of weights: above the loaded libraries its first load, "
        f"which exports it, takes {export['load']:.0f} MB at its peak, every other load {graph['load']:.0f} MB, and "
        f"with a batch of two windows of {_WINDOW_S} s {graph['batch']:.0f} MB."
    )


def load(place: Path) -> dict[str, float]:
    """Load the model of a folder in onnxruntime, and give it a batch, in this process; return its peaks in MB."""
    entry = Settings(models={"bench": json.loads((place / "entry.json").read_text())}).registry.entry("bench")
    peak = Peak()
    model = entry.load(InferenceOptions(device="cpu", runtime="onnx"))
    loaded = peak.megabytes()
    samples = _WINDOW_S * RATE
    model.predict(torch.zeros(2, samples), torch.full((2,), samples))
    weights = max(each.stat().st_size for each in place.rglob("*.safetensors"))
    return {"load": loaded, "batch": peak.megabytes(), "weights": weights / 2**20}


def _measured(calls: Path) -> dict[str, float]:
    """Return what `run` finds in a process of its own, with a new lake."""
    for file in calls.parent.glob(f"{calls.name}.sqlite*"):
        file.unlink()
    shutil.rmtree(f"{calls}-lake", ignore_errors=True)
    return _found("run", calls)


def _found(what: str, place: Path) -> dict[str, float]:
    found: dict[str, float] = by_itself("bench.memory", what, str(place))
    return found


def _spread(runs: Sequence[dict[str, float]], name: str) -> str:
    values = [run[name] for run in runs]
    return f"{values[0]:.0f}" if len(values) == 1 else ranged(values, digits=0)


def _write(calls: Path, case: Case) -> None:
    """Write recordings of 16 bits at 16 kHz, five minutes at a time, of which no two are the same."""
    place = calls / f"{DAY:%Y/%m/%d}" / "oslo"
    place.mkdir(parents=True)
    seeds = count()
    for number in range(case.recordings):
        with soundfile.SoundFile(place / f"{number:05}.wav", "w", RATE, case.channels, "PCM_16") as file:
            for _ in range(max(1, round(case.seconds / _BLOCK_S))):
                block = recording(min(case.seconds, _BLOCK_S), speech=case.speech, seed=next(seeds))
                file.write(
                    np.stack([np.roll(block, 7 * RATE * each) for each in range(case.channels)], axis=1)
                )


def run(calls: Path) -> dict[str, float]:
    """Analyse and commit a day shard by shard, as the nightly does, in this process."""
    warehouse = WarehouseOptions(catalog=f"sqlite:{calls}.sqlite", data=f"{calls}-lake")
    settings = Settings(
        source=SourceOptions(uri=str(calls)), warehouse=warehouse, inference=InferenceOptions(device="cpu")
    )
    entry = settings.registry.entry()
    key = analysis_key(settings, entry)
    source = open_source(settings.source.uri, settings.source.s3)
    loaded_model(entry, settings.inference)
    with open_lake(warehouse) as lake:
        pattern = settings.source.key_pattern()
        chunks = plan_day(source, pattern, lake, DAY, key=key, policy=settings.policy)
        cut = list(
            shards(
                (item for chunk in chunks for item in chunk.work),
                shard_seconds=settings.run.shard_seconds,
                shard_objects=settings.run.shard_objects,
            )
        )
    peak, started = Peak(), perf_counter()
    held = []
    with watched(peak) as seen:
        for objects in cut:
            run_shard(objects, settings=settings, entry=entry, key=key, run_id="bench", message="bench")
            held.append(psutil.Process().memory_info().rss / 2**20)
    seconds = perf_counter() - started
    early = max(own for after, own in seen.own if after <= seconds / 10)
    return {
        "own": peak.megabytes(),
        "late": peak.megabytes() - early,
        "decoder": seen.decoder,
        "grown": held[-1] - held[len(held) // 2],
        "shards": len(held),
        "seconds": seconds,
    }


@dataclass
class Seen:
    """The peak of this process, in MB, after so many seconds; the highest resident memory of a child process."""

    own: list[tuple[float, float]] = field(default_factory=list)
    decoder: float = 0.0


@contextmanager
def watched(peak: Peak) -> Iterator[Seen]:
    """Look ten times a second at the memory of this process and of its children."""
    seen, done, started = Seen(), threading.Event(), perf_counter()

    def watch() -> None:
        while not done.wait(0.1):
            seen.own.append((perf_counter() - started, peak.megabytes()))
            for child in psutil.Process().children():
                try:
                    seen.decoder = max(seen.decoder, child.memory_info().rss / 2**20)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    parts = {"run": run, "load": load}
    if sys.argv[1:2] and sys.argv[1] in parts:
        print(json.dumps(parts[sys.argv[1]](Path(sys.argv[2]))))
    else:
        main(measure)
