-- One row per model, dimension and value of it, the most labelled speech first: the shares of its emotions.
-- `number_of_values` counts also the values beyond the most that are given.
WITH entries AS (
    SELECT model, unnest(map_entries(dimensions)) AS entry, emotion, segments, recordings, speech_seconds
    FROM lake.daily_emotions
    WHERE date BETWEEN $first AND $last
),
summed AS (
    SELECT
        model,
        entry.key AS dimension,
        entry.value AS value,
        emotion,
        sum(segments)::BIGINT AS segments,
        sum(speech_seconds) AS speech_seconds
    FROM entries
    GROUP BY ALL
),
shared AS (
    SELECT
        *,
        speech_seconds / nullif(sum(speech_seconds) OVER of_value, 0) AS share,
        (sum(speech_seconds) OVER (of_value ORDER BY emotion) - speech_seconds)
            / nullif(sum(speech_seconds) OVER of_value, 0) AS before
    FROM summed
    WINDOW of_value AS (PARTITION BY model, dimension, value, emotion IS NULL)
),
by_value AS (
    SELECT
        model,
        dimension,
        value,
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
    GROUP BY model, dimension, value
)
SELECT *, count(*) OVER of_dimension AS number_of_values
FROM by_value
WINDOW of_dimension AS (PARTITION BY model, dimension)
QUALIFY row_number() OVER (of_dimension ORDER BY labelled_seconds DESC, value) <= $most_values
ORDER BY model, dimension, labelled_seconds DESC, value
