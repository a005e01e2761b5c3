-- One row per day, model, dimensions and emotion; the row whose emotion is NULL holds what got no label.
-- Dimensions are those of recordings, and `segments.role` and `segments.channel`, which are what the segment is of.
-- Models of `without` are left out. Overlapping windows own the time up to the start of the next one, so that no second of speech counts twice.
WITH owned AS (
    SELECT
        recording_id,
        model,
        channel,
        role,
        emotion,
        confidence,
        uncertain,
        affect,
        speech_ratio::DOUBLE * (
            least(end_s, coalesce(lead(start_s) OVER in_time, end_s)) - start_s
        ) AS speech_s
    FROM lake.segments
    WHERE date = $date AND NOT list_contains($without::VARCHAR[], model)
    WINDOW in_time AS (PARTITION BY recording_id, model, channel ORDER BY segment_index)
),
described AS (
    SELECT
        owned.*,
        map_from_entries(
            [
                CASE name
                    WHEN 'segments.role' THEN ('role', coalesce(owned.role, ''))
                    WHEN 'segments.channel' THEN ('channel', owned.channel::VARCHAR)
                    ELSE (name, coalesce(recordings.dimensions[name], ''))
                END
                FOR name IN $dimensions::VARCHAR[]
            ]
        ) AS dimensions
    FROM owned
    JOIN lake.recordings USING (recording_id)
    WHERE recordings.date = $date
),
summed AS (
    SELECT
        model,
        dimensions,
        emotion,
        count(*) AS segments,
        sum(speech_s) AS speech_seconds,
        coalesce(sum(speech_s) FILTER (uncertain), 0) AS uncertain_seconds,
        sum(confidence::DOUBLE * speech_s) / nullif(sum(speech_s), 0) AS mean_probability,
        CASE WHEN count(affect) > 0 THEN
            map_from_entries(
                [
                    ('arousal', sum(affect['arousal']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0)),
                    ('dominance', sum(affect['dominance']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0)),
                    ('valence', sum(affect['valence']::DOUBLE * speech_s) / nullif(sum(speech_s) FILTER (affect IS NOT NULL), 0))
                ]
            )
        END AS affect,
        count(DISTINCT recording_id) AS recordings
    FROM described
    GROUP BY model, dimensions, emotion
)
SELECT
    $date::DATE AS date,
    model,
    dimensions,
    emotion,
    segments,
    speech_seconds,
    uncertain_seconds,
    CASE WHEN emotion IS NOT NULL THEN
        speech_seconds / nullif(
            sum(CASE WHEN emotion IS NOT NULL THEN speech_seconds END) OVER (PARTITION BY model, dimensions), 0
        )
    END AS share,
    mean_probability,
    affect,
    recordings
FROM summed
ORDER BY model, dimensions::VARCHAR, emotion
