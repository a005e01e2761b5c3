-- One row per stretch of a channel whose segments one model gave the same emotion, or none, one after the other.
WITH marked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY date, recording_id, model, channel ORDER BY segment_index)
            - row_number() OVER (PARTITION BY date, recording_id, model, channel, emotion ORDER BY segment_index) AS stretch
    FROM segments_wide
),
joined AS (
    SELECT
        date,
        recording_id,
        any_value(uri) AS uri,
        model,
        channel,
        any_value(role) AS role,
        min(start_s) AS start_s,
        max(end_s) AS end_s,
        min(at_local) AS at_local,
        any_value(duration_s) AS duration_s,
        emotion,
        count(*) AS segments,
        sum(speech_s) AS speech_s,
        sum(confidence::DOUBLE * speech_s) / nullif(sum(speech_s), 0) AS mean_confidence
    FROM marked
    GROUP BY date, recording_id, model, channel, emotion, stretch
)
SELECT
    date,
    recording_id,
    uri,
    model,
    channel,
    role,
    row_number() OVER in_time AS stretch,
    start_s,
    least(end_s, coalesce(lead(start_s) OVER in_time, end_s)) AS end_s,
    at_local,
    start_s / nullif(duration_s, 0) AS position,
    emotion,
    segments,
    speech_s,
    mean_confidence
FROM joined
WINDOW in_time AS (PARTITION BY date, recording_id, model, channel ORDER BY start_s)
