"""Rows of days that were never recorded, made by SQL in bulk, as a nightly would have committed them."""

from datetime import date

import duckdb
import pyarrow as pa

from emolake.schemas.records import AnalysisKey
from emolake.schemas.shard_rows import ShardRows
from emolake.schemas.tables import ANALYSES, RECORDING_DYNAMICS, RECORDINGS, SEGMENTS
from emolake.tasks.plan import recording_id

KEY = AnalysisKey(model="bench", model_fingerprint="f" * 32, config_id="c" * 16)
SITES = 8
SEGMENT_S = 10.0

# One row per recording, keyed as `plan` would key it; {…} are numbers of this file, $… the call's.
_RECORDINGS = f"""
SELECT
    CASE
        WHEN $site_first THEN format('s3://calls/site{{}}/{{}}/{{:06d}}.wav', i % {SITES}, strftime(day, '%Y/%m/%d'), i)
        ELSE format('s3://calls/{{}}/site{{}}/{{:06d}}.wav', strftime(day, '%Y/%m/%d'), i % {SITES}, i)
    END AS uri,
    'v1' AS version,
    day AS date,
    NULL::TIMESTAMPTZ AS recorded_at,
    $segments * 160000 AS size_bytes,
    $segments * {SEGMENT_S} AS duration_s,
    16000 AS sample_rate,
    1 AS channels,
    NULL::INTEGER[] AS excluded_channels,
    'pcm_s16le' AS codec,
    MAP {{'site': format('site{{}}', i % {SITES})}} AS dimensions,
    'ok' AS status,
    NULL::VARCHAR AS error,
    $run_id AS run_id,
    TIMESTAMPTZ '2026-01-01 00:00:00+00' AS committed_at,
    NULL::TIMESTAMPTZ AS deleted_at
FROM range($first, $first + $recordings) AS made(i), unnest($days) AS asked(day)
"""
_ANALYSES = f"""
SELECT
    recording_id, date, version, $model AS model, $fingerprint AS model_fingerprint, $config_id AS config_id,
    $segments AS segments, $segments * {0.8 * SEGMENT_S} AS speech_seconds, run_id, committed_at
FROM made_recordings
"""
# Probabilities of all the digits that a model's have: rounder ones would take less room than real ones do.
_SEGMENTS = f"""
WITH answered AS (
    SELECT
        recording_id, date, n, run_id,
        hash(recording_id, n, $model) AS drawn,
        (drawn % 4)::INTEGER AS said,
        (0.4 + 0.6 * ((drawn >> 8) % 1048576) / 1048576)::DOUBLE AS sure,
        ((1 + (drawn >> 28) % 1048574) / 1048576)::DOUBLE AS a,
        ((1 + (hash(drawn)) % 1048574) / 1048576)::DOUBLE AS b,
        [sure, (1 - sure) * a * b, (1 - sure) * a * (1 - b), (1 - sure) * (1 - a)]::FLOAT[] AS parts
    FROM made_recordings, range($segments) AS own(n)
)
SELECT
    recording_id, date, 0 AS channel, NULL::VARCHAR AS role, n AS segment_index,
    n * {SEGMENT_S} AS start_s, (n + 1) * {SEGMENT_S} AS end_s,
    0.8::FLOAT AS speech_ratio, $model AS model,
    ['anger', 'happiness', 'neutral', 'sadness'][1 + said] AS label, label AS emotion, parts[1] AS confidence,
    map(['anger', 'happiness', 'neutral', 'sadness'],
        [parts[1 + (4 - said) % 4], parts[1 + (5 - said) % 4], parts[1 + (6 - said) % 4], parts[1 + (7 - said) % 4]]
    ) AS probabilities,
    NULL::MAP(VARCHAR, FLOAT) AS affect,
    (-(parts[1] * ln(parts[1]) + parts[2] * ln(parts[2]) + parts[3] * ln(parts[3]) + parts[4] * ln(parts[4])))::FLOAT
        AS entropy,
    (ln(parts[1]) - ln(least(parts[2], parts[3], parts[4])))::FLOAT AS logit_range,
    NULL::VARCHAR AS transcript, $config_id AS config_id, run_id
FROM answered
"""


def made_shard(
    *days: date,
    first: int = 0,
    recordings: int,
    segments: int,
    key: AnalysisKey = KEY,
    run_id: str = "bench",
    site_first: bool = False,
) -> ShardRows:
    """Return rows of `recordings` recordings of each day, numbered from `first`, with `segments` segments each.

    Keys begin with the date, or with the site.
    """
    model = {"model": key.model, "config_id": key.config_id}
    asked = {
        "days": list(days),
        "first": first,
        "recordings": recordings,
        "segments": segments,
        "run_id": run_id,
        "site_first": site_first,
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        made = connection.execute(_RECORDINGS, asked).to_arrow_table()
        ids = pa.array([recording_id(uri) for uri in made.column("uri").to_pylist()])
        made = made.append_column("recording_id", ids)
        connection.register("made_recordings", made)
        ledger = connection.execute(
            _ANALYSES, {**model, "fingerprint": key.model_fingerprint, "segments": segments}
        ).to_arrow_table()
        segments_table = connection.execute(_SEGMENTS, {**model, "segments": segments}).to_arrow_table()
    return ShardRows(
        _as(made, RECORDINGS.schema),
        _as(ledger, ANALYSES.schema),
        _as(segments_table, SEGMENTS.schema),
        RECORDING_DYNAMICS.schema.empty_table(),
    )


def _as(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows as a table has them; columns that are not made here are NULL."""
    for field in schema:
        if field.name not in rows.schema.names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows.select(schema.names).cast(schema)
