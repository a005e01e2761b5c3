-- One row per model whose labelled speech of the range has adjusted shares throughout: these by emotion, over all days.
WITH weighed AS (
    SELECT
        model,
        emotion,
        speech_seconds,
        share_adjusted,
        sum(speech_seconds) OVER (PARTITION BY date, model, dimensions) AS seconds
    FROM lake.daily_emotions
    WHERE date BETWEEN $first AND $last AND share IS NOT NULL
),
summed AS (
    SELECT
        model,
        emotion,
        sum(share_adjusted * seconds) AS adjusted_seconds,
        sum(speech_seconds) AS speech_seconds,
        bool_and(share_adjusted IS NOT NULL) AS is_whole
    FROM weighed
    GROUP BY model, emotion
),
shared AS (
    SELECT
        model,
        emotion,
        adjusted_seconds / sum(speech_seconds) OVER (PARTITION BY model) AS share,
        bool_and(is_whole) OVER (PARTITION BY model) AS is_whole
    FROM summed
)
SELECT model, map_from_entries(list((emotion, share))) AS shares
FROM shared
WHERE is_whole
GROUP BY model
ORDER BY model
