"""A recording whose key moved to another day is new where it is and marked where it was, and no gap counts it twice."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from made_plan import work_of

from emolake.demo.encode import write_audio
from emolake.lake.connect import open_lake
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.presence import Presence
from emolake.pipeline.shard import run_shard
from emolake.schemas.days import DayRange
from emolake.settings import GapOptions, Settings, load_settings
from emolake.source.opening import open_source
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.plan import plan_day
from emolake.upkeep.erase import erase, requests_by_condition
from emolake.upkeep.gaps import find_gaps
from emolake.upkeep.verify import verify

from made_model import write_tiny_model

pytestmark = pytest.mark.slow

FRIDAY = date(2026, 11, 20)
THURSDAY, WEEK = FRIDAY - timedelta(days=1), timedelta(days=7)
NUMBER = 4


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Four recordings that were put below the wrong day and site."""
    write_tiny_model(tmp_path / "tiny")
    noise = np.random.default_rng(0).normal(0, 0.1, (16_000, 1)).astype(np.float32)
    for number in range(NUMBER):
        path = tmp_path / f"calls/{THURSDAY:%Y/%m/%d}/olso/{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, noise * (1 + number), 8000, "wav")
    config = tmp_path / "emolake.toml"
    config.write_text(
        '[source]\nuri = "calls"\n[segmentation]\nmin_speech_ratio = 0.0\n'
        '[inference]\nmodel = "tiny"\n[models.tiny]\npath = "tiny"\n'
    )
    return load_settings(config).model_copy(update={"gaps": GapOptions(weeks=1, least_usual=1)})


def night(settings: Settings) -> int:
    """Analyse both days as a run does, and return how many recordings it analysed."""
    entry = settings.registry.entry()
    key, done = analysis_key(settings, entry), 0
    source, pattern = open_source(settings.source.uri, settings.source.s3), settings.source.key_pattern()
    with open_lake(settings.warehouse) as lake:
        for day in (THURSDAY, FRIDAY):
            presence = Presence(lake, source, pattern, day)
            chunks = list(plan_day(source, pattern, lake, day, key=key, policy=settings.policy))
            for chunk in chunks:
                presence.see(chunk.listed)
            objects = work_of(chunks)
            done += len(objects)
            if objects:
                run_shard(objects, settings=settings, entry=entry, key=key, run_id="run", message=f"{day}")
            presence.settle("run")
        list(aggregate_days(lake, DayRange(THURSDAY, FRIDAY), dimensions=["site"], run_id="run"))
    return done


def rows(settings: Settings, sql: str) -> list[tuple[object, ...]]:
    with open_lake(settings.warehouse, read_only=True) as lake:
        return lake.rows(sql)


def gaps_of_the_next_week(settings: Settings) -> list[tuple[object, ...]]:
    with open_lake(settings.warehouse, read_only=True) as lake:
        found = find_gaps(lake, settings, DayRange(THURSDAY + WEEK, FRIDAY + WEEK))
    return [(gap.date - WEEK, *gap.dimensions, gap.usual) for gap in found]


PLACES = (
    "SELECT date, dimensions['site'], deleted_at IS NOT NULL, count(*), count(DISTINCT version) "
    "FROM recordings GROUP BY ALL ORDER BY ALL"
)
DAILY = (
    "SELECT date, dimensions['site'], sum(segments) FROM daily_emotions "
    "WHERE dimensions <> MAP {} GROUP BY ALL ORDER BY ALL"
)


def test_what_moved_stands_where_it_is_and_is_marked_where_it_was(tmp_path: Path, settings: Settings) -> None:
    assert night(settings) == NUMBER
    assert gaps_of_the_next_week(settings) == [(THURSDAY, "olso", NUMBER)]
    moved = tmp_path / f"calls/{FRIDAY:%Y/%m/%d}/oslo"
    moved.parent.mkdir(parents=True)
    (tmp_path / f"calls/{THURSDAY:%Y/%m/%d}/olso").rename(moved)

    assert night(settings) == NUMBER
    assert rows(settings, PLACES) == [
        (THURSDAY, "olso", True, NUMBER, NUMBER),
        (FRIDAY, "oslo", False, NUMBER, NUMBER),
    ]
    assert rows(settings, "SELECT count(DISTINCT version) FROM recordings") == [(NUMBER,)]
    # Until they are erased, the rows of where it was stay in the aggregates.
    assert rows(settings, DAILY) == [(THURSDAY, "olso", NUMBER), (FRIDAY, "oslo", NUMBER)]
    assert verify(settings).breaches == []
    assert gaps_of_the_next_week(settings) == [(FRIDAY, "oslo", NUMBER)]
    assert night(settings) == 0

    erase(settings, requests_by_condition(settings, "deleted_at IS NOT NULL"))
    assert rows(settings, PLACES) == [(FRIDAY, "oslo", False, NUMBER, NUMBER)]
    assert rows(settings, DAILY) == [(FRIDAY, "oslo", NUMBER)]
    assert verify(settings).breaches == []
    assert night(settings) == 0


def test_what_was_deleted_and_stands_nowhere_else_had_arrived(tmp_path: Path, settings: Settings) -> None:
    """A bucket that keeps recordings for a month only must not look as if none had ever come."""
    night(settings)
    place = tmp_path / f"calls/{THURSDAY:%Y/%m/%d}/olso"
    for number in range(1, NUMBER):
        (place / f"{number}.wav").unlink()
    assert night(settings) == 0
    assert gaps_of_the_next_week(settings) == [(THURSDAY, "olso", NUMBER)]
    assert verify(settings).breaches == []
