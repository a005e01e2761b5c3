"""A bucket of made calls on a real S3 server, lakes over it, and the comparison of two lakes by content."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from emolake.demo.encode import write_audio
from emolake.demo.s3_server import serve_s3
from emolake.flows.backfill import backfill
from emolake.lake.connect import open_lake
from emolake.pipeline.runs import RunFailedError
from emolake.schemas.tables import ANALYSES, DAILY_EMOTIONS, RECORDING_DYNAMICS, RECORDINGS, SEGMENTS
from emolake.settings import load_settings
from emolake.upkeep.verify import verify

from chaos.outcomes import BrokenPromiseError
from chaos.servers import ACCESS_KEY, SECRET_KEY
from made_model import write_tiny_model

LAST = date(2026, 11, 20)
DAYS = [
    LAST - timedelta(days=back) for back in range(3, -1, -1)
]  # those of a nightly with the default lookback
CALLS_A_DAY = 4
BUCKET = "calls"
_TABLES = (RECORDINGS, ANALYSES, SEGMENTS, RECORDING_DYNAMICS, DAILY_EMOTIONS)
# What says when and by which run something was written differs from run to run.
_OF_THE_RUN = {"run_id", "committed_at"}
_TOLERANCE = 1e-6
_SHOWN_ROWS = 3

Row = dict[str, Any]
Content = dict[str, list[Row]]


@dataclass(frozen=True)
class Site:
    """A served bucket; `content` is what a clean run makes of it."""

    folder: Path
    endpoint: str
    model: Path

    @property
    def buckets(self) -> Path:
        """The folder whose folders are the server's buckets."""
        return self.folder / "s3"

    def lake(
        self,
        name: str,
        *,
        catalog: str | None = None,
        data: str | None = None,
        source: Mapping[str, object] | None = None,
        run: Mapping[str, object] | None = None,
        warehouse: Mapping[str, object] | None = None,
        engine: Mapping[str, object] | None = None,
    ) -> Path:
        """Write the configuration of a lake over the bucket and return its path; nothing else is made."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        sections: dict[str, Mapping[str, object]] = {
            "source": {"uri": f"s3://{BUCKET}", "endpoint_url": self.endpoint} | dict(source or {}),
            "fetch": {"backoff_s": 0.05},
            # Windows alone in their batch: the same bits, however the recordings were shared out among shards.
            "inference": {"model": "tiny", "device": "cpu", "batch_seconds": 0.1},
            "segmentation": {"min_speech_ratio": 0.0},
            "health": {"min_logit_range": 0.0},
            "warehouse": {
                "catalog": catalog or "sqlite:lake/catalog.sqlite",
                "data": data or "lake/data",
                "endpoint_url": self.endpoint,
            }
            | dict(warehouse or {}),
            "run": {"shard_objects": 2, "shard_retry_delay_s": 0.2} | dict(run or {}),
            "engine": dict(engine or {}),
            "models.tiny": {"path": str(self.model)},
        }
        config = folder / "emolake.toml"
        config.write_text(
            "\n".join(f"[{name}]\n{_toml(values)}" for name, values in sections.items()), "utf-8"
        )
        return config

    def bucket(self, name: str) -> str:
        """Make a bucket for the data of a lake and return its URI."""
        (self.buckets / name).mkdir()
        return f"s3://{name}/data"

    def clean(self, name: str = "clean") -> Content:
        """Return what a run without faults makes of the bucket as it is now."""
        config = self.lake(name)
        backfill(first=DAYS[0], last=LAST, config=config)
        return content(config)


def _toml(values: Mapping[str, object]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


@contextmanager
def served_site(
    folder: Path, *, seed: int, days: Sequence[date] = DAYS, calls: int = CALLS_A_DAY
) -> Iterator[Site]:
    """Serve a bucket with calls of some days, an unreadable one among them; other seeds make other calls."""
    generator = np.random.default_rng(seed)
    (folder / "s3" / BUCKET).mkdir(parents=True)
    for day, number in itertools.product(days, range(calls)):
        samples = generator.normal(0, 0.1, (int(generator.integers(11, 25)) * 8000, 1)).astype(np.float32)
        site = ("oslo", "bergen")[number % 2]
        write_audio(folder / "s3" / BUCKET / f"{day:%Y/%m/%d}/{site}/{number}.wav", samples, 8000, "wav")
    (folder / "s3" / BUCKET / f"{days[1]:%Y/%m/%d}/oslo/junk.wav").write_bytes(b"no audio at all")
    with serve_s3(folder / "s3", access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        yield Site(folder, url, write_tiny_model(folder / "tiny"))


def rows(config: Path, sql: str) -> list[Row]:
    """Return the rows of a query over a lake."""
    settings = load_settings(config)
    with open_lake(settings.warehouse, read_only=True) as lake:
        found: list[Row] = lake.connection.execute(sql).to_arrow_table().to_pylist()
        return found


def content(config: Path) -> Content:
    """Return the rows of a lake's tables in the order of their keys, without run ids and times of commit."""
    found: Content = {}
    for table in _TABLES:
        kept = [name for name in table.schema.names if name not in _OF_THE_RUN]
        order = ", ".join(f"{name}::VARCHAR" for name in table.key)
        found[table.name] = rows(config, f"SELECT {', '.join(kept)} FROM {table.name} ORDER BY {order}")
    return found


def difference(found: Content, expected: Content) -> str | None:
    """Tell how two contents differ; None when they do not.

    Numbers are alike to a millionth: what a segment is batched with, and where in memory, shows in the last bit.
    """
    for name, wanted in expected.items():
        missing = [row for row in wanted if not any(_alike(row, each) for each in found[name])]
        surplus = [row for row in found[name] if not any(_alike(row, each) for each in wanted)]
        if missing or surplus or len(found[name]) != len(wanted):
            return (
                f"{name} has {len(found[name])} rows, and {len(wanted)} in a clean run; "
                f"missing {missing[:_SHOWN_ROWS]}, surplus {surplus[:_SHOWN_ROWS]}"
            )
    return None


def _alike(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=_TOLERANCE)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return one == other


def hold_against(config: Path, expected: Content) -> None:
    """Raise BrokenPromiseError where a lake differs from a clean run's, or `verify` finds a breach."""
    differs = difference(content(config), expected)
    if differs:
        raise BrokenPromiseError(differs)
    breaches = verify(load_settings(config)).breaches
    if breaches:
        raise BrokenPromiseError(f"verify found {breaches[:_SHOWN_ROWS]}")


def attempt(config: Path) -> str | None:
    """Backfill the days in this process; return what failed, or None."""
    try:
        backfill(first=DAYS[0], last=LAST, config=config)
    except RunFailedError as error:
        return str(error)
    return None
