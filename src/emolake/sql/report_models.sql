-- One row per model with segments in the range, the one with the most labelled speech first.
SELECT model, coalesce(sum(seconds) FILTER (emotion IS NOT NULL), 0) AS seconds, sum(segments)::BIGINT AS segments,
    coalesce(sum(segments) FILTER (emotion IS NULL), 0)::BIGINT AS unlabelled
FROM report_speech
GROUP BY model
ORDER BY seconds DESC, model
