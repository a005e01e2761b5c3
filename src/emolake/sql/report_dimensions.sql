-- One row per dimension that the daily table of the range is broken down by, without what segments are of.
SELECT dimension
FROM (SELECT DISTINCT unnest(map_keys(dimensions)) AS dimension FROM daily_emotions WHERE date BETWEEN $first AND $last)
WHERE dimension NOT IN ('role', 'channel')
ORDER BY dimension
