-- One row per day of which the lake holds recordings; `live` where some of them were at the source when $since was.
SELECT date, bool_or(deleted_at IS NULL OR deleted_at >= $since) AS live
FROM lake.recordings
WHERE date <= $last
GROUP BY date
ORDER BY date
