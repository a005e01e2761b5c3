-- One row per model and emotion over the whole range; the row whose emotion is NULL holds what got no label.
-- A recording has one day and one value of each dimension, so that distinct recordings may be added up.
SELECT
    model,
    emotion,
    sum(segments)::BIGINT AS segments,
    sum(recordings)::BIGINT AS recordings,
    sum(speech_seconds) AS speech_seconds,
    CASE WHEN emotion IS NOT NULL THEN
        sum(speech_seconds) / nullif(
            sum(CASE WHEN emotion IS NOT NULL THEN sum(speech_seconds) END) OVER (PARTITION BY model), 0
        )
    END AS share,
    sum(mean_probability * speech_seconds) / nullif(sum(speech_seconds), 0) AS mean_probability
FROM lake.daily_emotions
WHERE date BETWEEN $first AND $last
GROUP BY model, emotion
ORDER BY model, speech_seconds DESC, emotion
