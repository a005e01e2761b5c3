-- One row per model of the daily table: how much it was asked, and how much of that got no label.
SELECT
    model,
    sum(segments)::BIGINT AS segments,
    coalesce(sum(segments) FILTER (emotion IS NULL), 0)::BIGINT AS unlabelled_segments,
    coalesce(sum(segments) FILTER (emotion IS NULL), 0) / sum(segments) AS unlabelled_share,
    coalesce(sum(speech_seconds) FILTER (emotion IS NOT NULL), 0) AS labelled_seconds,
    coalesce(
        list_sort(list_distinct(list(emotion) FILTER (emotion IS NOT NULL))), []
    ) AS emotions
FROM lake.daily_emotions
WHERE date BETWEEN $first AND $last
GROUP BY model
ORDER BY model
