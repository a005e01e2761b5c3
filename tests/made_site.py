"""A folder of calls with a lake of its own, planned, analysed and aggregated without Prefect."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from made_plan import work_of

from emolake.demo.encode import write_audio
from emolake.lake.connect import open_lake
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.shard import run_shard
from emolake.schemas.days import DayRange
from emolake.schemas.records import Counts
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.plan import plan_day

from made_model import write_tiny_model

DAY = date(2026, 11, 20)


class Site:
    """A folder of calls with a lake, run without Prefect."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = write_tiny_model(folder / "tiny")

    def put(self, name: str, samples: np.ndarray, codec: str = "wav", place: str = "oslo") -> Path:
        """Write a call of the day, [n, channels] at 16 kHz."""
        path = self.folder / "calls" / f"{DAY:%Y/%m/%d}" / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, samples, 16_000, codec)
        return path

    def settings(self, **sections: Any) -> Settings:
        return Settings.model_validate(
            {
                "source": {"uri": str(self.folder / "calls")},
                "segmentation": {"min_speech_ratio": 0.0},
                "inference": {"model": "tiny", "device": "cpu"},
                "models": {"tiny": {"path": str(self.model)}},
                "warehouse": {
                    "catalog": f"sqlite:{self.folder / 'catalog.sqlite'}",
                    "data": str(self.folder / "data"),
                },
            }
            | sections
        )

    def run(self, **sections: Any) -> Counts | None:
        """Plan and analyse the day; None when there is nothing to do."""
        settings = self.settings(**sections)
        entry = settings.registry.entry()
        key = analysis_key(settings, entry)
        source = open_source(settings.source.uri, settings.source.s3)
        pattern = settings.source.key_pattern()
        with open_lake(settings.warehouse) as lake:
            planned = work_of(plan_day(source, pattern, lake, DAY, key=key, policy=settings.policy))
        if not planned:
            return None
        counts = run_shard(planned, settings=settings, entry=entry, key=key, run_id="run", message="run")
        with open_lake(settings.warehouse) as lake:
            list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=settings.breakdown, run_id="run"))
        return counts

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with open_lake(self.settings().warehouse, read_only=True) as lake:
            return lake.rows(sql)
