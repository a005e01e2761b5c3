-- One row per day and value of the dimensions whose recordings are far fewer than usual: fewer than a share of the median
-- of the same weekday in the weeks before, or none at all. Weeks before a value's first recording do not count.
WITH live AS (
    SELECT date, dimensions, version, size_bytes FROM lake.recordings WHERE deleted_at IS NULL
),
arrived AS (
    -- What was deleted at the source had arrived; what is there under another key has moved, and counts where it is.
    SELECT date, dimensions FROM live
    UNION ALL
    SELECT date, dimensions
    FROM (FROM lake.recordings WHERE deleted_at IS NOT NULL)
    ANTI JOIN (FROM live WHERE size_bytes > 0) USING (version, size_bytes)
),
counted AS (
    SELECT
        date,
        [coalesce(dimensions[name], '') FOR name IN $dimensions::VARCHAR[]] AS dimensions,
        count(*) AS recordings
    FROM arrived
    WHERE date BETWEEN $first::DATE - (7 * $weeks::INTEGER) AND $last
    GROUP BY ALL
),
begun AS (
    SELECT [coalesce(dimensions[name], '') FOR name IN $dimensions::VARCHAR[]] AS dimensions, min(date) AS first_date
    FROM arrived
    GROUP BY ALL
),
expected AS (
    SELECT day::DATE AS date, dimensions, first_date
    FROM begun
    CROSS JOIN generate_series($first::DATE, $last::DATE, INTERVAL 1 DAY) AS days(day)
),
usual AS (
    SELECT
        expected.date,
        expected.dimensions,
        median(coalesce(counted.recordings, 0)) AS usual,
        count(*) AS weeks
    FROM expected
    CROSS JOIN generate_series(1, $weeks::INTEGER) AS weeks(week)
    LEFT JOIN counted
        ON counted.date = expected.date - (7 * week)::INTEGER AND counted.dimensions = expected.dimensions
    WHERE expected.date - (7 * week)::INTEGER >= expected.first_date
    GROUP BY expected.date, expected.dimensions
)
SELECT
    usual.date,
    dayname(usual.date) AS weekday,
    usual.dimensions,
    coalesce(counted.recordings, 0) AS recordings,
    usual.usual,
    usual.weeks
FROM usual
LEFT JOIN counted USING (date, dimensions)
WHERE usual.usual >= $least_usual AND coalesce(counted.recordings, 0) < $least_share * usual.usual
ORDER BY ALL
