-- One row per model and emotion whose labelled speech of the range has adjusted shares throughout: these over all days.
-- The ends are the means of the days' ends, which is wider than an interval of the mean.
WITH weighed AS (
    SELECT
        model,
        emotion,
        share_adjusted,
        share_adjusted_low,
        share_adjusted_high,
        sum(speech_seconds) OVER (PARTITION BY date, model, dimensions) AS seconds
    FROM daily_emotions
    WHERE date BETWEEN $first AND $last AND share IS NOT NULL
),
whole AS (
    SELECT *, bool_and(share_adjusted IS NOT NULL) OVER (PARTITION BY model) AS is_whole FROM weighed
),
totals AS (
    SELECT model, sum(speech_seconds) AS all_seconds
    FROM daily_emotions
    WHERE date BETWEEN $first AND $last AND share IS NOT NULL
    GROUP BY model
)
SELECT
    model,
    emotion,
    sum(share_adjusted * seconds) / any_value(all_seconds) AS share,
    CASE WHEN bool_and(share_adjusted_low IS NOT NULL) THEN sum(share_adjusted_low * seconds) / any_value(all_seconds) END AS low,
    CASE WHEN bool_and(share_adjusted_high IS NOT NULL) THEN sum(share_adjusted_high * seconds) / any_value(all_seconds) END
        AS high
FROM whole
JOIN totals USING (model)
WHERE is_whole
GROUP BY model, emotion
ORDER BY model, emotion
