-- One row per status and reason code of the recordings that gave nothing, or broke half-way.
SELECT status, split_part(error, ':', 1) AS reason, count(*) AS recordings
FROM lake.recordings
WHERE date BETWEEN $first AND $last AND status IN ('quarantined', 'truncated')
GROUP BY ALL
ORDER BY status, recordings DESC, reason
