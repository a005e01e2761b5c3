"""How much memory do long recordings, many short ones and whole days take, above the loaded model?

python -m bench.memory

The peak of a shard's resident memory, its decoder process apart, with the default network, and what a day of several
shards holds more at its end than when half of them were done.
"""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
import soundfile

from bench.common import RATE, folder, main, recording, table
from bench.peak import Peak
from emolake.identity import analysis_key
from emolake.lake import open_lake
from emolake.models.registry import model_entry
from emolake.settings import InferenceSettings, Settings, SourceSettings, WarehouseSettings
from emolake.shard import loaded_model, run_shard
from emolake.storage import open_source
from emolake.tasks.plan import Listing, plan_day, shards

DAY = date(2026, 7, 3)
_BLOCK_S = 300.0


@dataclass(frozen=True)
class Case:
    """A day; `speech` is the share of its recordings that is spoken."""

    recordings: int
    seconds: int
    channels: int
    speech: float


_CASES = {
    "short": {
        "1 recording of 6 min, stereo": Case(1, 360, 2, 0.5),
        "1 recording of 1 hour, stereo": Case(1, 3_600, 2, 0.5),
        "100 recordings of 5 s": Case(100, 5, 1, 1.0),
    },
    "full": {
        "1 recording of 1 hour, stereo, half of it spoken": Case(1, 3_600, 2, 0.5),
        "1 recording of 10 hours, stereo, half of it spoken": Case(1, 36_000, 2, 0.5),
        "1,000 recordings of 5 s": Case(1_000, 5, 1, 1.0),
        "5,000 recordings of 1 s": Case(5_000, 1, 1, 1.0),
        "100 recordings of 1 hour, a tenth spoken": Case(100, 3_600, 1, 0.1),
    },
}


def measure(size: str) -> str:
    rows = []
    with folder() as place:
        for number, (name, case) in enumerate(_CASES[size].items()):
            calls = place / f"calls-{number}"
            _write(calls, case)
            command = [sys.executable, "-m", "bench.memory", "run", str(calls)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            grown = f"{found['grown']:+.0f}" if found["shards"] > 2 else "–"
            rows.append(
                (
                    name, f"{found['shards']:.0f}", f"{found['own']:.0f}", f"{found['decoder']:.0f}", grown,
                    f"{found['seconds']:.0f}", f"{case.recordings * case.seconds / found['seconds']:.0f}",
                )
            )  # fmt: skip
            shutil.rmtree(calls)
    columns = ("", "shards", "peak, MB", "decoder, MB", "second half, MB", "seconds", "times real time")
    return table(columns, rows)


def _write(calls: Path, case: Case) -> None:
    """Recordings of 16 bits at 16 kHz, five minutes at a time, of which no two are the same."""
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
    warehouse = WarehouseSettings(catalog=f"sqlite:{calls}.sqlite", data=f"{calls}-lake")
    settings = Settings(
        source=SourceSettings(uri=str(calls)), warehouse=warehouse, inference=InferenceSettings(device="cpu")
    )
    entry = model_entry(settings)
    key = analysis_key(settings, entry)
    source = open_source(settings.source.uri, settings.source.s3)
    loaded_model(entry, settings.inference)
    with open_lake(warehouse) as lake:
        planned = plan_day(
            source,
            settings.source.key_pattern(),
            lake,
            DAY,
            key=key,
            listing=Listing(),
            policy=settings.policy,
        )
        cut = list(
            shards(
                planned, shard_seconds=settings.run.shard_seconds, shard_objects=settings.run.shard_objects
            )
        )
    peak, started = Peak(), perf_counter()
    held = []
    with largest_child() as decoder:
        for objects in cut:
            run_shard(objects, settings=settings, entry=entry, key=key, run_id="bench", message="bench")
            held.append(psutil.Process().memory_info().rss / 2**20)
    return {
        "own": peak.megabytes(),
        "decoder": decoder[0],
        "grown": held[-1] - held[len(held) // 2],
        "shards": len(held),
        "seconds": perf_counter() - started,
    }


@contextmanager
def largest_child() -> Iterator[list[float]]:
    """The highest resident memory of a child process, in MB, in a list of one."""
    seen, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            for child in psutil.Process().children():
                try:
                    seen[0] = max(seen[0], child.memory_info().rss / 2**20)
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
    if sys.argv[1:2] == ["run"]:
        print(json.dumps(run(Path(sys.argv[2]))))
    else:
        main(measure)
