"""The lake that docs/cookbook.md asks: eight weeks of two sites, made of random numbers that are always the same.

In it the callers of Rome get angry in the last week, mornings are worse than afternoons, and some calls escalate.
`python -m tools.cookbook_lake FOLDER` writes it as a real lake, with a configuration, to try queries on.
"""

import argparse
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.schemas.tables import (
    ANALYSES,
    DAILY_EMOTIONS,
    MODEL_HEALTH,
    RECORDING_DYNAMICS,
    RECORDINGS,
    RUNS,
    SEGMENTS,
    TABLES,
    Table,
)
from emolake.schemas.views import VIEWS
from emolake.settings import load_settings
from emolake.tasks.aggregate import daily_emotions
from emolake.tasks.plan import recording_id

FIRST, LAST = date(2026, 9, 28), date(2026, 11, 22)
ZONE = ZoneInfo("Europe/Oslo")
ROLES = ("agent", "customer")
WINDOW_S = 10.0
_OTHERS = {
    "agent": ("neutral", "neutral", "happiness"),
    "customer": ("neutral", "neutral", "sadness", "happiness"),
}
_CONFIGURATION = """\
[source]
uri = "calls"
pattern = "{site}/{date:%Y/%m/%d}/{call_id}.wav"
timezone = "Europe/Oslo"

[segmentation]
channels = "split"

[roles]
agent = 0
customer = 1

[policy]
purpose = "research"
"""

Row = dict[str, Any]


@dataclass
class MadeRows:
    """Rows by table, as runs would have committed them."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {table.name: [] for table in TABLES})

    def add(self, table: Table, **values: Any) -> None:
        """Add a row; what is not given is NULL, or 0 of what may not be."""
        blank = {
            column.name: None if column.nullable else 0 if pa.types.is_integer(column.type) else None
            for column in table.columns
        }
        self.rows[table.name].append(blank | values)

    def table(self, table: Table) -> pa.Table:
        """Return the rows of a table."""
        return pa.Table.from_pylist(self.rows[table.name], schema=table.schema)


def made_rows() -> MadeRows:
    """Return all rows but those of the daily table."""
    made, dice = MadeRows(), random.Random(17)
    for offset in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=offset)
        _night(made, dice, day)
    return made


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill empty tables, the daily one as the aggregate step does."""
    made = made_rows()
    for table in (RECORDINGS, ANALYSES, SEGMENTS, RECORDING_DYNAMICS, RUNS, MODEL_HEALTH):
        append(connection, table, made.table(table))
    days = [FIRST + timedelta(days=offset) for offset in range((LAST - FIRST).days + 1)]
    daily = [
        daily_emotions(connection, day, dimensions=["site", "segments.role"], without=[]).cast(
            DAILY_EMOTIONS.schema
        )
        for day in days
    ]
    append(connection, DAILY_EMOTIONS, pa.concat_tables(daily))


@contextmanager
def plain_lake() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the lake's empty tables and its views in memory, in a plain DuckDB: much faster to fill than a lake."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("ATTACH ':memory:' AS lake")
        for table in TABLES:
            connection.execute(table.ddl)
        for view in VIEWS:
            connection.execute(f"CREATE VIEW lake.{view.name} AS\n{view.select}")
        connection.execute("USE lake")
        yield connection


def _night(made: MadeRows, dice: random.Random, day: date) -> None:
    """Add a day's calls and the run of the night after it."""
    run_id, ended = f"nightly-{day}", datetime.combine(day + timedelta(days=1), time(1, 30), UTC)
    calls = dice.randint(2, 4) if day.weekday() > 4 else dice.randint(9, 13)
    for number in range(calls):
        _call(made, dice, day, number, run_id, ended)
    audio_s = sum(row["duration_s"] or 0.0 for row in made.rows["recordings"] if row["run_id"] == run_id)
    wall_s = 9.0 + audio_s / dice.uniform(28, 34)
    timings = {"fetch": 0.04, "decode": 0.06, "segment": 0.11, "classify": 0.74, "commit": 0.05}
    made.add(
        RUNS, run_id=run_id, flow="nightly", outcome="completed", started_at=ended - timedelta(seconds=wall_s),
        finished_at=ended, first_date=day, last_date=day, model="default", config_id="c", found=calls, done=calls,
        named_keys=[], audio_seconds=audio_s, speech_seconds=0.7 * audio_s, wall_s=wall_s,
        real_time_factor=wall_s / audio_s, timings=[(stage, part * wall_s) for stage, part in timings.items()],
        device="cpu", versions=[], options="{}",
    )  # fmt: skip
    made.add(
        MODEL_HEALTH, run_id=run_id, model="default", model_fingerprint="f", segments=100, verdict="healthy",
        committed_at=ended,
    )  # fmt: skip


def _call(made: MadeRows, dice: random.Random, day: date, number: int, run_id: str, ended: datetime) -> None:
    site = "rome" if dice.random() < 0.35 else "oslo"
    at = datetime.combine(day, time(8 + number * 10 // 13, dice.randrange(60)))
    uri = f"s3://calls/{site}/{day:%Y/%m/%d}/{at:%H%M}-{number:02}.wav"
    windows, luck = dice.randint(4, 12), dice.random()
    status, error = "ok", None
    if luck < 0.02:
        status, error = "quarantined", "undecodable: decode: no decoder knows the format"
    elif luck < 0.03:
        status, error = "truncated", "truncated: decode: the recording ends early"
    elif luck < 0.05:
        status = "silent"
    notes = (
        ["clipped"] if site == "rome" and dice.random() < 0.15 else ["quiet"] if status == "silent" else None
    )
    known = {"recording_id": recording_id(uri), "date": day, "run_id": run_id}
    is_bad = status == "quarantined"
    made.add(
        RECORDINGS, **known, uri=uri, version="v1", recorded_at=at.replace(tzinfo=ZONE), recorded_at_local=at,
        size_bytes=windows * 320_000, duration_s=None if is_bad else windows * WINDOW_S, sample_rate=8000, channels=2,
        codec="pcm_s16le", level_dbfs=dice.uniform(-32, -18), clipped_share=0.002 if notes == ["clipped"] else 0.0,
        bandwidth_hz=3400.0, signal_notes=notes, status=status, error=error, committed_at=ended,
        dimensions=[("site", site), ("call_id", f"{at:%H%M}-{number:02}")],
    )  # fmt: skip
    models = ["default", "small"] if day > LAST - timedelta(days=7) else ["default"]
    has_speech = status not in ("silent", "quarantined")
    angers = _conversation(made, dice, known, site, at, windows, models) if not is_bad and has_speech else 0
    if status == "silent":
        for index in range(windows):
            _segment(made, known, "default", 0, index, 0.0, None, None)
    for model in models:
        made.add(
            ANALYSES, **known, version="v1", model=model, model_fingerprint="f", config_id="c",
            segments=0 if is_bad else windows * (1 + has_speech), speech_seconds=windows * 8.0 * has_speech,
            committed_at=ended,
        )  # fmt: skip
    for channel, role in enumerate(ROLES if has_speech else ()):
        talk_s = windows * WINDOW_S * dice.uniform(0.3, 0.5)
        made.add(
            RECORDING_DYNAMICS, **known, channel=channel, role=role, talk_s=talk_s,
            talk_share=dice.uniform(0.4, 0.6), silence_s=windows * WINDOW_S * 0.2, overlap_s=dice.uniform(0, 6),
            interruptions=dice.randint(0, 1) + (angers // 2 if role == "customer" else 0), turns=windows,
            mean_turn_s=talk_s / windows, response_s=dice.uniform(0.2, 1.4), pauses=windows, mean_pause_s=0.4,
            longest_pause_s=dice.uniform(0.5, 4), speech_level_dbfs=dice.uniform(-30, -18),
        )  # fmt: skip


def _conversation(
    made: MadeRows, dice: random.Random, known: Row, site: str, at: datetime, windows: int, models: list[str]
) -> int:
    """Add the segments of a call with speech, and return how many of the customer's are angry."""
    angers, temper, escalates = 0, dice.choice((0.3, 0.6, 2.2)), dice.random() < 0.12
    for channel, role in enumerate(ROLES):
        for index in range(windows):
            anger = 0.02 if role == "agent" else 0.09 * temper
            if role == "customer":
                anger += 0.10 * (at.hour < 10)
                anger += 0.22 * (site == "rome" and at.date() > LAST - timedelta(days=7))
                anger += 0.7 * index / windows if escalates else 0.0
            emotion = "anger" if dice.random() < anger else dice.choice(_OTHERS[role])
            angers += emotion == "anger" and role == "customer"
            speech_ratio = round(dice.uniform(0.2, 0.9), 2)
            for model in models:
                label = emotion
                if model == "small" and dice.random() < 0.3:
                    label = dice.choice(("anger", "neutral", "sadness", "happiness"))
                confidence = round(dice.uniform(0.42, 0.97), 2)
                _segment(made, known, model, channel, index, speech_ratio, label, confidence)
    return angers


def _segment(
    made: MadeRows, known: Row, model: str, channel: int, index: int, speech_ratio: float, label: str | None,
    confidence: float | None,
) -> None:  # fmt: skip
    given: Row = {}
    if label is not None and confidence is not None:
        second = "neutral" if label != "neutral" else "sadness"
        given = {
            "confidence": confidence, "uncertain": confidence < 0.5, "entropy": 1.2 - confidence, "logit_range": 4.0,
            "probabilities": [(label, confidence), (second, 1 - confidence)],
        }  # fmt: skip
    made.add(
        SEGMENTS, **known, channel=channel, role=ROLES[channel], segment_index=index, start_s=index * WINDOW_S,
        end_s=(index + 1) * WINDOW_S, speech_ratio=speech_ratio, model=model, label=label, emotion=label,
        config_id="c", **given,
    )  # fmt: skip


def main() -> None:
    """Write the lake to a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "emolake.toml"
    config.write_text(_CONFIGURATION, "utf-8")
    with open_lake(load_settings(config).warehouse) as lake:
        lake.transact(fill, author="cookbook", message="made", extra={})
    print(f"emolake query --config {config} 'FROM calls LIMIT 3'")


if __name__ == "__main__":
    main()
