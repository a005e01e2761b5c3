"""A lake of a contact centre's weeks that were never recorded, with stories that a report should show.

In the last week customers of the queue `billing` are angrier and less happy; agents are calmer than customers; Monday
mornings are angry; the line of one site clips; one night failed, and some files are broken.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.schemas.column import Column
from emolake.schemas.days import DayRange
from emolake.schemas.tables import (
    ANALYSES,
    MODEL_HEALTH,
    RECORDING_DYNAMICS,
    RECORDINGS,
    RUNS,
    SEGMENTS,
    Table,
)
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.plan import recording_id

SITES = ("Busan", "Hamburg", "Leeds", "Osaka", "Seoul")
QUEUES = ("billing", "contract", "orders", "technical")
EMOTIONS = ("anger", "calm", "fear", "happiness", "neutral", "sadness", "surprise", "disgust", "boredom")
WINDOW_S = 10.0
_CUSTOMER = np.array([0.14, 0.07, 0.02, 0.13, 0.50, 0.09, 0.03, 0.01, 0.01])
_AGENT = np.array([0.02, 0.24, 0.01, 0.20, 0.48, 0.02, 0.01, 0.01, 0.01])


@dataclass(frozen=True)
class Story:
    """What is made."""

    last: date = date(2026, 11, 20)
    days: int = 42
    calls: int = 2_400
    segments: int = 16
    """Mean windows of a channel."""
    models: tuple[str, ...] = ("default", "small")
    seed: int = 17


def tell(lake: Lake, story: Story) -> None:
    """Fill an empty lake with a story and aggregate its days."""
    tables = _tables(story)

    def work(connection: object) -> None:
        for table, rows in tables.items():
            append(lake.connection, table, rows)

    lake.transact(work, author="bench", message="a story", extra={})
    days = DayRange(story.last - timedelta(days=story.days - 1), story.last)
    list(aggregate_days(lake, days, dimensions=["site", "queue", "segments.role"], run_id="story"))


def _tables(story: Story) -> dict[Table, pa.Table]:
    drawn = np.random.default_rng(story.seed)
    number = story.calls
    weekdays = np.array([(story.last - timedelta(days=int(back))).weekday() for back in range(story.days)])
    weights = np.where(weekdays < 5, 1.0, 0.35)
    back = np.sort(drawn.choice(story.days, number, p=weights / weights.sum()))[::-1]
    days = [story.last - timedelta(days=int(each)) for each in back]
    hours = np.clip(drawn.normal(13, 3.2, number), 7, 21.9)
    site = drawn.choice(len(SITES), number, p=[0.14, 0.22, 0.12, 0.2, 0.32])
    queue = drawn.choice(len(QUEUES), number, p=[0.34, 0.16, 0.3, 0.2])
    status = drawn.choice(
        ["ok", "truncated", "silent", "quarantined"], number, p=[0.965, 0.008, 0.012, 0.015]
    )
    uris = [
        f"s3://calls/{day:%Y/%m/%d}/{SITES[site[i]].lower()}/{QUEUES[queue[i]]}/{10_000 + i}.wav"
        for i, day in enumerate(days)
    ]
    ids = [recording_id(uri) for uri in uris]
    windows = np.clip(drawn.poisson(story.segments, number), 3, None)
    windows[np.isin(status, ["quarantined", "silent"])] = 0
    runs = [f"nightly-{day + timedelta(days=1):%Y%m%d}T0230" for day in days]
    committed = [datetime(day.year, day.month, day.day, 3, 0, tzinfo=UTC) for day in days]
    begun = [
        datetime(day.year, day.month, day.day) + timedelta(seconds=int(3600 * hours[i]))
        for i, day in enumerate(days)
    ]
    is_bad = status == "quarantined"
    clips = (site == SITES.index("Hamburg")) & (drawn.random(number) < 0.22)
    quiet = (site == SITES.index("Leeds")) & (drawn.random(number) < 0.08)
    levels = drawn.normal(-27, 4, number) - 32 * quiet
    notes = [
        None if is_bad[i] else ["clipped"] if clips[i] else ["quiet"] if quiet[i] else None
        for i in range(number)
    ]
    recordings = {
        "recording_id": ids, "uri": uris, "version": ["v1"] * number, "date": days,
        "recorded_at": [each.replace(tzinfo=UTC) for each in begun], "recorded_at_local": begun,
        "size_bytes": (320_000 * np.maximum(windows, 1)).tolist(),
        "duration_s": [None if is_bad[i] else float(WINDOW_S * max(windows[i], 1)) for i in range(number)],
        "sample_rate": [None if is_bad[i] else 8000 for i in range(number)],
        "channels": [None if is_bad[i] else 2 for i in range(number)],
        "codec": [None if is_bad[i] else "pcm_s16le" for i in range(number)],
        "level_dbfs": [None if is_bad[i] else float(level) for i, level in enumerate(levels)],
        "clipped_share": [None if is_bad[i] else 0.004 if clips[i] else 0.0 for i in range(number)],
        "dc_offset": [None if is_bad[i] else 0.0 for i in range(number)],
        "bandwidth_hz": [None if is_bad[i] else 3400.0 for i in range(number)],
        "channel_correlation": [None if is_bad[i] else 0.02 for i in range(number)],
        "signal_notes": notes,
        "dimensions": [[("site", SITES[site[i]]), ("queue", QUEUES[queue[i]])] for i in range(number)],
        "status": status.tolist(),
        "error": [
            "undecodable: decode: no samples could be read" if is_bad[i]
            else "truncated: decode: the file ends before its header says" if status[i] == "truncated" else None
            for i in range(number)
        ],
        "run_id": runs, "committed_at": committed,
    }  # fmt: skip
    tables = {RECORDINGS: _table(RECORDINGS, recordings)}
    base = np.stack([_AGENT, _CUSTOMER])
    chances = np.repeat(base[None], number, axis=0)  # recording, role, emotion
    angrier = (queue == 0) & (back < 7)
    monday = np.array([day.weekday() == 0 for day in days]) & (hours < 11)
    chances[angrier, 1, 0] += 0.17
    chances[monday, 1, 0] += 0.13
    chances[angrier, 1, 3] *= 0.45
    chances[back < 7, 1, 5] *= 0.9
    chances /= chances.sum(axis=2, keepdims=True)
    # Calls differ: segments of one are alike.
    spread = drawn.gamma(chances * 6 + 1e-3)
    chances = spread / spread.sum(axis=2, keepdims=True)
    of_call = np.repeat(np.arange(number), 2 * windows)
    index = np.concatenate([np.tile(np.arange(each), 2) for each in windows])
    channel = np.concatenate([np.repeat([0, 1], each) for each in windows])
    total = len(of_call)
    ratio = np.clip(drawn.beta(2, 2.2, total), 0, 1)
    thresholds = np.cumsum(chances[of_call, channel], axis=1)
    said = (drawn.random(total)[:, None] > thresholds).sum(axis=1).clip(0, len(EMOTIONS) - 1)
    ledger: dict[str, list[object]] = {column.name: [] for column in ANALYSES.columns}
    parts = []
    for place, model in enumerate(story.models):
        differs = drawn.random(total) < 0.28 * place
        labels = np.where(differs, drawn.choice(len(EMOTIONS), total, p=_CUSTOMER), said)
        sure = np.clip(drawn.beta(6, 2.5, total), 0.2, 0.999)
        has_label = ratio >= 0.1
        names = np.array(EMOTIONS)[labels]
        config = f"{place}" * 16
        parts.append(
            _table(
                SEGMENTS,
                {
                    "recording_id": np.array(ids)[of_call].tolist(),
                    "date": np.array(days)[of_call].tolist(),
                    "channel": channel.tolist(),
                    "role": np.where(channel == 0, "agent", "customer").tolist(),
                    "segment_index": index.tolist(),
                    "start_s": (WINDOW_S * index).tolist(),
                    "end_s": (WINDOW_S * (index + 1)).tolist(),
                    "speech_ratio": ratio.tolist(),
                    "model": [model] * total,
                    "label": [name if has else None for name, has in zip(names, has_label, strict=True)],
                    "emotion": [name if has else None for name, has in zip(names, has_label, strict=True)],
                    "confidence": [
                        float(value) if has else None for value, has in zip(sure, has_label, strict=True)
                    ],
                    "uncertain": [
                        bool(value < 0.45) if has else None
                        for value, has in zip(sure, has_label, strict=True)
                    ],
                    "probabilities": [
                        [(name, float(value))] if has else None
                        for name, value, has in zip(names, sure, has_label, strict=True)
                    ],
                    "entropy": [
                        float(1.6 * (1 - value)) if has else None
                        for value, has in zip(sure, has_label, strict=True)
                    ],
                    "logit_range": [
                        float(3 + 4 * value) if has else None
                        for value, has in zip(sure, has_label, strict=True)
                    ],
                    "config_id": [config] * total,
                    "run_id": np.array(runs)[of_call].tolist(),
                },
            )
        )
        seconds = np.bincount(of_call, weights=WINDOW_S * ratio, minlength=number)
        for i in np.flatnonzero(windows):
            row = (
                ids[i], days[i], "v1", model, f"{place + 1:032x}", config, int(2 * windows[i]), float(seconds[i]),
                runs[i], committed[i],
            )  # fmt: skip
            for column, value in zip(ANALYSES.columns, row, strict=True):
                ledger[column.name].append(value)
    talk = np.bincount(2 * of_call + channel, weights=WINDOW_S * ratio, minlength=2 * number).reshape(-1, 2)
    kept = np.flatnonzero(windows)
    tables |= {
        SEGMENTS: pa.concat_tables(parts),
        ANALYSES: _table(ANALYSES, ledger),
        RECORDING_DYNAMICS: _table(
            RECORDING_DYNAMICS,
            {
                "recording_id": [ids[i] for i in kept for _ in range(2)],
                "date": [days[i] for i in kept for _ in range(2)],
                "channel": [0, 1] * len(kept),
                "role": ["agent", "customer"] * len(kept),
                "talk_s": [float(talk[i, c]) for i in kept for c in range(2)],
                "talk_share": [float(talk[i, c] / talk[i].sum()) for i in kept for c in range(2)],
                "silence_s": [float(0.1 * WINDOW_S * windows[i]) for i in kept for _ in range(2)],
                "overlap_s": [float(value) for value in drawn.gamma(2, 3, 2 * len(kept))],
                "interruptions": drawn.poisson(1.4, 2 * len(kept)).tolist(),
                "turns": drawn.poisson(12, 2 * len(kept)).tolist(),
                "mean_turn_s": [float(value) for value in drawn.gamma(4, 1.2, 2 * len(kept))],
                "response_s": [float(value) for value in drawn.gamma(2, 0.4, 2 * len(kept))],
                "pauses": drawn.poisson(9, 2 * len(kept)).tolist(),
                "run_id": [runs[i] for i in kept for _ in range(2)],
            },
        ),
        RUNS: _runs(story, drawn, np.bincount(back, minlength=story.days)),
        MODEL_HEALTH: _health(story, drawn),
    }
    return tables


def _nights(story: Story) -> list[tuple[date, str, datetime]]:
    found = []
    for each in range(story.days):
        day = story.last - timedelta(days=each)
        night = day + timedelta(days=1)
        begun = datetime(night.year, night.month, night.day, 2, 30, tzinfo=UTC)
        found.append((day, f"nightly-{night:%Y%m%d}T0230", begun))
    return found


def _runs(story: Story, drawn: np.random.Generator, found: np.ndarray) -> pa.Table:
    rows = []
    for each, (day, run_id, begun) in enumerate(_nights(story)):
        number = int(found[each])
        took = 40 + 2.1 * number
        rows.append(
            {
                **{column.name: 0 for column in RUNS.columns if column.field.type == pa.int64()},
                "run_id": run_id, "flow": "nightly", "outcome": "failed" if each == 9 else "completed",
                "started_at": begun, "finished_at": begun + timedelta(seconds=took),
                "first_date": day - timedelta(days=2), "last_date": day, "model": story.models[0],
                "config_id": "0" * 16, "found": number, "done": number,
                "decoded": number, "with_speech": number, "with_label": number, "not_matched": int(each % 7 == 3),
                "not_audio": 1, "named_keys": [f"not audio: {day:%Y/%m/%d}/index.json"], "warnings": [],
                "audio_seconds": 160.0 * number, "speech_seconds": 90.0 * number, "wall_s": took,
                "real_time_factor": took / max(160.0 * number, 1),
                "timings": [("decode", 11.0), ("classify", took - 20)],
                "device": "cpu", "versions": [("emolake", "0.1.0"), ("torch", "2.13.0")], "options": "{}",
                "error": "the source did not answer: connection refused" if each == 9 else None,
            }
        )  # fmt: skip
    return _table(RUNS, {column.name: [row.get(column.name) for row in rows] for column in RUNS.columns})


def _health(story: Story, drawn: np.random.Generator) -> pa.Table:
    rows = [
        {
            "run_id": run_id, "model": model, "model_fingerprint": f"{place + 1:032x}", "segments": 1800,
            "logit_range_mean": float(drawn.normal(6.1, 0.12)), "logit_range_sd": 1.3,
            "label_entropy": float(drawn.normal(1.42, 0.03)), "commonest_label": "neutral",
            "commonest_share": float(drawn.normal(0.49, 0.012)),
            "drift": float(0.02 + 0.012 * abs(drawn.normal()) + (0.05 if each < 5 else 0)),
            "verdict": "healthy", "committed_at": begun,
        }
        for each, (_, run_id, begun) in enumerate(_nights(story))
        for place, model in enumerate(story.models)
    ]  # fmt: skip
    return _table(
        MODEL_HEALTH, {column.name: [row[column.name] for row in rows] for column in MODEL_HEALTH.columns}
    )


def _table(table: Table, values: dict[str, list[object]]) -> pa.Table:
    length = len(next(iter(values.values())))

    def cells(column: Column) -> pa.Array:
        return pa.array(values.get(column.name, [None] * length), column.type)

    return pa.Table.from_arrays([cells(column) for column in table.columns], schema=table.schema)
