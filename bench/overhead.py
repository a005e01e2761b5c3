"""What does a night cost above the bare model?

python -m bench.overhead

A day of recordings in S3, from the listing to the aggregated lake, without Prefect's start, over the same batches,
decoded and prepared beforehand, through the same loaded model; for the default network also over its slowest stage
alone. All in turns in one process.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from bench.common import (
    RATE,
    Sample,
    cpu,
    folder,
    main,
    ratio,
    recording,
    s3prl_model,
    spread,
    table,
    timed,
    wall,
)
from emolake.demo.encode import CODECS, write_audio
from emolake.demo.s3_server import serve_s3
from emolake.lake.connect import open_lake
from emolake.pipeline.decoder_process import decoded
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.loaded_models import loaded_model
from emolake.pipeline.shard import run_shard
from emolake.schemas.days import DayRange
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.source.policy import Policy
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.fetch import fetched
from emolake.tasks.plan import plan_day, shards

_DAY = date(2026, 11, 20)
_FORMATS = (
    ("wav", 8_000, 2),
    ("mp3", 16_000, 1),
    ("flac", 16_000, 2),
    ("m4a", 44_100, 2),
    ("ogg-opus", 48_000, 1),
)
# Shape, and seconds of audio in the day; repeats.
_PLAN: dict[str, tuple[dict[str, float], int]] = {
    "short": ({"large": 40.0, "base": 120.0, "default": 1200.0}, 2),
    "full": ({"large": 300.0, "base": 1200.0, "default": 3600.0}, 5),
}


def measure(size: str) -> str:
    sizes, repeats = _PLAN[size]
    rows, stages, alone = [], "", ""
    for shape, seconds in sizes.items():
        with folder() as place:
            made = make_day(place / "s3" / "calls", seconds)
            os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench-secret")
            with serve_s3(place / "s3", access_key="bench", secret_key="bench-secret") as url:
                night = Night(place, url, shape)
                batches = night.batches()
                work: dict[str, Callable[[], object]] = {
                    "night": night.run,
                    "bare": lambda: night.bare(batches),  # noqa: B023
                }
                if shape == "default":
                    work["decode"] = night.decode
                samples = timed(work, repeats)
            rows.append(
                (
                    "default network" if shape == "default" else f"HuBERT-{shape}",
                    f"{made / 60:.0f} min in {len(batches)} batches", spread(samples["night"]), spread(samples["bare"]),
                    ratio(samples["night"], samples["bare"]), ratio(samples["night"], samples["bare"], _cpu),
                )
            )  # fmt: skip
            if shape == "default":
                stages = stage_table(night, cpu(samples["night"]))
                slowest = max(("bare", "decode"), key=lambda name: wall(samples[name]))
                busy = cpu(samples["night"]) / wall(samples["night"]) / (os.cpu_count() or 1)
                alone = (
                    f"Alone, the model takes {spread(samples['bare'])} s, and "
                    f"fetching, decoding and voice activity take {spread(samples['decode'])} s. The night takes "
                    f"{ratio(samples['night'], samples[slowest])} times the slower of the two, and keeps "
                    f"{os.cpu_count()} cores busy for {busy:.0%} of their time."
                )
    columns = ("model", "audio", "night, s", "bare model, s", "wall ratio", "processor-time ratio")
    return (
        f"{repeats} runs each.\n\n{table(columns, rows)}\n\n"
        f"Where the last night of the default network went:\n\n{stages}\n\n{alone}"
    )


def _cpu(sample: Sample) -> float:
    return sample.cpu_s


class Night:
    """The steps of a nightly run below Prefect, on a fresh lake each time."""

    def __init__(self, place: Path, url: str, shape: str) -> None:
        models: dict[str, Any] = {} if shape == "default" else {"bench": s3prl_model(place, shape)}
        self._place = place
        self._numbers = count()
        self._settings = Settings(
            source={"uri": "s3://calls", "endpoint_url": url},
            inference={"device": "cpu", "model": "bench" if models else "default"},
            models=models,
        )
        self._entry = self._settings.registry.entry()
        self._entry.prepare(self._settings.inference)
        self._model = loaded_model(self._entry, self._settings.inference)
        self.seconds: dict[str, float] = {}
        self._shards: list[Any] = []

    def run(self) -> None:
        """Plan, analyse, commit and aggregate the day."""
        number = next(self._numbers)
        warehouse = self._settings.warehouse.model_copy(
            update={
                "catalog": f"sqlite:{self._place / f'catalog{number}.sqlite'}",
                "data": str(self._place / f"data{number}"),
            }
        )
        settings = self._settings.model_copy(update={"warehouse": warehouse})
        key = analysis_key(settings, self._entry)
        source = open_source(settings.source.uri, settings.source.s3)
        with open_lake(warehouse) as lake:
            pattern = settings.source.key_pattern()
            chunks = plan_day(source, pattern, lake, _DAY, key=key, policy=Policy())
            self._shards = list(
                shards(
                    (item for chunk in chunks for item in chunk.work),
                    shard_seconds=settings.run.shard_seconds,
                    shard_objects=settings.run.shard_objects,
                )
            )

            def one(objects: Any) -> Any:
                return run_shard(
                    objects, settings=settings, entry=self._entry, key=key, run_id="bench", message="bench"
                )

            with ThreadPoolExecutor(settings.run.parallel_shards) as pool:
                counts = list(pool.map(one, self._shards))
            list(aggregate_days(lake, DayRange(_DAY, _DAY), dimensions=["site"], run_id="bench"))
        assert not sum(each.quarantined for each in counts)
        self.seconds = {
            stage: sum(each.timings.get(stage, 0.0) for each in counts)
            for stage in dict.fromkeys(name for each in counts for name in each.timings)
        }

    def decode(self) -> None:
        """Do what a night does before the model, of the shards of the last one."""
        settings = self._settings
        source = open_source(settings.source.uri, settings.source.s3)

        def one(objects: Any) -> None:
            with fetched(source, objects, options=settings.fetch) as downloads:
                for item, path in downloads:
                    assert isinstance(path, Path)
                    for _ in decoded(
                        path,
                        name=item.key,
                        segmentation=settings.segmentation,
                        timeout_s=settings.decode.timeout_s,
                        memory_mb=settings.decode.memory_mb,
                    ):
                        pass

        with ThreadPoolExecutor(settings.run.parallel_shards) as pool:
            list(pool.map(one, self._shards))

    def batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return what the model is given in a night, which this runs once."""
        taken: list[tuple[torch.Tensor, torch.Tensor]] = []
        predict = self._model.predict

        def record(waves: torch.Tensor, lengths: torch.Tensor) -> Any:
            taken.append((waves, lengths))
            return predict(waves, lengths)

        self._model.predict = record  # type: ignore[method-assign]
        self.run()
        del self._model.predict
        return taken

    def bare(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Run the forward passes and nothing else."""
        for waves, lengths in batches:
            self._model.predict(waves, lengths)


def make_day(bucket: Path, seconds: float) -> float:
    """Fill a bucket with recordings of mixed formats and lengths, about 1 to 6 minutes each; return their seconds."""
    generator = np.random.default_rng(4)
    made, number = 0.0, 0
    while made < seconds:
        length = min(float(generator.uniform(60, 360)), max(20.0, seconds - made))
        codec, rate, channels = _FORMATS[number % len(_FORMATS)]
        wave = soxr.resample(recording(length, speech=0.7, seed=number), RATE, rate).astype(np.float32)
        path = bucket / f"{_DAY:%Y/%m/%d}" / "site" / f"call{number:04}.{CODECS[codec].extension}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, np.stack([wave] * channels, axis=1), rate, codec)
        made, number = made + length, number + 1
    return made


def stage_table(night: Night, total: float) -> str:
    rows = [(stage, f"{seconds:.2f}") for stage, seconds in sorted(night.seconds.items())]
    return table(("stage (they overlap)", "seconds"), [*rows, ("processor time of all", f"{total:.2f}")])


if __name__ == "__main__":
    main(measure)
