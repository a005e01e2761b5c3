-- One row per model, value of a dimension, role ('*' is all), weekday (1 is Monday), hour of the day on the wall clock, and emotion: its
-- labelled speech, by when the recordings began; `period` as in report_cells, -1 where the range is too long for the hours of each. Of all
-- recordings, or of each value that the page has.
WITH chosen AS (
    SELECT DISTINCT dimension, value
    FROM report_cells
    WHERE CASE WHEN $by_value THEN dimension <> '' AND place < $most_values ELSE dimension = '' END
),
speech AS (
    SELECT recording_id, date, model, role, emotion, seconds FROM report_speech WHERE role <> ''
    UNION ALL
    SELECT recording_id, date, model, '*', emotion, seconds FROM report_speech
)
SELECT
    model,
    chosen.dimension,
    chosen.value,
    role,
    CASE WHEN $by_period THEN $periods::INTEGER - 1 - ($last::DATE - speech.date) // $period_days::INTEGER ELSE -1 END AS period,
    isodow(recorded_at_local) AS weekday,
    hour(recorded_at_local) AS hour,
    emotion,
    sum(seconds) AS seconds
FROM speech
JOIN recordings USING (recording_id)
JOIN chosen
    ON chosen.value = CASE
        WHEN chosen.dimension = '' THEN '' ELSE coalesce(recordings.dimensions[chosen.dimension], '')
    END
WHERE emotion IS NOT NULL AND recorded_at_local IS NOT NULL
GROUP BY ALL
ORDER BY ALL
