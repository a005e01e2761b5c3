-- One row per model of the daily table: of its labelled speech the share that is marked uncertain, in all and by emotion.
WITH summed AS (
    SELECT model, emotion, sum(speech_seconds) AS speech_seconds, coalesce(sum(uncertain_seconds), 0) AS uncertain_seconds
    FROM lake.daily_emotions
    WHERE date BETWEEN $first AND $last AND emotion IS NOT NULL
    GROUP BY model, emotion
)
SELECT
    model,
    sum(uncertain_seconds) / nullif(sum(speech_seconds), 0) AS share,
    map_from_entries(list((emotion, uncertain_seconds / nullif(speech_seconds, 0)))) AS shares
FROM summed
GROUP BY model
ORDER BY model
