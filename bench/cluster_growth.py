"""How does a run on Ray's workers grow with them, where the model only waits?

python -m bench.cluster_growth

Whole nightly runs on a cluster of Ray on this machine: real workers decode, commit through the run's committer to a
lake in PostgreSQL, and wait in the model. What is said is of the time for which all workers were at work: from when the
last one had begun its first batch to when the first one had ended its last. Starting them is not growth, and running
out of shards neither.
"""

import json
import sys
from datetime import date
from logging import getLogger
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.commits import processor_s
from bench.common import ROOT, by_itself, folder, main, recording, table
from emolake.demo.encode import write_audio
from emolake.pipeline.execution import run_here
from emolake.pipeline.run_request import RunRequest
from emolake.settings import Settings

from chaos.installed_family import installed_family
from chaos.servers import new_database, postgres_server

WORKERS = {"short": (1, 2, 4, 8), "full": (1, 2, 4, 8, 16, 24)}
_DAY = date(2026, 11, 20)
_CALL_S = 5.0  # one segment
_CALLS_IN_SHARD = 4
_SHARDS_EACH = 8
_SEGMENT_S = 1.0


def measure(size: str) -> str:
    rows = []
    for workers in WORKERS[size]:
        found = by_itself("bench.cluster_growth", "alone", str(workers))
        rows.append(
            (
                workers,
                f"{found['together_s']:.1f}",
                f"{found['worth']:.2f}",
                f"{found['worth'] / workers:.3f}",
                f"{found['run_s']:.0f}",
                f"{1000 * found['cpu_s'] / found['shards']:.0f}",
            )
        )
    columns = (
        "workers", "all at work, s", "workers' worth", "share of N", "the whole run, s",
        "the driver's and PostgreSQL's processor time a shard, ms",
    )  # fmt: skip
    return (
        f"{_SHARDS_EACH} shards for each worker, of {_CALLS_IN_SHARD} calls whose one segment takes {_SEGMENT_S:g} s "
        "in the model. A worker's worth is a worker that is always in its model. The whole run includes starting the "
        f"cluster and its workers.\n\n{table(columns, rows)}"
    )


def alone(workers: int) -> dict[str, float]:
    """Run a night on a cluster of so many workers, in this process."""
    calls = workers * _SHARDS_EACH * _CALLS_IN_SHARD
    reference = "bench.waiting_family:Waiting"
    with (
        folder() as place,
        installed_family("waiting", reference, folder=place / "installed", module_folder=ROOT),
        postgres_server() as server,
    ):
        notes, bucket = place / "notes", place / "calls"
        notes.mkdir()
        call = recording(_CALL_S, speech=1.0, seed=0)[:, None].astype(np.float32)
        for number in range(calls):
            write_audio(bucket / f"{_DAY:%Y/%m/%d}/oslo/{number:05d}.wav", call, 16_000, "wav")
        settings = Settings(
            source={"uri": str(bucket)},
            warehouse={
                "catalog": f"postgres:{new_database(server.get_uri(), 'bench')}",
                "data": str(place / "data"),
            },
            segmentation={"min_speech_ratio": 0.0},
            inference={"device": "cpu", "model": "bench"},
            models={"bench": {"family": "waiting", "notes": str(notes), "segment_s": _SEGMENT_S}},
            run={"shard_objects": _CALLS_IN_SHARD},
            engine={"kind": "ray", "workers": workers, "cpus": 1.0 / workers},
        )
        before, begun = processor_s(server), perf_counter()
        run = run_here(RunRequest("nightly", (_DAY,)), settings, getLogger(__name__))
        run_s, cpu_s = perf_counter() - begun, processor_s(server) - before
        batches = [_batches(each) for each in notes.iterdir()]
    assert (run.counts.done, run.counts.segments, len(batches)) == (calls, calls, workers)
    began, ended = max(each[0][0] for each in batches), min(each[-1][1] for each in batches)
    in_model = sum(max(0.0, min(stop, ended) - max(start, began)) for each in batches for start, stop in each)
    return {
        "together_s": ended - began,
        "worth": in_model / (ended - began),
        "run_s": run_s,
        "cpu_s": cpu_s,
        "shards": calls / _CALLS_IN_SHARD,
    }


def _batches(notes: Path) -> list[tuple[float, float]]:
    """Return when the batches of a worker began and ended."""
    lines = [line.split() for line in notes.read_text().splitlines()]
    return [(float(began), float(ended)) for began, ended in lines]


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        print(json.dumps(alone(int(sys.argv[2]))))
    else:
        main(measure)
