-- One row per model, role ('*' is all), weekday (1 is Monday), hour of the day on the wall clock, and emotion: its labelled speech, by
-- when the recordings began; `period` as in report_cells, -1 where the range is too long for the hours of each.
SELECT
    model,
    role,
    CASE WHEN $by_period THEN $periods::INTEGER - 1 - ($last::DATE - speech.date) // $period_days::INTEGER ELSE -1 END AS period,
    isodow(recorded_at_local) AS weekday,
    hour(recorded_at_local) AS hour,
    emotion,
    sum(seconds) AS seconds
FROM (
    SELECT recording_id, date, model, role, emotion, seconds FROM report_speech WHERE role <> ''
    UNION ALL
    SELECT recording_id, date, model, '*', emotion, seconds FROM report_speech
) AS speech
JOIN recordings USING (recording_id)
WHERE emotion IS NOT NULL AND recorded_at_local IS NOT NULL
GROUP BY ALL
ORDER BY ALL
