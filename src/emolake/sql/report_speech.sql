-- One row per recording, model, role and emotion of the range: its seconds of speech. Of a model's emotions that are rare (each below one part in
-- fifty of its labelled speech, and beyond the six commonest) there is one row, `folded`.
CREATE OR REPLACE TEMP TABLE report_speech AS
WITH summed AS (
    SELECT
        recording_id,
        date,
        model,
        coalesce(role, '') AS role,
        emotion,
        count(*) AS segments,
        sum(speech_s) AS seconds,
        coalesce(sum(speech_s) FILTER (uncertain), 0) AS uncertain_seconds,
        sum(speech_s * confidence::DOUBLE) AS confidence_seconds,
        sum(speech_s * speech_s) AS segments_squared
    FROM segments_wide
    WHERE date BETWEEN $first AND $last
    GROUP BY ALL
),
ranked AS (
    SELECT
        model,
        emotion,
        sum(seconds) / nullif(sum(sum(seconds)) OVER (PARTITION BY model), 0) < 0.02
            AND row_number() OVER (PARTITION BY model ORDER BY sum(seconds) DESC, emotion) > 6 AS is_rare
    FROM summed
    WHERE emotion IS NOT NULL
    GROUP BY model, emotion
),
folded AS (
    SELECT *, is_rare AND count(*) FILTER (is_rare) OVER (PARTITION BY model) > 1 AS is_folded FROM ranked
)
SELECT
    summed.* REPLACE (CASE WHEN is_folded THEN 'folded' ELSE summed.emotion END AS emotion),
    summed.emotion AS own_emotion
FROM summed
LEFT JOIN folded ON folded.model = summed.model AND folded.emotion = summed.emotion
