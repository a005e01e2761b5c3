-- One row: what the dashboard lets choose from, and the days that have labelled speech.
SELECT
    (SELECT list(DISTINCT model ORDER BY model) FROM daily_emotions) AS models,
    (
        SELECT list(DISTINCT dimension ORDER BY dimension)
        FROM (SELECT unnest(map_keys(dimensions)) AS dimension FROM daily_emotions)
    ) AS dimensions,
    min(date) AS first,
    max(date) AS last
FROM daily_emotions
WHERE emotion IS NOT NULL
