-- One row per model and day: the shares of its emotions, each with the sum of those before it, and what got no label.
-- Shares are weighted by seconds of labelled speech, over every dimension.
WITH summed AS (
    SELECT
        model,
        date,
        emotion,
        sum(segments)::BIGINT AS segments,
        sum(speech_seconds) AS speech_seconds
    FROM lake.daily_emotions
    WHERE date BETWEEN $first AND $last
    GROUP BY model, date, emotion
),
shared AS (
    SELECT
        *,
        speech_seconds / nullif(sum(speech_seconds) OVER of_day, 0) AS share,
        (sum(speech_seconds) OVER (of_day ORDER BY emotion) - speech_seconds)
            / nullif(sum(speech_seconds) OVER of_day, 0) AS before
    FROM summed
    WINDOW of_day AS (PARTITION BY model, date, emotion IS NULL)
)
SELECT
    model,
    date,
    date - $first::DATE AS position,
    sum(segments)::BIGINT AS segments,
    coalesce(sum(segments) FILTER (emotion IS NULL), 0) / sum(segments) AS unlabelled_share,
    coalesce(sum(speech_seconds) FILTER (emotion IS NOT NULL), 0) AS labelled_seconds,
    coalesce(
        list(
            {emotion: emotion, share: share, before: before, speech_seconds: speech_seconds, segments: segments}
            ORDER BY emotion
        ) FILTER (emotion IS NOT NULL AND share IS NOT NULL),
        []
    ) AS pieces,
    coalesce(
        map_from_entries(list((emotion, share)) FILTER (emotion IS NOT NULL AND share IS NOT NULL)), MAP {}
    ) AS shares
FROM shared
GROUP BY model, date
ORDER BY model, date
