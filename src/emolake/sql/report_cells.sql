-- One row per period, model, value of a dimension, role and emotion: sums over recordings that any share of any
-- selection is made of, with its interval. The value of the dimension '' is all recordings; the role '*' is all roles, a
-- recording counting once. `place` is that of the value in its dimension by speech, from 0.
CREATE OR REPLACE TEMP TABLE report_cells AS
WITH roles AS (
    SELECT recording_id, date, model, role, emotion, segments, seconds, uncertain_seconds, confidence_seconds, segments_squared
    FROM report_speech
    WHERE role <> ''
    UNION ALL
    SELECT
        recording_id,
        date,
        model,
        '*',
        emotion,
        sum(segments),
        sum(seconds),
        sum(uncertain_seconds),
        sum(confidence_seconds),
        sum(segments_squared)
    FROM report_speech
    GROUP BY recording_id, date, model, emotion
),
by_recording AS (
    SELECT
        recording_id,
        date,
        model,
        role,
        emotion,
        sum(segments) AS segments,
        sum(seconds) AS e,
        sum(uncertain_seconds) AS uncertain_seconds,
        sum(confidence_seconds) AS confidence_seconds,
        sum(segments_squared) AS segments_squared,
        sum(sum(seconds)) OVER (PARTITION BY recording_id, model, role, emotion IS NULL) AS a
    FROM roles
    GROUP BY recording_id, date, model, role, emotion
),
placed AS (
    SELECT
        by_recording.*,
        names.dimension,
        CASE WHEN names.dimension = '' THEN '' ELSE coalesce(recordings.dimensions[names.dimension], '') END AS value
    FROM by_recording
    JOIN recordings USING (date, recording_id)
    CROSS JOIN (SELECT unnest([''] || $dimensions::VARCHAR[]) AS dimension) AS names
),
cells AS (
    SELECT
        $periods::INTEGER - 1 - ($last::DATE - date) // $period_days::INTEGER AS period,
        model,
        dimension,
        value,
        role,
        emotion,
        sum(segments)::BIGINT AS segments,
        count(*) AS recordings,
        sum(e) AS seconds,
        sum(e * e) AS emotion_squared,
        sum(e * a) AS emotion_by_all,
        coalesce(sum(e * e / nullif(a, 0)), 0) AS emotion_by_share,
        coalesce(sum(e / nullif(a, 0)), 0) AS part_of_recordings,
        sum(uncertain_seconds) AS uncertain_seconds,
        sum(confidence_seconds) AS confidence_seconds,
        sum(segments_squared) AS segments_squared
    FROM placed
    GROUP BY ALL
),
values_placed AS (
    SELECT
        dimension,
        value,
        row_number() OVER (
            PARTITION BY dimension ORDER BY sum(seconds) FILTER (emotion IS NOT NULL) DESC NULLS LAST, value
        ) - 1 AS place
    FROM cells
    WHERE role = '*'
    GROUP BY dimension, value
)
SELECT cells.*, place
FROM cells
JOIN values_placed USING (dimension, value)
