-- One row per asked day that any table holds something of a model, with how much that is.
WITH stored AS (
    SELECT date, 'analyses' AS stored FROM lake.analyses WHERE model = $model AND date BETWEEN $first AND $last
    UNION ALL
    SELECT date, 'segments' FROM lake.segments WHERE model = $model AND date BETWEEN $first AND $last
    UNION ALL
    SELECT date, 'daily_emotions' FROM lake.daily_emotions WHERE model = $model AND date BETWEEN $first AND $last
)
SELECT
    date,
    count(*) FILTER (stored = 'analyses') AS analyses,
    count(*) FILTER (stored = 'segments') AS segments,
    count(*) FILTER (stored = 'daily_emotions') AS daily_emotions
FROM stored
GROUP BY date
ORDER BY date
