-- One row per model and day: its labelled speech, and the shares of the emotions in it, over every dimension.
WITH summed AS (
    SELECT model, date, emotion, sum(speech_seconds) AS speech_seconds
    FROM lake.daily_emotions
    WHERE date BETWEEN $first AND $last
    GROUP BY model, date, emotion
),
shared AS (
    SELECT *, speech_seconds / nullif(sum(speech_seconds) OVER of_day, 0) AS share
    FROM summed
    WINDOW of_day AS (PARTITION BY model, date, emotion IS NULL)
)
SELECT
    model,
    date,
    coalesce(sum(speech_seconds) FILTER (emotion IS NOT NULL), 0) AS labelled_seconds,
    coalesce(
        map_from_entries(list((emotion, share)) FILTER (emotion IS NOT NULL AND share IS NOT NULL)), MAP {}
    ) AS shares
FROM shared
GROUP BY model, date
ORDER BY model, date
