"""How long do an analyst's questions, and a run's commits, take on a year of segments?

python -m bench.warehouse

Days are committed seven at once here; a nightly commits shard by shard, and `emolake maintain` merges them.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from statistics import median
from time import perf_counter

from bench.common import folder, main, table
from bench.made_rows import KEY, made_shard
from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.shard_rows import ShardRows
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

_PLAN = {"short": 1_000_000, "full": 50_000_000}  # segments
YEAR = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]
DAY = date(2026, 7, 3)
SEGMENTS = 36  # of a recording: a call of six minutes
OTHER = AnalysisKey(model="other", model_fingerprint="e" * 32, config_id="d" * 16)
REPEATS = 9

QUESTIONS = {
    "a day: segments and certainty by emotion": (
        f"SELECT emotion, count(*), avg(confidence) FROM segments WHERE date = '{DAY}' AND model = 'bench' GROUP BY ALL"
    ),
    "a month by site, from the daily table": (
        "SELECT dimensions['site'], emotion, sum(speech_seconds) FROM daily_emotions "
        "WHERE date BETWEEN '2026-07-01' AND '2026-07-31' GROUP BY ALL"
    ),
    "a month by site, from the segments": (
        "SELECT dimensions['site'], emotion, sum((end_s - start_s) * speech_ratio) FROM segments "
        "JOIN recordings USING (date, recording_id) WHERE date BETWEEN '2026-07-01' AND '2026-07-31' GROUP BY ALL"
    ),
    "a call's timeline": (
        f"SELECT start_s, emotion, confidence FROM segments WHERE date = '{DAY}' AND recording_id = "
        f"(SELECT min(recording_id) FROM recordings WHERE date = '{DAY}') ORDER BY start_s"
    ),
    "model against model, a day": (
        f"SELECT emotion_a, emotion_b, count(*) FROM model_comparison WHERE date = '{DAY}' GROUP BY ALL"
    ),
    "the year by emotion, from the daily table": (
        "SELECT emotion, sum(speech_seconds) FROM daily_emotions GROUP BY ALL"
    ),
    "the year by emotion, from the segments": "SELECT emotion, count(*) FROM segments GROUP BY ALL",
}


def measure(size: str) -> str:
    recordings = max(1, round(_PLAN[size] / len(YEAR) / SEGMENTS))
    with folder() as place:
        warehouse = WarehouseOptions(catalog=f"sqlite:{place}/catalog.sqlite", data=f"{place}/data")
        with open_lake(warehouse) as lake:
            filled = _fill(lake, recordings)
            (count,) = lake.rows("SELECT count(*) FROM segments")[0]
            stored = sum(path.stat().st_size for path in (place / "data").rglob("*.parquet"))
            rows = [*_questions(lake), *_commits(lake, recordings)]
    return (
        f"{count:,} segments of {len(YEAR)} days, written in {filled / 60:.1f} min; {stored / count:.0f} bytes of "
        f"Parquet a segment, all tables together; {REPEATS} tries each.\n\n"
        + table(("", "median, ms", "worst, ms", "files read, of those of its tables"), rows)
    )


def _fill(lake: Lake, recordings: int) -> float:
    """Commit and aggregate every day, one of them also as analysed by another model; seconds of the first."""
    started = perf_counter()
    for number in range(0, len(YEAR), 7):
        _commit(lake, made_shard(*YEAR[number : number + 7], recordings=recordings, segments=SEGMENTS))
    seconds = perf_counter() - started
    _commit(lake, made_shard(DAY, recordings=recordings, segments=SEGMENTS, key=OTHER), key=OTHER)
    list(aggregate_days(lake, DayRange(YEAR[0], YEAR[-1]), dimensions=["site"], run_id="bench"))
    return seconds


def _commit(lake: Lake, rows: ShardRows, *, key: AnalysisKey = KEY, force: bool = False) -> None:
    commit_shard(lake, rows, key=key, run_id="bench", message="bench", force=force)


def _questions(lake: Lake) -> Iterator[tuple[str, ...]]:
    for what, sql in QUESTIONS.items():
        seconds = [_seconds(lake.rows, sql) for _ in range(REPEATS)]
        yield _row(what, seconds, _files_read(lake, sql))


def _files_read(lake: Lake, sql: str) -> str:
    """Count data files that a query opened and those that its tables have: what partitions spare."""
    explained = str(lake.rows(f"EXPLAIN ANALYZE {sql}")[0][1])
    read = sum(int(found) for found in re.findall(r"Total Files Read: (\d+)", explained))
    tables = set(re.findall(r"Table: (\w+)", explained))
    held = sum(
        int(lake.rows(f"SELECT count(*) FROM ducklake_list_files('lake', '{name}')")[0][0]) for name in tables
    )
    return f"{read} of {held}"


def _commits(lake: Lake, recordings: int) -> Iterator[tuple[str, ...]]:
    """Commit into a full day, of rows that are made before the clock starts."""
    shards = [
        made_shard(DAY, first=recordings + 64 * number, recordings=64, segments=SEGMENTS)
        for number in range(REPEATS)
    ]
    seconds = [_seconds(_commit, lake, shard) for shard in shards]
    yield _row(f"commit of a shard: 64 recordings, {64 * SEGMENTS:,} segments", seconds)
    seconds = []
    for number in range(
        REPEATS
    ):  # after one more recording each, since a day whose ledger is as before is left alone
        first = recordings + 64 * REPEATS + number
        _commit(lake, made_shard(DAY, first=first, recordings=1, segments=SEGMENTS))
        seconds.append(_seconds(_aggregate, lake))
    yield _row("re-aggregation of a day", seconds)
    day = made_shard(DAY, recordings=recordings, segments=SEGMENTS)
    seconds = [_seconds(lambda: _commit(lake, day, force=True)) for _ in range(REPEATS)]
    yield _row(
        f"replacement of a day: {recordings:,} recordings, {recordings * SEGMENTS:,} segments", seconds
    )


def _aggregate(lake: Lake) -> None:
    list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="bench"))


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    started = perf_counter()
    work(*arguments)
    return perf_counter() - started


def _row(what: str, seconds: list[float], files: str = "") -> tuple[str, ...]:
    return what, f"{1000 * median(seconds):.0f}", f"{1000 * max(seconds):.0f}", files


if __name__ == "__main__":
    main(measure)
